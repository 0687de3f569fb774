"""The demo's aggregates: what a flight does to each object, and the comparison that trusts them."""

from __future__ import annotations

from itertools import count

import msgspec
import pytest
from msgspec.structs import replace

from kvengine.demo.aggregate import (
    AIRCRAFT,
    AIRPORT,
    CARRIER,
    DELAY_STEPS,
    FLIGHT,
    NO_DELAYS,
    Aircraft,
    Airport,
    Carrier,
    Entries,
    Flight,
    arrive,
    changes,
    count_delay,
    depart,
    entries_of,
    flight_of,
    fly,
    operate,
    state_of,
    worse,
)
from kvengine.demo.columns import FlightEvent
from kvengine.demo.record import Kept, Record, differing, logical_bytes, wrongly_expired
from kvengine.store import StoredObject

ARRIVED = FlightEvent(
    hour="2013-01-01T10:00:00Z",
    carrier="UA",
    number=1545,
    aircraft="N14228",
    origin="EWR",
    dest="IAH",
    scheduled_departure=515,
    departed=517,
    departure_delay=2,
    scheduled_arrival=819,
    arrived=830,
    arrival_delay=11,
    air_minutes=227,
    distance=1400,
)
DIVERTED = msgspec.structs.replace(ARRIVED, arrived=None, arrival_delay=None, air_minutes=None)
CANCELLED = msgspec.structs.replace(DIVERTED, departed=None, departure_delay=None)
UNKNOWN = msgspec.structs.replace(CANCELLED, aircraft=None)
SHORT = (0, 1, 0, 0, 0, 0, 0)


def test_an_aircraft_gathers_what_it_flew() -> None:
    once = fly(Aircraft(), ARRIVED)
    assert once == Aircraft(1, 1400, 227, "IAH", 11, SHORT)
    assert fly(once, ARRIVED) == Aircraft(2, 2800, 454, "IAH", 11, (0, 2, 0, 0, 0, 0, 0))


def test_a_diverted_flight_loses_the_aircraft_and_a_cancelled_one_leaves_it() -> None:
    once = fly(Aircraft(), ARRIVED)
    assert fly(once, DIVERTED) == Aircraft(2, 2800, 227, None, 11, (0, 2, 0, 0, 0, 0, 0))
    assert fly(once, CANCELLED) is once


def test_airports_count_departures_arrivals_and_cancellations() -> None:
    assert depart(Airport(), ARRIVED) == Airport(departures=1, worst_delay=2, delays=SHORT)
    assert depart(Airport(), CANCELLED) == Airport(cancelled=1)
    assert arrive(Airport(), ARRIVED) == Airport(arrivals=1)
    assert arrive(Airport(), DIVERTED) == arrive(Airport(), CANCELLED) == Airport()


def test_a_carrier_counts_flights_and_cancellations() -> None:
    assert operate(Carrier(), ARRIVED) == Carrier(1, 0, 1400, 227, 11, SHORT)
    assert operate(Carrier(), DIVERTED) == Carrier(1, 0, 1400, 0, 2, SHORT)
    assert operate(Carrier(), CANCELLED) == Carrier(cancelled=1)


@pytest.mark.parametrize(
    ("event", "status", "delay"),
    [(ARRIVED, "arrived", 11), (DIVERTED, "diverted", 2), (CANCELLED, "cancelled", None)],
)
def test_the_workflow_of_a_flight(event: FlightEvent, status: str, delay: int | None) -> None:
    flight = flight_of(event)
    assert (flight.status, flight.delay, flight.route) == (status, delay, "EWR-IAH")
    assert flight.scheduled == (515, 819)


def test_each_delay_falls_into_the_step_whose_limit_it_does_not_pass() -> None:
    for step, limit in enumerate(DELAY_STEPS):
        assert count_delay(NO_DELAYS, limit)[step] == 1
        assert count_delay(NO_DELAYS, limit + 1)[step + 1] == 1
    assert count_delay(NO_DELAYS, -40)[0] == 1
    assert count_delay(NO_DELAYS, None) == NO_DELAYS


def test_the_worst_delay_may_be_early_or_unknown() -> None:
    assert worse(None, None) is None
    assert worse(None, -5) == -5
    assert worse(-5, None) == -5
    assert worse(-5, -9) == -5


