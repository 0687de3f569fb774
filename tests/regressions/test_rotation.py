"""A rotation that cannot make its new log: what is for want of means passes, what is damage stays.

Any error stopped writes until reopen, also when all that was missing was a descriptor. Once it was
tried again, it was tried at every commit, thousands of times a second.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

import kvengine
from kvengine.fs.faulty import FaultyFileSystem
from kvengine.fs.memory import MemoryFileSystem

MAKING = ("create", "allocate", "sync", "sync_dir")
"""The calls that make a log, in order."""


@pytest.fixture
def disk() -> FaultyFileSystem:
    return FaultyFileSystem(MemoryFileSystem())


@pytest.fixture
def db(disk: FaultyFileSystem) -> Iterator[kvengine.Engine]:
    opened = kvengine.open("/db", fs=disk, background="none")
    opened.set("S", "k", "a", b"1")
    yield opened
    disk.clear()
    with suppress(OSError):
        opened.close()


def after_reopen(disk: FaultyFileSystem) -> dict[str, bytes]:
    with kvengine.open("/db", fs=disk, background="none") as db:
        assert db.verify() == []
        return db.get_all("S", "k")


@pytest.mark.parametrize("operation", MAKING)
@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM, errno.ENOSPC])
def test_want_of_means_is_tried_again(
    db: kvengine.Engine, disk: FaultyFileSystem, operation: str, number: int
) -> None:
    """And the file that was begun is gone: none is left for each try."""
    before = disk.listdir("/db")
    disk.fail_at(1, OSError(number, "x"), operations={operation})
    with pytest.raises(OSError, match="x"):
        db.flush()
    assert disk.failures == 1
    disk.clear()
    assert disk.listdir("/db") == before
    db.set("S", "k", "b", b"2")
    db.flush()
    db.close()
    assert after_reopen(disk) == {"a": b"1", "b": b"2"}


@pytest.mark.parametrize("operation", MAKING)
def test_an_io_error_stops_writes(
    db: kvengine.Engine, disk: FaultyFileSystem, operation: str
) -> None:
    """P6: reads go on, writes are refused until reopen, and nothing is synced a second time."""
    disk.fail_at(1, OSError(errno.EIO, "x"), operations={operation})
    with pytest.raises(OSError, match="x"):
        db.flush()
    disk.clear()
    with pytest.raises(kvengine.WriteFailed, match="reopen"):
        db.set("S", "k", "b", b"2")
    assert db.get("S", "k", "a") == b"1"
    db.close()
    assert after_reopen(disk) == {"a": b"1"}


def test_it_is_not_tried_at_every_commit(disk: FaultyFileSystem) -> None:
    """The lane that rotates is woken by each commit while the memtable is too large."""
    options = {"memtable_size": 64 * 1024, "frozen_stop": 1000, "durability": "os"}
    with kvengine.open("/db", fs=disk, background="thread", **options) as db:
        disk.fail_at(1, OSError(errno.EMFILE, "x"), operations={"create"}, sticky=True)
        for number in range(1500):
            db.set("S", f"k{number}", "n", bytes(100))
            time.sleep(0.0005)  # the lane has its turn
        tries = disk.failures
        disk.clear()
        db.flush()
        assert len(list(db.object_keys("S"))) == 1500
    assert 1 <= tries < 300
