"""The worker process: tells the objects of each event, once, and reports each commit.

    python -m examples.flights.worker SETTINGS PIPE

``SETTINGS`` is a WorkerSettings as JSON, ``PIPE`` the number of an inherited
file descriptor. After each commit has returned, its stamp goes down the pipe;
what the parent has read there it may rely on.

Effects once, of events that may come more than once. A session is one object
and one atomic commit, but an event touches several objects, so the worker may
die between two of them. Then the event comes again, from its beginning, and
three rules see to it that no object notices:

1. Events have numbers that grow. Each object keeps the number of the last event
   that it took in as part of its own state, so number and effect are one commit,
   and an event at or below that number is passed over.
2. The reader's place is written last, when all objects have been told. So an
   event may come twice, and none is missed.
3. An object that expires forgets its number too, and must not do so while the
   event may still come again. So the flight's workflow completes after rule 2,
   by a step that does nothing to a flight that is over, or gone.

An error in the middle is as good as a crash: let the event come again.

With durability "sync" only the reader's place waits for the disk. Recovery gives
a prefix of the commits: what precedes a synced one survives with it, and what
comes after is made again.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from itertools import islice

import msgspec

import kvengine
from examples.flights.aggregate import FLIGHT, READER, Flight, Telling, end, plan, tellings
from examples.flights.columns import FlightEvent
from examples.flights.events import pass_over, read_events
from kvengine.options import Durability

STAMP = struct.Struct("<Q")
"""A report: the stamp of one returned commit. Far below PIPE_BUF, so never torn."""

MEMTABLE_SIZE = 1024 * 1024
"""Small for a database, so that a month of flights fills some levels."""

EXPIRY_GRACE = 1.0


class WorkerSettings(msgspec.Struct, frozen=True):
    """What a worker needs to know. ``retention`` of a flight's workflow in seconds."""

    directory: str
    events: str
    skip_bad_rows: bool
    durability: Durability
    retention: float


def open_database(directory: str, durability: Durability) -> kvengine.Engine:
    """The database as the demo opens it everywhere."""
    return kvengine.open(
        directory,
        durability=durability,
        expiry_grace=EXPIRY_GRACE,
        memtable_size=MEMTABLE_SIZE,
    )


def position(db: kvengine.Engine) -> int:
    """The number of the last event that all its objects were told of; 0 before the first."""
    return db.object(*READER).get("last_event", 0, type=int)


def handle(
    db: kvengine.Engine, event: FlightEvent, number: int, retention: float
) -> Iterator[int | None]:
    """All that an event does. After each session, the stamp of its commit, None for no commit.

    May be stopped after any of them, and called again for this event and those before it.
    """
    flight = db.workflow(FLIGHT, event.flight_id, retention=retention)
    if position(db) < number:
        yield begin_flight(flight, event, number)
        for telling in tellings(event):
            yield tell(db.object(telling.service, telling.key), telling, event, number)
        yield db.object(*READER).set("last_event", number)
    yield end_flight(flight, event, number)


def begin_flight(flight: kvengine.Workflow, event: FlightEvent, number: int) -> int | None:
    """Begin the flight, unless that was done; afresh, where an earlier one is still kept."""
    with flight.session(Flight, durability="os") as state:
        if state.last_event < number:
            state.clear_all()
            plan(state, event)
            state.last_event = number
        return state.commit()


def tell(
    told: kvengine.VirtualObject, telling: Telling, event: FlightEvent, number: int
) -> int | None:
    """Tell an object of the event, unless it knows."""
    with told.session(telling.kind, durability="os") as state:
        if state.last_event < number:
            telling.effect(state, event)
            state.last_event = number
        return state.commit()


def end_flight(flight: kvengine.Workflow, event: FlightEvent, number: int) -> int | None:
    """End the flight of this event, unless it is over; from now on it is kept for its retention."""
    with flight.session(Flight, durability="os") as state:
        if state.last_event == number and state.status == "planned":
            end(state, event)
            state.complete()
        return state.commit()


def deliver(
    db: kvengine.Engine, event: FlightEvent, number: int, retention: float
) -> Iterator[int]:
    """Handle an event to its end; the stamps of its commits.

    It comes again where an object was changed from outside during a session, or
    expired, as an earlier flight of the same name may.
    """
    while True:
        try:
            for stamp in handle(db, event, number, retention):
                if stamp is not None:
                    yield stamp
            return
        except kvengine.VersionConflict:
            continue


def run(settings: WorkerSettings, report: Callable[[bytes], object]) -> None:
    """Handle the events from the last one that was told on; report each stamp.

    That one may lack its end, so it comes again.
    """
    ignore = pass_over if settings.skip_bad_rows else None
    with open_database(settings.directory, settings.durability) as db:
        first = max(position(db), 1)
        events = islice(read_events(settings.events, on_bad_row=ignore), first - 1, None)
        for number, event in enumerate(events, first):
            for stamp in deliver(db, event, number, settings.retention):
                report(STAMP.pack(stamp))


def main() -> int:
    # An interrupt at the terminal reaches both processes; the parent decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings = msgspec.json.decode(sys.argv[1], type=WorkerSettings)
    pipe = int(sys.argv[2])
    # Processes that the engine starts must not hold the pipe open.
    os.set_inheritable(pipe, False)
    try:
        run(settings, lambda stamp: os.write(pipe, stamp))
    except BrokenPipeError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
