"""Background work that cannot start: reported, tried again, and no concern of a commit."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import kvengine
from kvengine.storage.compaction import schedule


def test_lanes_that_cannot_start_are_told_of_and_started_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system has no thread to give, the database opens and commits all the same.

    `stats` says what failed. The next commit that makes work due starts the lanes.
    """

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        db = kvengine.open(tmp_path, durability="os", memtable_size=20_000, live_access=False)
    with db:
        stats = db.stats()
        assert stats.background_errors == 3
        assert "can't start new thread" in stats.last_background_error
        deadline = time.monotonic() + 30
        n = 0
        while not db.stats().flushes and time.monotonic() < deadline:
            db.set("s", f"{n}", "n", bytes(100))
            n += 1
        assert db.stats().flushes
        assert len(list(db.object_keys("s"))) == n


def test_a_commit_that_was_written_does_not_raise_for_the_work_that_it_makes_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without lanes a commit does the work that is due. That it cannot is told by `stats` alone.

    The commit is written and visible: an error would tell its caller the opposite.
    """

    def refuse(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    with kvengine.open(
        tmp_path, durability="os", background="none", memtable_size=2_000, live_access=False
    ) as db:
        with monkeypatch.context() as patch:
            patch.setattr(schedule, "start_new_thread", refuse)
            for n in range(40):
                assert db.set("s", f"{n}", "n", bytes(100))
            assert db.stats().background_errors
            assert not db.stats().flushes
        db.set("s", "40", "n", b"")
        assert db.stats().flushes
        assert len(list(db.object_keys("s"))) == 41


def test_a_closed_database_keeps_no_segment_open(tmp_path: Path) -> None:
    """Blocks kept in memory kept their segments open for as long as the engine was referred to.

    A file system could not be unmounted, and the space of removed files did not come back.
    """
    db = kvengine.open(tmp_path / "db", durability="os", live_access=False)
    for n in range(50):
        db.set("s", f"{n}", "n", bytes(1000))
    db.flush()
    assert db.get("s", "7", "n") == bytes(1000)
    reader = kvengine.open(tmp_path / "db", read_only=True)
    assert reader.get("s", "7", "n") == bytes(1000)
    db.set("s", "7", "n", bytes(1000))
    db.compact()
    assert reader.refresh()
    for n in range(50):
        db.get("s", f"{n}", "n")
    assert len(open_segments(tmp_path)) == 2, "one each"
    reader.close()
    db.close()
    assert open_segments(tmp_path) == []


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_segment_that_a_snapshot_read_after_it_was_replaced(tmp_path: Path) -> None:
    """A replaced segment is closed with the last snapshot that reads it.

    The frames of a segment were dropped when it was replaced. What a snapshot read of it after
    that made new ones, and these held the file open, and its space on the disk, until other reads
    had filled the cache: a long-lived process that takes snapshots beside compactions collected
    thousands of descriptors of files that were no longer there. So did one that kept snapshots
    which it had closed.
    """
    closed = []
    with kvengine.open(tmp_path / "db", durability="os") as db:
        db.set("s", "k", "n", b"0")
        db.flush()
        for n in range(1, 11):
            with db.snapshot() as snapshot:
                db.set("s", "k", "n", b"%d" % n)
                db.compact()
                assert snapshot.get("s", "k", "n") == b"%d" % (n - 1)
                assert snapshot.get("s", "k", "n") == b"%d" % (n - 1)
            closed.append(snapshot)
            assert len(open_segments(tmp_path)) == 1, n


def open_segments(place: Path) -> list[str]:
    """The segments below ``place`` that this process has open."""
    held = (os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if alive(fd))
    return [path for path in held if path.startswith(str(place)) and ".segment" in path]


def alive(fd: str) -> bool:
    """Whether a descriptor that was listed is still open: the listing's own is not."""
    return os.path.lexists(f"/proc/self/fd/{fd}")
