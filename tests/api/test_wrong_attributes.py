"""Private attributes that somebody sets to a wrong type: an exception, before anything is written.

Compiled, the write path reads its attributes as what they are declared to be. A wrong one must be
refused where it is set or where it is used, and never be taken for what it is not.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import kvengine
from kvengine import compiled
from kvengine.fs.memory import MemoryFileSystem

WRONG: tuple[Any, ...] = (None, "text", b"bytes", 1.5, -(1 << 70), object(), [], {1: 2}, (None,))

OWNERS: dict[str, Callable[[Any], Any]] = {
    "database": lambda db: db._db,
    "committer": lambda db: db._committer,
    "memtable": lambda db: db._db.view.active,
    "state": lambda db: db._db.view.active.states["s", "k"],
    "memo": lambda db: db._db.memo,
    "wal": lambda db: db._db.wal,
    "clock": lambda db: db._db.clock,
    "snapshots": lambda db: db._db.snapshots,
    "counters": lambda db: db._db.counters,
}

# What the write path reads. Locks and files are any object that has the methods; options, where
# they are kept as they are, are checked by `Options`.
USED = {
    "database": ("wal", "memo", "clock", "snapshots", "counters", "unpublished", "pending"),
    "committer": ("_db", "_begun", "_max_record", "_memtable_size"),
    "memtable": ("states", "expiring", "extended", "_fresh", "first_deletion"),
    "state": ("stamp", "row", "below", "fresh", "hides", "prev"),
    "memo": ("known", "_tally", "bytes", "capacity"),
    "wal": ("_file", "_disk", "salt", "mark", "end", "synced", "_allocated", "_writing"),
    "clock": ("_of_machine", "_last", "_until", "_source"),
    "snapshots": ("newest", "oldest"),
    "counters": ("commits",),
}

VERBS: dict[str, Callable[[kvengine.Engine], object]] = {
    "set": lambda db: db.set("s", "k", "n", b"wrong"),
    "clear_all": lambda db: db.clear_all("s", "k"),
    "clear_service": lambda db: db.clear_service("s"),
    "write": lambda db: db.write(written()),
    "expire": lambda db: db.expire("s", "k", ttl=100),
}


def written() -> kvengine.Batch:
    batch = kvengine.Batch()
    for name in ("n", "m"):
        batch.set("s", "k", name, b"wrong")
    return batch


@pytest.mark.skipif(compiled.form != "compiled", reason="plain Python declares no types")
@pytest.mark.parametrize("owner", USED)
@pytest.mark.parametrize("verb", VERBS)
def test_a_wrong_private_attribute_is_refused(owner: str, verb: str) -> None:
    """Set to a wrong type it raises TypeError or AttributeError, there or in the verb.

    Either the commit is whole after that, or it is not there; what was acknowledged before is.
    """
    refused = 0
    for name in USED[owner]:
        for wrong in WRONG:
            fs = MemoryFileSystem()
            db = kvengine.open("db", fs=fs, background="none", durability="os")
            for _ in range(5):
                db.set("s", "k", "n", b"right")
                db.get_all("s", "k")  # so that the memo knows it
            before = fs.copy()
            try:
                setattr(OWNERS[owner](db), name, wrong)
                VERBS[verb](db)
            except (TypeError, AttributeError, OverflowError):
                refused += 1
                image = fs.copy()
                assert image.read_bytes(wal_of(image)) == before.read_bytes(wal_of(before)), (
                    f"{owner}.{name} = {wrong!r} was refused after the log was written"
                )
            except kvengine.KVEngineError:
                pass  # no log, as in one that is read only
            with kvengine.open("db", fs=fs.copy(), background="none") as again:
                found = again.get_all("s", "k")
                whole = {"n": b"wrong", "m": b"wrong"}
                assert found in ({"n": b"right"}, {"n": b"wrong"}, whole, {}), f"{owner}.{name}"
                assert again.verify() == []
            with suppress(Exception):
                db.close()
    assert refused > 5 * len(USED[owner])


def wal_of(fs: MemoryFileSystem) -> str:
    """Return the path of the newest log."""
    return max(f"db/{name}" for name in fs.listdir("db") if name.endswith(".wal"))
