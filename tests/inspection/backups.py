"""Databases and their backups in memory, and what tests ask of them."""

from __future__ import annotations

import kvengine
from kvengine.fs.base import FileSystem
from kvengine.fs.memory import MemoryFileSystem
from kvengine.inspection.backup.backup import BackedUp, backup
from kvengine.inspection.backup.restore import restore
from kvengine.storage.clock import ManualClock
from kvengine.store import StoredObject

PLACE = "/backups"
State = list[StoredObject]


def open_db(fs: FileSystem, path: str = "/db", **options: object) -> kvengine.Engine:
    """A database whose segments are small; nothing of it runs beside the test."""
    return kvengine.open(
        path,
        fs=fs,
        clock=ManualClock(),
        **{"background": "none", "block_size": 256, "l0_compact": 100, "l0_slow": 100}
        | {"l0_stop": 100}
        | options,
    )


def step(db: kvengine.Engine, number: int) -> None:
    """A change: a segment of its own with an object that stays, and some in the WAL."""
    db.set("s", f"k{number:02}", "n", b"%d" % number * 50)
    db.set("s", "last", "n", b"%d" % number)
    if number % 3 == 0:
        db.clear("s", "k00", "n")
    db.flush()
    db.set("s", "wal", "n", b"%d" % number)
    db.expire("s", "wal", ttl=10_000 + number)


def state(db: kvengine.Engine) -> State:
    return list(db.scan())


def make(db: kvengine.Engine, fs: FileSystem, **options: object) -> BackedUp:
    return backup(db, PLACE, fs=fs, now=lambda: 1_000.5, **options)  # type: ignore[arg-type]


def restored(fs: FileSystem, generation: int | None = None, into: str = "/new") -> State:
    """What a generation holds: restored, opened, verified, and removed again."""
    restore(PLACE, into, generation, fs=fs)
    with open_db(fs, into, create=False) as db:
        assert db.verify() == [] and db.stats().recovery == ()
        found = state(db)
    for name in fs.listdir(into):
        fs.unlink(f"{into}/{name}")
    fs.rmdir(into)
    return found


def three(fs: MemoryFileSystem) -> list[State]:
    """Three generations of a database, and what each holds. The database is closed."""
    states = []
    with open_db(fs) as db:
        for number in range(3):
            step(db, number)
            states.append(state(db))
            assert make(db, fs).generation == number + 1
    return states


def names(fs: FileSystem, directory: str = PLACE) -> list[str]:
    return fs.listdir(directory)
