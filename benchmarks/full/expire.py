"""Line 15: a million workflows expire; until their space is back, and reads of others meanwhile.

Beside objects that stay, kvengine holds workflows of three entries with an expiry. When that and
`expiry_grace` have passed, the clock starts, and it stops when the directory has given back nine
tenths of what the workflows took: no call asks for it. In SQLite the entries state their expiry in
a column, and the clock runs over a DELETE of those that have expired and what gives their space
back: VACUUM, or auto_vacuum=INCREMENTAL and its pragma, whichever is faster. The DELETE reads the
whole table, since an index would make it slower. Another connection reads meanwhile.
"""

from __future__ import annotations

import os
import random
import sqlite3
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

import kvengine
from benchmarks import lines, peers, workload
from benchmarks.directories import disk_use
from benchmarks.full import load
from benchmarks.full.record import Place, Record, apart, record
from benchmarks.full.sizes import Sizes
from benchmarks.peers.base import OURS
from benchmarks.peers.kvengine_peer import settle
from benchmarks.workload import SERVICE, STATE_KEYS, object_key

WORKFLOWS = "Order"
NAMES = ("input", "result", "step")
SLICE = 500  # reads between two looks at the directory
SLICES_BEFORE = 200
COMMIT_WORKFLOWS = 100  # in one commit of the load, which is not measured
# The retention, in the time that as many of the objects that stay would take to load. The next is
# tried where the workflows took longer than that.
RETENTIONS = (0.5, 1.0, 2.0, 4.0)
PATIENCE_SECONDS = 300.0
Read = Callable[[str, str, str], object]

_SCHEMA = """
CREATE TABLE entries (
    service TEXT NOT NULL, key TEXT NOT NULL, state_key TEXT NOT NULL, value BLOB NOT NULL,
    expires_at REAL, PRIMARY KEY (service, key, state_key)
) WITHOUT ROWID
"""
_PUT = "INSERT INTO entries VALUES (?, ?, ?, ?, ?)"
_GET = "SELECT value FROM entries WHERE service = ? AND key = ? AND state_key = ?"
_DELETE = "DELETE FROM entries WHERE expires_at <= ?"


class Expiry(NamedTuple):
    """Seconds until the space was back, and those of a read before and meanwhile."""

    seconds: float
    before: float
    meanwhile: float


class TooShort(Exception):
    """The workflows began to expire while they were loaded."""


class Reader:
    """Reads entries of the objects that stay, in slices."""

    def __init__(self, read: Read, living: int) -> None:
        self._read = read
        self._living = living
        self._generator = random.Random(8)

    def slice(self) -> float:
        """Return the seconds that one read of a slice took."""
        numbers = [self._generator.randrange(self._living) for _ in range(SLICE)]
        calls = [(SERVICE, object_key(number), STATE_KEYS[number % 10]) for number in numbers]
        read = self._read
        start = time.perf_counter()
        for _call in calls:
            pass
        middle = time.perf_counter()
        for call in calls:
            read(*call)
        return (time.perf_counter() - middle - (middle - start)) / SLICE

    def before(self) -> float:
        """Return the mean of slices, as `until` does, after some that are not counted."""
        slices = [self.slice() for _ in range(2 * SLICES_BEFORE)]
        return statistics.fmean(slices[SLICES_BEFORE:])

    def until(self, ended: Callable[[], bool]) -> float:
        """Read until that is true; return the mean, which counts every slow slice."""
        start = time.monotonic()
        slices = [self.slice()]
        while not ended():
            slices.append(self.slice())
            if time.monotonic() - start > PATIENCE_SECONDS:
                raise TimeoutError("the space of what has expired does not come back")
        return statistics.fmean(slices)


def _workflows(count: int) -> Iterator[list[tuple[str, str, bytes]]]:
    """Yield commits: entries of some workflows, in random order of their keys."""
    pool = random.Random(2).randbytes(1 << 20)
    last = len(pool) - workload.VALUE_SIZE
    entries = []
    for place, number in enumerate(workload.load_order(count), 1):
        start = number * 7_919 % last
        key = f"order-{number:08d}"
        entries += [(key, name, pool[start : start + workload.VALUE_SIZE]) for name in NAMES]
        if place % COMMIT_WORKFLOWS == 0 or place == count:
            yield entries
            entries = []


