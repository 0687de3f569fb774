"""The worker process: applies events to the database and reports each commit.

    python -m kvengine.demo.worker SETTINGS PIPE

``SETTINGS`` is a WorkerSettings as JSON, ``PIPE`` the number of an inherited
file descriptor. After each commit has returned, its stamp goes down the pipe;
what the parent has read there it may rely on. Events that the database says
were applied are passed over, so a worker can be killed and started anew.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
from collections.abc import Callable
from contextlib import closing
from itertools import islice

import msgspec

import kvengine
from kvengine.batch import Batch
from kvengine.demo.aggregate import FLIGHT, Change, changes, entries_of, flight_of
from kvengine.demo.columns import FlightEvent
from kvengine.demo.events import read_events
from kvengine.options import Durability
from kvengine.store import Store

STAMP = struct.Struct("<Q")
"""A report: the stamp of one returned commit. Far below PIPE_BUF, so never torn."""

PROGRESS = ("Demo", "progress")
"""The object whose entry ``events`` says how many events are in the database."""

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


def open_database(directory: str, durability: Durability) -> closing[Store]:
    """The database as the demo opens it everywhere; closed at the end of its ``with`` block."""
    return closing(
        kvengine.open(
            directory,
            durability=durability,
            expiry_grace=EXPIRY_GRACE,
            memtable_size=MEMTABLE_SIZE,
        )
    )


def progress(db: Store) -> int:
    """How many events are in the database."""
    value = db.get(*PROGRESS, "events")
    return 0 if value is None else msgspec.json.decode(value, type=int)


def apply_event(db: Store, event: FlightEvent, number: int, retention: float) -> int:
    """Commit everything that the event does as one batch; its stamp.

    ``number`` is the progress afterwards. The flight's workflow starts afresh
    and expires ``retention`` seconds after this commit.
    """
    changed = changes(event, db.get_all)
    flight = event.flight_id
    with db.batch() as batch:
        for change in changed:
            put(batch, change)
        batch.clear_all(FLIGHT, flight)
        for name, value in entries_of(flight_of(event)).items():
            batch.set(FLIGHT, flight, name, value)
        batch.expire(FLIGHT, flight, ttl=retention)
        batch.set(*PROGRESS, "events", msgspec.json.encode(number))
    if batch.stamp is None:
        raise RuntimeError("the commit returned without a stamp")
    return batch.stamp


def put(batch: Batch, change: Change) -> None:
    """Write the entries of an object that a change made different."""
    for name, value in change.after.items():
        if change.before.get(name) != value:
            batch.set(change.service, change.key, name, value)
    for name in change.before.keys() - change.after.keys():
        batch.clear(change.service, change.key, name)


def run(settings: WorkerSettings, report: Callable[[bytes], object]) -> None:
    """Apply all events that are not in the database yet; report each stamp."""
    ignore = (lambda _: None) if settings.skip_bad_rows else None
    with open_database(settings.directory, settings.durability) as db:
        done = progress(db)
        events = islice(read_events(settings.events, on_bad_row=ignore), done, None)
        for number, event in enumerate(events, done + 1):
            report(STAMP.pack(apply_event(db, event, number, settings.retention)))


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
