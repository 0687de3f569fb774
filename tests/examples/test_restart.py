"""Effects once, of events that may come again: a worker that stops anywhere, and goes on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from random import Random

import pytest

import kvengine
from examples.flights.aggregate import CARRIER, FLIGHT, READER, Flight, plan, values
from examples.flights.columns import FlightEvent
from examples.flights.events import read_events
from examples.flights.record import Record, stored_values
from examples.flights.run import Demo, survey
from examples.flights.worker import STAMP, WorkerSettings, deliver, handle, position, run
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage.clock import ManualClock
from tests.examples.rows import ARRIVED, CANCELLED, HEADER, row, write

DIVERTED = dict.fromkeys(["arr_time", "arr_delay", "air_time"], "")
EVENTS = [
    row(),
    row(flight="2", **DIVERTED),
    row(flight="3", tailnum=""),
    row(flight="4", **CANCELLED),
    row(origin="JFK", flight="5"),
    row(arr_delay="61"),  # the first flight once more, while that is still kept
]
COMMITS = 7 + 6 + 6 + 5 + 7 + 7
RETENTION = 60.0


class Stopped(Exception):
    """The worker dies."""


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("events") / "events.csv", HEADER, *EVENTS)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_700_000_000.0)


@pytest.fixture
def db(clock: ManualClock) -> Iterator[kvengine.Engine]:
    options = {"clock": clock, "background": "none", "durability": "os"}
    with kvengine.open("/db", fs=MemoryFileSystem(), **options) as found:
        yield found


def stop_at(demo: Demo, commit: int) -> None:
    """Run a worker that dies when so many commits have returned, the last of them unreported."""
    numbers = count(1)

    def report(stamp: bytes) -> None:
        if next(numbers) == commit:
            raise Stopped
        demo.stamps += STAMP.unpack(stamp)

    with pytest.raises(Stopped):
        run(demo.settings, report)


def finish(demo: Demo) -> None:
    run(demo.settings, lambda stamp: demo.stamps.extend(STAMP.unpack(stamp)))


def handle_from(db: kvengine.Engine, path: Path, first: int) -> Iterator[int | None]:
    """Handle the events of a file from a number on."""
    for number, event in enumerate(read_events(path), 1):
        if number >= first:
            yield from handle(db, event, number, RETENTION)


@pytest.mark.parametrize("stop", range(1, COMMITS + 1))
def test_a_worker_may_stop_between_any_two_commits(tmp_path: Path, events: Path, stop: int) -> None:
    """What was reported is there, with at most the commit under way; nothing is half applied.

    A new worker makes the other commits, each once, also when it is stopped in
    its turn: their number says so, and the comparison of every value, version
    and expiry with what the events make of states in memory.
    """
    settings = WorkerSettings(str(tmp_path / "db"), str(events), False, "os", RETENTION)
    demo = Demo(settings, survey(events, skip_bad_rows=False))
    assert demo.total.commits == COMMITS
    stop_at(demo, stop)
    assert len(demo.stamps) == stop - 1
    demo.check(in_flight=1)
    assert len(demo.stamps) == stop
    if stop + 2 <= COMMITS:
        stop_at(demo, 2)
        demo.check(in_flight=1)
    finish(demo)
    assert len(demo.stamps) == COMMITS
    demo.check(in_flight=0)


def test_events_that_come_again_change_nothing(
    db: kvengine.Engine, clock: ManualClock, events: Path
) -> None:
    """From the very first event on; while flights are kept, and when they have been forgotten."""
    stamps = list(handle_from(db, events, 1))
    assert len(stamps) == COMMITS and None not in stamps
    before = list(db.scan())
    assert set(handle_from(db, events, 1)) == {None}
    assert list(db.scan()) == before
    clock.advance(RETENTION + 1)
    assert list(db.object_keys(FLIGHT)) == []
    assert set(handle_from(db, events, 1)) == {None}
    assert list(db.object_keys(FLIGHT)) == []


def test_a_flight_does_not_expire_before_it_is_over(
    db: kvengine.Engine, clock: ManualClock
) -> None:
    """However long the worker is away. Then its retention begins, and counts once."""
    assert len(list(islice(handle(db, ARRIVED, 1, RETENTION), 6))) == 6
    assert position(db) == 1
    clock.advance(1000 * RETENTION)
    flight = db.workflow(FLIGHT, ARRIVED.flight_id)
    assert (flight.get("status"), flight.completed) == ("planned", False)
    (stamp,) = handle(db, ARRIVED, 1, RETENTION)
    assert stamp is not None
    assert (flight.get("status"), flight.completed) == ("arrived", True)
    clock.advance(RETENTION - 1)
    assert list(handle(db, ARRIVED, 1, RETENTION)) == [None]
    clock.advance(2)
    assert flight.version() == 0


def test_the_reader_moves_on_when_all_have_been_told(db: kvengine.Engine) -> None:
    """An event that anybody might not know comes again: it is not passed over as read."""
    for commit, _ in enumerate(handle(db, ARRIVED, 1, RETENTION), 1):
        assert position(db) == (1 if commit >= 6 else 0)
    assert db.object(*READER).get("last_event") == 1


def test_an_event_comes_again_when_an_object_expires_in_the_middle(
    db: kvengine.Engine, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session wrote nothing; what was done before it is passed over."""
    list(handle(db, ARRIVED, 1, RETENTION))
    clock.advance(RETENTION - 1)
    effects = []

    def plan_slowly(flight: Flight, event: FlightEvent) -> None:
        plan(flight, event)
        effects.append(flight.last_event)
        clock.advance(1)

    monkeypatch.setattr("examples.flights.worker.plan", plan_slowly)
    assert len(list(deliver(db, ARRIVED, 2, RETENTION))) == 7
    assert len(effects) == 2
    assert db.object(CARRIER, "UA").get("flights") == 2
    assert db.workflow(FLIGHT, ARRIVED.flight_id).get("last_event") == 2


def test_with_durability_sync_an_event_waits_for_the_disk_once(clock: ManualClock) -> None:
    """Six of its seven commits do not: they come before the one that does, or are made again."""
    with kvengine.open("/db", fs=MemoryFileSystem(), clock=clock, background="none") as db:
        before = db.stats().syncs
        for number in range(1, 11):
            list(handle(db, ARRIVED, number, RETENTION))
        assert db.stats().syncs - before == 10


@pytest.mark.parametrize("commits", range(1, COMMITS + 1))
def test_power_may_fail_between_any_two_commits(
    clock: ManualClock, events: Path, commits: int
) -> None:
    """With durability "sync": what the reader has read is there, and the rest is made anew."""
    fs = MemoryFileSystem()
    db = kvengine.open("/db", fs=fs, clock=clock, background="none")
    assert None not in list(islice(handle_from(db, events, 1), commits))
    read = position(db)
    after = fs.crash(Random(commits))
    db.close()
    record = Record(read_events(events), RETENTION)
    for stamp in range(1, COMMITS + 1):
        record.add(stamp)
    expected = {name: values(kept.state) for name, kept in record.objects.items()}
    expected |= {(FLIGHT, key): values(kept.state) for key, kept in record.flights.items()}
    with kvengine.open("/db", fs=after, clock=clock, background="none") as db:
        assert position(db) >= read
        assert list(handle_from(db, events, max(position(db), 1)))
        found = {(stored.service, stored.key): stored_values(stored) for stored in db.scan()}
        assert found == expected
        assert all(db.expires_at(FLIGHT, key) for key in record.flights)
