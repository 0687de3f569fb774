"""I/O errors at every call of a scripted life of a database (promise P6)."""

from __future__ import annotations

import errno
import os

import pytest

import kvengine
from kvengine import CorruptionError, KVEngineError, WriteFailed
from kvengine.fs.faulty import FaultyFile, FaultyFileSystem
from kvengine.fs.memory import MemoryFileSystem
from tests.durability.life import OPTIONS, Life, lives, reopened

SYNCS = ("sync", "datasync", "sync_dir")
EIO = OSError(errno.EIO, os.strerror(errno.EIO))
FAULTS: dict[str, dict[str, object]] = {
    "ENOSPC once": {},
    "EIO once": {"error": EIO},
    "EIO from then on": {"error": EIO, "sticky": True},
    "full disk": {
        "sticky": True,
        "operations": ("create", "write", "allocate", "rename", "makedirs", "link"),
    },
    "short write": {"short_write": True, "operations": ("write",)},
    "short write, then nothing": {
        "short_write": True,
        "sticky": True,
        "error": EIO,
        "operations": ("write", "truncate", "sync", "datasync"),
    },
    "sync once": {"operations": SYNCS, "error": EIO},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_error_at_every_call(fault: str) -> None:
    """An error raises, reads go on, and what was acknowledged is there after a reopen.

    So it is after kill -9, after a reopen in the same process (an open that
    failed gave its lock back), and after a power cut as far as it was synced:
    never a half batch, never an older state. The database then works and is sound.
    """
    runs = refused = 0
    for n, life, memory in lives(lambda fs, n: fs.fail_at(n, **FAULTS[fault])):  # type: ignore[arg-type]
        told = f"failure at call {n}: {life.errors}"
        for kind, image, allowed in (
            ("kill", memory.copy(), life.after_reopen()),
            ("power cut", memory.crash(None), life.after_power_cut()),
            ("reopen", memory, life.after_reopen()),
        ):
            assert reopened(image) in allowed, f"{kind}, {told}"
        assert not any(isinstance(error, CorruptionError) for error in life.errors), told
        assert life.errors or life.background_errors, f"nobody was told of the {told}"
        runs += 1
        refused += any(isinstance(error, WriteFailed) for error in life.errors)
    assert runs > 10 and refused > 5


def sync_calls(trace: list[tuple[str, ...]]) -> list[tuple[str, str]]:
    return [(one[0], one[1]) for one in trace if one[0] in SYNCS]


def test_failed_sync_is_never_retried() -> None:
    """A file whose sync failed is not synced again: a second call might succeed on lost data."""
    memory = MemoryFileSystem(trace=[])
    life = Life(FaultyFileSystem(memory))
    life.run()
    assert memory.trace is not None
    clean = sync_calls(memory.trace)
    tried = 0
    for n, _, failed in lives(lambda fs, n: fs.fail_at(n, EIO, operations=SYNCS)):
        operation, path = clean[n - 1]
        if operation == "sync_dir":
            continue
        assert failed.trace is not None
        after = sync_calls(failed.trace)[n - 1 :]
        assert path not in [one for _, one in after], f"{path} was synced again"
        tried += 1
    assert tried > 10


def test_failed_checkpoint_leaves_room_for_the_next() -> None:
    """A checkpoint that failed may be taken again; until then no checkpoint is at its path."""
    tried = 0
    for n in range(1, 1000):
        memory = MemoryFileSystem()
        fs = FaultyFileSystem(memory)
        with kvengine.open("db", fs=fs, **OPTIONS) as db:
            for i in range(8):
                db.set("s", f"k{i}", "n", b"%d" % i * 100)
            fs.fail_at(n)
            try:
                db.checkpoint("copy")
            except (OSError, KVEngineError):
                tried += 1
                fs.clear()
            else:
                fs.clear()
                assert not fs.failures
                break
            if not memory.exists("copy"):
                try:
                    db.checkpoint("copy")
                except WriteFailed:
                    continue
            assert len(reopened(memory.copy(), "copy")) == 8
            assert not [name for name in memory.listdir("/") if name not in ("db", "copy")]
    assert tried > 10


class NoSegments(FaultyFileSystem):
    """A disk with room for the log and none for segments."""

    full = True

    def create(self, path: str, /) -> FaultyFile:
        if self.full and path.endswith(".tmp"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        return super().create(path)


@pytest.mark.parametrize("background", ["none", "thread"])
def test_flush_that_cannot_go_on(background: str) -> None:
    """A flush that fails harms no commit, until writers must wait for it: then they are told.

    Commits go on while memtables may wait; past that they raise instead of
    hanging, and the reason is in `stats`. When there is room again they go on.
    """
    fs = NoSegments(MemoryFileSystem())
    fs.full = False
    with kvengine.open("db", fs=fs, **{**OPTIONS, "background": background}) as db:
        fs.full = True
        returned = 0
        error = ""
        while not error and returned < 1000:
            try:
                db.set("s", f"k{returned}", "n", b"x" * 500)
                returned += 1
            except WriteFailed as failed:
                error = str(failed)
        assert "No space left" in error
        assert returned > 4
        stats = db.stats()
        assert stats.background_errors and "No space left" in stats.last_background_error
        assert len(list(db.object_keys("s"))) == returned
        fs.full = False
        db.set("s", "more", "n", b"1")
        db.flush()
        assert len(list(db.object_keys("s"))) == returned + 1