def kvengine_expires(directory: str, sizes: Sizes, retention: float) -> Expiry:
    """Load, wait, and watch the directory."""
    with kvengine.open(directory, durability="os", expiry_grace=sizes.grace) as store:
        start = time.monotonic()
        for service, key, entries in load.objects(sizes.living):
            with store.batch() as batch:
                for state_key, value in entries.items():
                    batch.set(service, key, state_key, value)
        store.flush()
        store.compact()
        small = disk_use(directory)
        as_many = (time.monotonic() - start) / sizes.living * sizes.workflows
        expires_at = time.time() + 1 + retention * as_many
        for workflows in _workflows(sizes.workflows):
            with store.batch() as batch:
                for key, name, value in workflows:
                    batch.set(WORKFLOWS, key, name, value)
                for key in {key for key, _name, _value in workflows}:
                    batch.expire(WORKFLOWS, key, at=expires_at)
        store.flush()
        settle(store)
        large = disk_use(directory)
        reader = Reader(store.get, sizes.living)
        before = reader.before()
        if time.time() > expires_at:
            raise TooShort
        time.sleep(max(0.0, expires_at + sizes.grace - time.time()))
        enough = small + (large - small) // 10
        start = time.perf_counter()
        meanwhile = reader.until(lambda: disk_use(directory) <= enough)
        return Expiry(time.perf_counter() - start, before, meanwhile)


def _kvengine_expires(place: Place, sizes: Sizes) -> Expiry:
    for retention in RETENTIONS:
        with suppress(TooShort):
            return apart(kvengine_expires, place.new("expiry"), sizes, retention)
        place.say("  the workflows took longer to load than their retention: it is doubled")
    raise TooShort


def sqlite_deletes(directory: str, sizes: Sizes, incremental: bool) -> Expiry:
    """Load, and time the DELETE and what gives the space back."""
    path = os.path.join(directory, "state.db")

    def connect() -> sqlite3.Connection:
        opened = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        if incremental:
            opened.execute("PRAGMA auto_vacuum=INCREMENTAL")
        opened.execute("PRAGMA journal_mode=WAL")
        opened.execute("PRAGMA synchronous=OFF")
        opened.execute(f"PRAGMA cache_size={-(OURS.cache >> 10)}")
        opened.execute(f"PRAGMA mmap_size={OURS.cache}")
        return opened

    writer = connect()
    writer.execute(_SCHEMA)
    for service, key, entries in load.objects(sizes.living):
        rows = [(service, key, name, value, None) for name, value in entries.items()]
        writer.execute("BEGIN")
        writer.executemany(_PUT, rows)
        writer.execute("COMMIT")
    for workflows in _workflows(sizes.workflows):
        writer.execute("BEGIN")
        writer.executemany(_PUT, [(WORKFLOWS, *entry, 1.0) for entry in workflows])
        writer.execute("COMMIT")
    writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    other = connect()
    reader = Reader(lambda *names: other.execute(_GET, names).fetchone(), sizes.living)
    before = reader.before()
    took: list[float] = []

    def delete() -> None:
        start = time.perf_counter()
        writer.execute(_DELETE, (2.0,))
        writer.execute("PRAGMA incremental_vacuum" if incremental else "VACUUM").fetchall()
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        took.append(time.perf_counter() - start)

    thread = threading.Thread(target=delete)
    thread.start()
    meanwhile = reader.until(lambda: not thread.is_alive())
    thread.join()
    for connection in (other, writer):
        connection.close()
    return Expiry(took[0], before, meanwhile)


def run(place: Place, sizes: Sizes) -> list[Record]:
    """Return the time until the space is back, and what a read takes meanwhile by one before."""
    found = {peers.KVENGINE: _kvengine_expires(place, sizes)}
    place.say(f"  kvengine: {found[peers.KVENGINE]}")
    if "SQLite" in place.names:
        ways = [apart(sqlite_deletes, place.new("expiry"), sizes, way) for way in (False, True)]
        place.say(f"  SQLite: VACUUM {ways[0]}; incremental {ways[1]}")
        found["SQLite"] = min(ways)
    place.drop("expiry")
    records = []
    for name, expiry in found.items():
        note = (
            f"{sizes.workflows:,} workflows of {len(NAMES)} entries beside {sizes.living:,} objects"
            f" that stay; expiry_grace {sizes.grace:g} s, from whose end on kvengine's time counts"
        )
        records.append(record(lines.SPACE_BACK, name, [expiry.seconds], note=note))
        ratio = expiry.meanwhile / expiry.before
        note = (
            f"{name}: {expiry.before * 1e6:.2f} us before, {expiry.meanwhile * 1e6:.2f} meanwhile"
        )
        records.append(record(lines.READS_MEANWHILE, name, [ratio], note=note))
    return records