@pytest.mark.parametrize(
    "state", [Aircraft(), fly(Aircraft(), ARRIVED), fly(Aircraft(), DIVERTED), flight_of(CANCELLED)]
)
def test_a_state_goes_through_its_entries_unchanged(state: Aircraft | Flight) -> None:
    """One JSON value a field, none for a field that is None."""
    entries = entries_of(state)
    assert state_of(type(state), entries) == state
    assert all(getattr(state, name) is not None for name in entries)


def test_an_event_changes_the_aircraft_both_airports_and_the_carrier() -> None:
    changed = changes(ARRIVED, lambda service, key: {})
    names = [(change.service, change.key) for change in changed]
    assert names == [(AIRCRAFT, "N14228"), (AIRPORT, "EWR"), (AIRPORT, "IAH"), (CARRIER, "UA")]


@pytest.mark.parametrize("event", [CANCELLED, UNKNOWN])
def test_a_cancelled_flight_changes_only_where_it_was_planned(event: FlightEvent) -> None:
    changed = changes(event, lambda service, key: {})
    assert [(change.service, change.key) for change in changed] == [
        (AIRPORT, "EWR"),
        (CARRIER, "UA"),
    ]


def test_changes_start_from_what_is_stored() -> None:
    store: dict[tuple[str, str], Entries] = {}
    for event in (ARRIVED, DIVERTED):
        for change in changes(event, lambda service, key: store.get((service, key), {})):
            assert change.before == store.get((change.service, change.key), {})
            store[change.service, change.key] = change.after
    assert state_of(Carrier, store[CARRIER, "UA"]).flights == 2
    assert "last_airport" not in store[AIRCRAFT, "N14228"]


# The record of the parent process, and each kind of difference that it must see.

SECOND = 1_000_000


def stored(service: str, key: str, kept: Kept) -> StoredObject:
    return StoredObject(service, key, kept.version, None, dict(kept.entries))


def test_a_record_keeps_each_object_at_its_last_stamp() -> None:
    record = Record(retention=2.0)
    record.add(ARRIVED, 5 * SECOND)
    record.add(CANCELLED, 6 * SECOND)
    assert record.objects[AIRCRAFT, "N14228"].version == 5 * SECOND
    assert record.objects[CARRIER, "UA"].version == 6 * SECOND
    assert (record.events, record.workflows, record.last_stamp) == (2, 1, 6 * SECOND)
    (kept,) = record.flights.values()
    assert kept.entries == entries_of(flight_of(CANCELLED))
    assert record.expires_at(kept) == 8.0


def test_a_record_forgets_flights_that_expired_long_ago() -> None:
    record = Record(retention=2.0)
    stamps = count(SECOND, SECOND)
    for number, stamp in zip(range(1, 101), stamps, strict=False):
        record.add(msgspec.structs.replace(ARRIVED, number=number), stamp)
    assert record.workflows == 100
    assert len(record.flights) < 40


def test_every_difference_is_seen() -> None:
    kept = Kept(7, {"a": b"1"})
    name = (CARRIER, "UA")
    same = stored(*name, kept)
    assert not list(differing({name: kept}, {name: same}))
    others = [replace(same, version=6), replace(same, entries={"a": b"2"})]
    others += [replace(same, entries={}), replace(same, entries={"a": b"1", "b": b""})]
    for other in others:
        assert len(list(differing({name: kept}, {name: other}))) == 1
    assert len(list(differing({name: kept}, {}))) == 1
    assert len(list(differing({}, {name: same}))) == 1


def test_a_flight_may_neither_vanish_early_nor_stay_late() -> None:
    record = Record(retention=2.0)
    record.add(ARRIVED, 10 * SECOND)
    (key,) = record.flights
    there = {key: stored(FLIGHT, key, record.flights[key])}
    assert not list(wrongly_expired(record, there, 11.0, 11.0))
    assert not list(wrongly_expired(record, {}, 13.0, 13.0))
    assert list(wrongly_expired(record, {}, 11.0, 11.0))
    assert list(wrongly_expired(record, there, 13.0, 13.0))


def test_logical_bytes_count_names_and_values() -> None:
    assert logical_bytes("s", "kk", {"é": b"1234", "b": b""}) == (3 + 2 + 4) + (3 + 1)
