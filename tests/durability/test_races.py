"""Commits that arrive in the few instants in which a rotation or a close has half happened."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from types import TracebackType

import pytest

import kvengine
from kvengine import DatabaseClosed, KVEngineError, WriteFailed
from kvengine.fs.base import FileSystem
from kvengine.fs.memory import MemoryFileSystem
from kvengine.fs.memory_file import MemoryFile

FIRST_WAL = "000002.wal"


class Latch:
    """Fails one sync of the first WAL, and waits between the loss and the report of it."""

    def __init__(self, operation: str) -> None:
        self.operation = operation
        self.armed = False
        self.lost = threading.Event()
        self.go = threading.Event()

    def sync(self, operation: str, path: str) -> None:
        if self.armed and operation == self.operation and path.endswith(FIRST_WAL):
            self.armed = False
            self.lost.set()
            assert self.go.wait(10)
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)


class LatchedFile(MemoryFile):
    __slots__ = ("latch",)

    latch: Latch

    def datasync(self) -> None:
        self.latch.sync("datasync", self._path)
        super().datasync()

    def sync(self) -> None:
        self.latch.sync("sync", self._path)
        super().sync()


class LatchedDisk(MemoryFileSystem):
    def __init__(self, latch: Latch) -> None:
        super().__init__()
        self.latch = latch

    def create(self, path: str, /) -> MemoryFile:
        node = super().create(path)._node
        assert node is not None
        file = LatchedFile(self, node, path, writable=True)
        file.latch = self.latch
        return file


def in_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """A thread that runs ``work``, and where its outcome goes: a result or an exception."""
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


def test_sync_beside_one_that_fails() -> None:
    """A sync commit is refused where a rotation saw the sync of its file fail.

    The system reports lost data to one caller only: a commit that synced the log
    while the rotation was about to learn of the loss was told all is well.
    """
    latch = Latch("datasync")
    db = kvengine.open("db", fs=LatchedDisk(latch), background="none", durability="os")
    db.set("s", "k", "n", b"1")
    latch.armed = True
    failing, failed = in_thread(db.flush)
    assert latch.lost.wait(10)
    batch = kvengine.Batch()
    batch.set("s", "k", "n", b"2")
    writing, written = in_thread(lambda: db.write(batch, durability="sync"))
    writing.join(0.2)
    latch.go.set()
    failing.join(10)
    writing.join(10)
    assert isinstance(failed[0], (OSError, KVEngineError))
    assert isinstance(written[0], (WriteFailed, DatabaseClosed))
    db.close()


class Rushed:
    """A lock behind which somebody waits: it is taken the moment it is released.

    ``failing``: only when it is released by an exception.
    """

    def __init__(self, waiting: Callable[[], object], *, failing: bool = False) -> None:
        self._lock = threading.Lock()
        self._waiting: Callable[[], object] | None = waiting
        self._failing = failing

    def __enter__(self) -> bool:
        return self._lock.__enter__()

    def mine(self) -> bool:
        return False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release()
        if self._failing and kind is None:
            return
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting()


@pytest.mark.plain
@pytest.mark.parametrize("verb", ["flush", "close"])
def test_commit_that_waits_for_a_seal_that_fails(verb: str) -> None:
    """Nor may it sync the file behind a rotation or a close that could not seal it."""
    latch = Latch("sync")
    latch.go.set()
    db = kvengine.open("db", fs=LatchedDisk(latch), background="none", durability="os")
    db.set("s", "k", "n", b"1")
    latch.armed = True
    outcome: list[object] = []

    def commit() -> None:
        batch = kvengine.Batch()
        batch.set("s", "k", "n", b"2")
        try:
            outcome.append(db.write(batch, durability="sync"))
        except KVEngineError as error:
            outcome.append(error)

    db._db.sync_lock = Rushed(commit, failing=True)  # type: ignore[assignment]
    with pytest.raises(OSError, match="Input/output"):
        getattr(db, verb)()
    assert isinstance(outcome[0], (WriteFailed, DatabaseClosed))
    db.close()


@pytest.mark.plain
def test_commit_that_waits_for_a_close() -> None:
    """A commit that gets the lock just when a close gives it up is refused, not lost.

    It went behind the end that the close had stated, returned, and was gone.
    """
    fs: FileSystem = MemoryFileSystem()
    db = kvengine.open("db", fs=fs, background="none", durability="os")
    db.set("s", "k", "n", b"1")
    outcome: list[object] = []

    def commit() -> None:
        try:
            outcome.append(db.set("s", "k", "n", b"2"))
        except DatabaseClosed as error:
            outcome.append(error)

    db._db.commit_lock = Rushed(lambda: in_thread(commit)[0].join(10))  # type: ignore[assignment]
    db.close()
    assert len(outcome) == 1
    with kvengine.open("db", fs=fs, background="none") as again:
        expected = b"1" if isinstance(outcome[0], DatabaseClosed) else b"2"
        assert again.get("s", "k", "n") == expected


class Vanishing(MemoryFileSystem):
    """A directory in which another process removes a temporary file that it had made."""

    def listdir(self, path: str, /) -> list[str]:
        return [*super().listdir(path), "000007-12345-0.tmp"]


def test_temporary_file_that_goes_meanwhile() -> None:
    """An open does not fail because somebody else removes a temporary file meanwhile."""
    fs = MemoryFileSystem()
    with kvengine.open("db", fs=fs, background="none") as db:
        db.set("s", "k", "n", b"1")
    fs.__class__ = Vanishing
    with kvengine.open("db", fs=fs, background="none") as db:
        assert db.get("s", "k", "n") == b"1"
