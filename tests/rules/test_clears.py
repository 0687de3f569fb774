"""Clears: nothing before they are published, all of it at once then, and never for a snapshot."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

import kvengine
from kvengine.fs import FaultyFileSystem, MemoryFileSystem
from kvengine.storage.clock import ManualClock
from tests.rules.place import heat, opened, pending

KEYS = ["a", "b", "c", "d"]

Clear = Callable[[Any], object]

CLEARS: dict[str, Clear] = {
    "clear": lambda target: [target.clear("s", key, "n") for key in KEYS],
    "clear_all": lambda target: [target.clear_all("s", key) for key in KEYS],
    "clear_range": lambda target: target.clear_range("s", "a", None),
    "clear_service": lambda target: target.clear_service("s"),
}

by_any_clear = pytest.mark.parametrize("clear", CLEARS.values(), ids=CLEARS.keys())

PLACES: dict[str, Callable[[kvengine.Engine], object]] = {
    "memtable": lambda db: None,
    "frozen": lambda db: db._maintenance.rotate_step(force=True),
    "segment": lambda db: db.flush(),
    "memo": lambda db: heat(db, *(("s", key) for key in KEYS)),
}

anywhere = pytest.mark.parametrize("settle", PLACES.values(), ids=PLACES.keys())


def fill(db: kvengine.Engine) -> None:
    for key in KEYS:
        db.set("s", key, "n", b"1")


def check_there(db: kvengine.Engine | kvengine.Snapshot) -> None:
    """Read every object by every verb: all are as they were written."""
    for key in KEYS:
        assert db.get("s", key, "n") == b"1"
        assert db.get_all("s", key) == {"n": b"1"}
        assert db.version("s", key) > 0
    assert list(db.object_keys("s")) == KEYS
    assert list(db.object_keys("s", reverse=True)) == KEYS[::-1]
    assert [found.entries for found in db.scan("s")] == [{"n": b"1"}] * len(KEYS)
    assert db.services() == ["s"]


def check_gone(db: kvengine.Engine | kvengine.Snapshot) -> None:
    """Read every object by every verb: none is there."""
    for key in KEYS:
        assert db.get("s", key, "n") is None
        assert db.get_many("s", key, ["n"]) == {}
        assert db.get_all("s", key) == {}
        assert db.state_keys("s", key) == []
        assert db.version("s", key) == 0
    assert list(db.object_keys("s")) == []
    assert list(db.object_keys("s", reverse=True)) == []
    assert list(db.scan("s")) == []
    assert db.services() == []


@by_any_clear
@anywhere
def test_a_clear_that_awaits_its_sync_hides_nothing(
    db: kvengine.Engine, settle: Callable[[kvengine.Engine], object], clear: Clear
) -> None:
    """A clear is in the log, and no sync has made it durable. Were the power cut now, all would
    be there; so reads, walks and snapshots show all of it until the clear is published.
    """
    fill(db)
    settle(db)
    with pending(db, clear):
        check_there(db)
        held = db.snapshot()
        check_there(held)
    check_gone(db)
    check_there(held)
    held.close()


@by_any_clear
@anywhere
def test_a_clear_whose_sync_fails_loses_nothing(
    fs: MemoryFileSystem,
    clock: ManualClock,
    settle: Callable[[kvengine.Engine], object],
    clear: Clear,
) -> None:
    """The sync of a clear fails: nobody was told that it is done, and nobody knows whether it is.
    Reads go on to show all that was there; a reopen finds the same, the log being as it was synced.
    """
    faulty = FaultyFileSystem(fs)
    with opened(faulty, clock, durability="sync") as db:
        fill(db)
        settle(db)
        faulty.fail_at(1, OSError(errno.EIO, "bad sector"), operations=["datasync"])
        batch = kvengine.Batch()
        clear(batch)
        with pytest.raises(kvengine.WriteFailed):
            db.write(batch)
        assert faulty.failures == 1
        faulty.clear()
        check_there(db)
        with db.snapshot() as snapshot:
            check_there(snapshot)
        with pytest.raises(kvengine.WriteFailed):
            db.set("s", "a", "n", b"2")
        check_there(db)
        image = fs.crash(None)
    with opened(image, clock) as db:
        check_there(db)


@by_any_clear
@anywhere
def test_a_clear_appears_at_once_to_every_kind_of_read(
    db: kvengine.Engine, settle: Callable[[kvengine.Engine], object], clear: Clear
) -> None:
    """Once a clear has returned nothing shows what was there: no read, no walk, no new snapshot,
    no memo, no expectation, wherever the objects lie.
    """
    fill(db)
    settle(db)
    clear(db)
    check_gone(db)
    with db.snapshot() as snapshot:
        check_gone(snapshot)
    batch = kvengine.Batch()
    batch.set("s", "a", "m", b"2")
    db.write(batch, expect={("s", "a"): 0})
    assert db.get_all("s", "a") == {"m": b"2"}
    db.flush()
    assert db.get_all("s", "a") == {"m": b"2"}
    assert list(db.object_keys("s")) == ["a"]


@by_any_clear
@anywhere
def test_a_snapshot_never_applies_a_later_clear(
    db: kvengine.Engine, settle: Callable[[kvengine.Engine], object], clear: Clear
) -> None:
    """A snapshot reads the tombstones of its moment. Later ones grow beside them in the same
    memtable, are flushed, and reach the bottom: it still shows what it showed.
    """
    fill(db)
    settle(db)
    db.clear_range("other", "x", "y")  # there are tombstones already, at the snapshot's moment
    with db.snapshot() as snapshot:
        clear(db)
        check_there(snapshot)
        db.set("s", "a", "n", b"2")
        db.clear_range("s", "b", "c")
        check_there(snapshot)
        with db.snapshot() as between:
            db.clear_service("s")
            assert between.get_all("s", "a") == {"n": b"2"}
            assert list(between.object_keys("s")) == ["a"]
            db.flush()
            db.compact()
            assert between.get_all("s", "a") == {"n": b"2"}
        check_there(snapshot)
    check_gone(db)


def test_a_range_clear_and_a_write_of_one_batch_over_a_hot_object(db: kvengine.Engine) -> None:
    """A batch clears a service and writes one of its objects anew: the write is behind the clear,
    in the memo as in the layers.
    """
    fill(db)
    db.flush()
    heat(db, *(("s", key) for key in KEYS))
    with db.batch() as batch:
        batch.clear_service("s")
        batch.set("s", "b", "m", b"2")
    assert db.get_all("s", "b") == {"m": b"2"}
    assert db.get_all("s", "a") == {}
    heat(db, ("s", "b"))
    db.set("s", "b", "o", b"3")
    assert db.get_all("s", "b") == {"m": b"2", "o": b"3"}
    db.flush()
    db._db.memo.clear()
    assert db.get_all("s", "b") == {"m": b"2", "o": b"3"}
