"""The record of the parent process, and each kind of difference that it must see."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from examples.flights.aggregate import (
    AIRCRAFT,
    CARRIER,
    FLIGHT,
    READER,
    Carrier,
    Flight,
    Told,
    fields,
    values,
)
from examples.flights.record import (
    KINDS,
    Kept,
    Record,
    UnderWay,
    commits_of,
    differing,
    encoded,
    logical_bytes,
    wrongly_expired,
)
from kvengine.store import StoredObject
from tests.examples.rows import ARRIVED

SECOND = 1_000_000
CANCELLED = msgspec.structs.replace(
    ARRIVED, departed=None, departure_delay=None, arrived=None, arrival_delay=None, air_minutes=None
)
UA = (CARRIER, "UA")
KEY = ARRIVED.flight_id


def recorded(record: Record, commits: int) -> Record:
    """The record after so many commits, one a second."""
    for second in range(record.commits + 1, record.commits + commits + 1):
        record.add(second * SECOND)
    return record


def stored(service: str, key: str, kept: Kept) -> StoredObject:
    return StoredObject(service, key, kept.version, kept.expires_at, encoded(kept.state))


def test_an_event_is_seven_commits_from_the_flights_plan_to_its_end() -> None:
    services = [telling.service for telling in commits_of(ARRIVED)]
    assert services == [FLIGHT, AIRCRAFT, "Airport", "Airport", CARRIER, READER[0], FLIGHT]
    assert len(commits_of(CANCELLED)) == 5


def test_a_record_keeps_each_object_at_its_last_commit() -> None:
    record = recorded(Record([ARRIVED, CANCELLED], retention=2.0), 12)
    assert record.objects[AIRCRAFT, "N14228"].version == 2 * SECOND
    assert record.objects[UA].version == 10 * SECOND
    assert record.objects[UA].state.last_event == 2
    assert record.objects[READER].version == 11 * SECOND
    assert (record.commits, record.workflows, record.last_stamp) == (12, 1, 12 * SECOND)
    with pytest.raises(StopIteration):
        record.add(13 * SECOND)


def test_a_record_knows_how_far_the_last_event_came() -> None:
    """Halfway through an event some objects know of it, and the others do not."""
    record = recorded(Record([ARRIVED, ARRIVED], retention=2.0), 9)
    assert record.under_way == UnderWay(2, 2, 7)
    assert record.objects[AIRCRAFT, "N14228"].state.last_event == 2
    assert record.objects[UA].state.last_event == 1


def test_a_flight_expires_its_retention_after_its_end_and_never_before() -> None:
    record = recorded(Record([ARRIVED], retention=2.0), 6)
    assert record.flights[KEY].expires_at is None
    recorded(record, 1)
    assert record.flights[KEY].expires_at == 9.0
    assert record.flight_bytes > 100


def test_a_flight_that_comes_again_begins_afresh() -> None:
    record = recorded(Record([ARRIVED, CANCELLED], retention=2.0), 8)
    kept = record.flights[KEY]
    assert isinstance(kept.state, Flight)
    assert (kept.expires_at, kept.state.status, kept.state.departed) == (None, "planned", None)
    assert kept.state.last_event == 2


def test_a_record_forgets_flights_that_expired_long_ago() -> None:
    events = [msgspec.structs.replace(ARRIVED, number=number) for number in range(1, 101)]
    record = recorded(Record(events, retention=2.0), 700)
    assert record.workflows == 100
    assert 1 <= len(record.flights) < 10


def test_every_difference_is_seen() -> None:
    """Of values, entries, versions and expiry, and of objects that are there or are not."""
    kept = Kept(7, Carrier(flights=3, last_event=9))
    same = stored(*UA, kept)
    assert not list(differing({UA: kept}, {UA: same}))
    entries = same.entries
    others = [
        replace(same, version=6),
        replace(same, version=8),
        replace(same, entries={**entries, "flights": b"2"}),
        replace(same, entries={**entries, "last_event": b"8"}),
        replace(same, entries={name: entries[name] for name in entries if name != "flights"}),
        replace(same, entries={**entries, "more": b"0"}),
        replace(same, entries={}),
        replace(same, expires_at=9.0),
    ]
    for other in others:
        assert len(list(differing({UA: kept}, {UA: other}))) == 1
    assert len(list(differing({UA: kept}, {}))) == 1
    assert len(list(differing({}, {UA: same}))) == 1


def test_a_missing_or_wrong_expiry_is_seen() -> None:
    kept = Kept(7, Flight(status="arrived", last_event=1), 20.0)
    same = stored(FLIGHT, KEY, kept)
    assert not list(differing({(FLIGHT, KEY): kept}, {(FLIGHT, KEY): same}))
    for wrong in (None, 21.0):
        other = replace(same, expires_at=wrong)
        assert len(list(differing({(FLIGHT, KEY): kept}, {(FLIGHT, KEY): other}))) == 1


def test_a_flight_may_neither_vanish_early_nor_stay_late() -> None:
    name = (FLIGHT, KEY)
    flights = {name: Kept(10 * SECOND, Flight(), 12.0)}
    assert not list(wrongly_expired(flights, {name}, 11.0, 11.0))
    assert not list(wrongly_expired(flights, (), 13.0, 13.0))
    assert list(wrongly_expired(flights, (), 11.0, 11.0))
    assert list(wrongly_expired(flights, {name}, 13.0, 13.0))


def test_a_flight_that_has_not_ended_may_not_vanish_at_all() -> None:
    name = (FLIGHT, KEY)
    flights = {name: Kept(10 * SECOND, Flight())}
    assert not list(wrongly_expired(flights, {name}, 1e9, 1e9))
    assert list(wrongly_expired(flights, (), 1e9, 1e9))


@pytest.mark.parametrize("kind", KINDS.values())
def test_a_state_is_compared_in_every_field(kind: type[Told]) -> None:
    """What a comparison left out could be lost without a word."""
    assert list(values(kind())) == fields(kind) == [*kind._kv_fields]


def test_logical_bytes_count_names_and_values() -> None:
    assert logical_bytes("s", "kk", {"é": b"1234", "b": b""}) == (3 + 2 + 4) + (3 + 1)
