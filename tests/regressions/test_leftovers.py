"""What a crash or a stranger leaves behind, and what an error leaves held."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

import pytest

import kvengine
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage import filenames
from tests.regressions.disks import HookedDisk, replace, temporaries


def test_temporary_files_of_an_earlier_life() -> None:
    """A directory opens whatever files were being made when its owner was killed.

    In a container every life has the same pid. Two jobs had been running, and
    the name under which the next open makes its CURRENT was that of the second
    one's output: it failed, and so did every open after it.
    """
    disk = MemoryFileSystem()
    with kvengine.open("db", fs=disk, background="none") as db:
        db.set("s", "k", "n", b"1")
    for number in range(1, 40):
        replace(disk, f"db/{filenames.temporary(number, os.getpid())}", b"half")
    for _ in range(2):
        with kvengine.open("db", fs=disk, background="none") as db:
            assert db.get("s", "k", "n") == b"1"
            db.set("s", "l", "n", b"1")
            db.compact()
            assert temporaries(disk) == []


@pytest.mark.parametrize("kind", ["wal", "segment", "manifest"])
def test_file_with_the_largest_number(kind: str) -> None:
    """A stray file named with the largest number there is does not keep a database from opening.

    Numbers went on from it, to ones too long to be told from a stranger's file:
    the CURRENT of the first open named a manifest that the second did not know.
    """
    disk = MemoryFileSystem()
    with kvengine.open("db", fs=disk, background="none") as db:
        db.set("s", "k", "n", b"0")
    replace(disk, f"db/{'9' * 18}.{kind}", b"")
    for n in range(3):
        with kvengine.open("db", fs=disk, background="none") as db:
            assert db.get("s", "k", "n") == b"%d" % n
            db.set("s", "k", "n", b"%d" % (n + 1))
            db.flush()
        with kvengine.open("db", fs=disk.copy(), read_only=True) as reader:
            assert reader.get("s", "k", "n") == b"%d" % (n + 1)


@pytest.mark.parametrize("kind", ["wal", "manifest"])
def test_close_of_a_file_that_fails(kind: str) -> None:
    """A file that fails to close keeps neither the others nor the lock of the directory.

    The error left the close at the first file, and until the process ended every
    other open was told that the database is in use.
    """
    disk = HookedDisk()
    db = kvengine.open("db", fs=disk, background="none")
    db.set("s", "k", "n", b"1")
    closed = []

    def fail(called: str, path: str) -> None:
        if called == "close":
            closed.append(path.rpartition(".")[2])
            if path.endswith(f".{kind}"):
                raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    disk.hook = fail
    with suppress(OSError):
        db.close()
    disk.hook = None
    assert sorted(closed) == ["manifest", "wal"]
    with kvengine.open("db", fs=disk, background="none") as again:
        assert again.get("s", "k", "n") == b"1"


def test_output_that_is_gone_when_a_compaction_fails() -> None:
    """A compaction that runs out of space says so, and leaves none of its outputs behind.

    One of them had been removed meanwhile. The clearing up ended there, with an
    error of its own in place of the one that people need to see.
    """
    disk = HookedDisk()
    options = {"background": "none", "durability": "os", "segment_size": 2000}
    with kvengine.open("db", fs=disk, **options) as db:
        for n in range(60):
            db.set("s", f"{n:02}", "n", b"x" * 200)
        db.flush()
        created: list[str] = []

        def fail(called: str, path: str) -> None:
            if called != "create" or not path.endswith(".tmp"):
                return
            if len(created) == 3:
                disk.hook = None
                disk.unlink(created[0])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
            created.append(path)

        disk.hook = fail
        with pytest.raises(OSError, match="No space left"):
            db.compact()
        assert len(created) == 3 and temporaries(disk) == []
        db.compact()
        assert len(list(db.object_keys("s"))) == 60
