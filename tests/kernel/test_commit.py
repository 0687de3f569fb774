"""The commit of plain sets in C: what it leaves in memory and on disk is what Python leaves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from kvengine.storage.hot_committer import HotCommitter

import kvengine
from kvengine import kernel
from kvengine.storage.memtable import State

pytestmark = pytest.mark.skipif(not kernel.COMPILED, reason="the kernel is not built, or is off")


def begun(place: Path) -> kvengine.Engine:
    """A database on disk with an object in use."""
    db = kvengine.open(place, background="none", durability="os")
    with db.batch() as batch:
        for name in "abc":
            batch.set("S", "k", name, b"1")
    assert db.load("S", "k") is not None
    return db


def state_of(db: kvengine.Engine) -> State:
    found = db._db.view.active.states[("S", "k")]
    assert found is not None
    return found


def test_it_is_in_place() -> None:
    assert kvengine.Engine is not None  # which puts it there
    assert type(HotCommitter._log_sets).__name__ == "method_descriptor"


def test_what_it_leaves_is_what_python_leaves(tmp_path: Path) -> None:
    """State, stamps, counters, the end of the log; and the next life reads the same."""
    with begun(tmp_path) as db:
        stamps = [db.set("S", "k", "b", bytes([n])) for n in range(50)]
        inner, state = db._db, state_of(db)
        assert stamps == sorted(set(stamps))
        assert inner.published == inner.last_stamp == state.version == stamps[-1]
        assert inner.counters.commits == 51
        assert (state._rows, state.prev) == (None, None)
        full = state.full
        assert full is not None
        assert full.version == stamps[-1]
        assert list(full.entries.items()) == [("a", b"1"), ("b", bytes([49])), ("c", b"1")]
        assert (full.expires_at, full.ttls, full.soonest) == (None, None, None)
        assert inner.wal is not None
        assert inner.wal._file.position() == inner.wal.end
        assert not inner.wal.in_doubt
        assert db.write(kvengine.Batch()) == stamps[-1]
    with kvengine.open(tmp_path, background="none") as db:
        assert db.get_all("S", "k") == {"a": b"1", "b": bytes([49]), "c": b"1"}
        assert db.version("S", "k") == stamps[-1]


def test_the_log_grows_past_its_allocated_space(tmp_path: Path) -> None:
    with begun(tmp_path) as db:
        for n in range(300):
            db.set("S", "k", "a", bytes([n % 256]) * 2000)
    with kvengine.open(tmp_path, background="none") as db:
        assert db.get("S", "k", "a") == bytes([299 % 256]) * 2000


def test_a_failed_write_stops_writes_and_changes_nothing(tmp_path: Path) -> None:
    """The file cannot be written: WriteFailed, the old value stays, and reopening has it."""
    with begun(tmp_path) as db:
        wal = db._db.wal
        assert wal is not None
        sound = wal._file._fd  # type: ignore[attr-defined]
        broken = os.open(wal.path, os.O_RDONLY)
        wal._file._fd = broken  # type: ignore[attr-defined]
        with pytest.raises(kvengine.WriteFailed):
            db.set("S", "k", "a", b"2")
        assert db.get("S", "k", "a") == b"1"
        with pytest.raises(kvengine.WriteFailed):
            db.set("S", "k", "a", b"3")
        wal._file._fd = sound  # type: ignore[attr-defined]
        os.close(broken)
    with kvengine.open(tmp_path, background="none") as db:
        assert db.get("S", "k", "a") == b"1"


def test_a_snapshot_keeps_what_it_saw(tmp_path: Path) -> None:
    with begun(tmp_path) as db:
        with db.snapshot() as first:
            db.set("S", "k", "a", b"2")
            with db.snapshot() as second:
                db.set("S", "k", "a", b"3")
                db.set("S", "k", "a", b"4")
                found = [each.get("S", "k", "a") for each in (first, second, db)]
                assert found == [b"1", b"2", b"4"]
        db.set("S", "k", "a", b"5")
        assert state_of(db).prev is None


def test_an_expected_version_is_held_against_it(tmp_path: Path) -> None:
    with begun(tmp_path) as db:
        version = db.version("S", "k")
        for wrong in (version - 1, version + 1, 0, 2**70):
            batch = kvengine.Batch()
            batch.set("S", "k", "a", b"2")
            with pytest.raises((kvengine.VersionConflict, ValueError)):
                db.write(batch, expect={("S", "k"): wrong})
        assert db.get("S", "k", "a") == b"1"
        batch = kvengine.Batch()
        batch.set("S", "k", "a", b"2")
        assert db.write(batch, expect={("S", "k"): version}) > version


def test_a_commit_over_the_limit_is_refused(tmp_path: Path) -> None:
    options = {"durability": "os", "max_commit_size": 1000, "max_value_size": 1000}
    with kvengine.open(tmp_path, background="none", **options) as db:  # type: ignore[arg-type]
        db.set("S", "k", "a", b"1")
        db.load("S", "k")
        with pytest.raises(kvengine.ValueTooLarge):
            db.set("S", "k", "a", b"x" * 1000)
        assert db.get("S", "k", "a") == b"1"
        assert db.set("S", "k", "a", b"x" * 900)


def test_an_interrupted_commit_keeps_what_a_snapshot_saw(tmp_path: Path) -> None:
    """The state noted before the write lacked the one before it: the snapshot lost its object."""
    with begun(tmp_path) as db:
        db.set("S", "k", "a", b"2")
        wal = db._db.wal
        assert wal is not None
        with db.snapshot() as before:
            write = wal._write

            def interrupted(data: bytes) -> None:
                write(data)
                wal._write = write
                raise KeyboardInterrupt

            wal._write = interrupted
            wal._allocated = wal.end
            with pytest.raises(KeyboardInterrupt):
                db.set("S", "k", "a", b"3")
            assert (db.get("S", "k", "a"), before.get("S", "k", "a")) == (b"3", b"2")


def test_what_is_raised_while_the_clock_is_read_goes_on(tmp_path: Path) -> None:
    """A signal handler's TimeoutError there was dropped, and the commit was made all the same."""
    with begun(tmp_path) as db:
        clock = db._db.clock
        read = clock._read

        def late() -> int:
            clock._read = read
            raise TimeoutError("raised by a signal handler")

        clock._read = late
        with pytest.raises(TimeoutError):
            db.set("S", "k", "a", b"2")
        assert db.get("S", "k", "a") == b"1"
        db.set("S", "k", "a", b"3")
        assert db.get("S", "k", "a") == b"3"


def test_a_failed_write_tells_what_failed(tmp_path: Path) -> None:
    """WriteFailed has the system's error as its cause and as its context, as from Python."""
    with begun(tmp_path) as db:
        wal = db._db.wal
        assert wal is not None
        sound = wal._file._fd  # type: ignore[attr-defined]
        broken = os.open(wal.path, os.O_RDONLY)
        wal._file._fd = broken  # type: ignore[attr-defined]
        with pytest.raises(kvengine.WriteFailed) as caught:
            db.set("S", "k", "a", b"2")
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__context__ is caught.value.__cause__
        wal._file._fd = sound  # type: ignore[attr-defined]
        os.close(broken)
