"""A file system that fails on demand, to show what the engine does when a disk does.

A test counts the calls of a run, or makes the first, the second, the third ... fail until a run
comes through without having met its failure.
"""

from __future__ import annotations

import copy
import errno
import os
import threading
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, NamedTuple

from .base import File, FileSystem, Lock
from .directory import Directory
from .memory_file import MemoryFile

OPERATIONS: Final = frozenset(
    [
        *("create", "open", "open_write", "rename", "link", "unlink", "rmdir", "listdir"),
        *("makedirs", "sync_dir", "open_dir", "lock", "lock_dir", "lock_write", "read_bytes"),
        *("write", "pread", "size", "truncate", "allocate", "datasync", "sync"),
    ]
)
"""The calls that can fail on a disk, by their methods' names; `lock_write` is `Lock.write`."""


class _Failure(NamedTuple):
    error: BaseException
    short_write: bool


@dataclass(slots=True)
class _Plan:
    """Which calls fail: the one that brings `remaining` to 0, and if sticky those after it."""

    remaining: int
    error: BaseException
    sticky: bool
    operations: Collection[str]
    short_write: bool

    def next(self, operation: str) -> _Failure | None:
        if operation not in self.operations:
            return None
        self.remaining -= 1
        if self.remaining == 0:
            return _Failure(copy.copy(self.error), self.short_write)
        if self.remaining < 0 and self.sticky:
            return _Failure(copy.copy(self.error), False)
        return None


class FaultyFileSystem:
    """A `FileSystem` that passes every call on to `inner`, or raises instead.

    What counts as a call is one of the `OPERATIONS`, on this object or on its files and locks.

    `calls` is the number of calls since the beginning, the failed ones too; `failures` that of the
    calls that failed since the last `fail_at`. Not `local`: another process would go past it.
    """

    local = False

    def __init__(self, inner: FileSystem) -> None:
        self.inner = inner
        self.calls: int = 0
        self.failures: int = 0
        self._mutex = threading.Lock()
        self._plan: _Plan | None = None

    def fail_at(
        self,
        n: int,
        error: BaseException | None = None,
        *,
        sticky: bool = False,
        operations: Collection[str] = OPERATIONS,
        short_write: bool = False,
    ) -> None:
        """Raise ``error``, by default ENOSPC, at the n-th call from now; the next one is the first.

        ``sticky``: at every later call too. ``operations``: only these count towards n and fail;
        ValueError for one that is not of `OPERATIONS`. ``short_write``: a write that fails at the
        n-th call has written half of its data.

        A failed sync of a file in memory drops what was not synced, as an operating system does.
        """
        if n < 1:
            raise ValueError("the next call is number 1")
        if unknown := set(operations) - OPERATIONS:
            raise ValueError(f"no such operations: {sorted(unknown)}")
        if error is None:
            error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with self._mutex:
            self.failures = 0
            self._plan = _Plan(n, error, sticky, operations, short_write)

    def clear(self) -> None:
        """Let no call fail any more. The counters stay."""
        with self._mutex:
            self._plan = None

    def enter(self, operation: str) -> _Failure | None:
        """Count a call and tell how it fails; for the files of this file system."""
        with self._mutex:
            self.calls += 1
            failure = None if self._plan is None else self._plan.next(operation)
            self.failures += failure is not None
            return failure

    def check(self, operation: str) -> None:
        """Count a call and raise if it is to fail."""
        failure = self.enter(operation)
        if failure is not None:
            raise failure.error

    def open_dir(self, path: str, /) -> Directory:
        self.check("open_dir")
        return Directory(self, path, self.inner.open_dir(path).anchor)

    def create(self, path: str, /) -> FaultyFile:
        self.check("create")
        return FaultyFile(self, self.inner.create(path))

    def open(self, path: str, /) -> FaultyFile:
        self.check("open")
        return FaultyFile(self, self.inner.open(path))

    def open_write(self, path: str, /) -> FaultyFile:
        self.check("open_write")
        return FaultyFile(self, self.inner.open_write(path))

    def rename(self, source: str, target: str, /) -> None:
        self.check("rename")
        self.inner.rename(source, target)

    def link(self, source: str, target: str, /) -> None:
        self.check("link")
        self.inner.link(source, target)

    def unlink(self, path: str, /) -> None:
        self.check("unlink")
        self.inner.unlink(path)

    def rmdir(self, path: str, /) -> None:
        self.check("rmdir")
        self.inner.rmdir(path)

    def listdir(self, path: str, /) -> list[str]:
        self.check("listdir")
        return self.inner.listdir(path)

    def makedirs(self, path: str, /) -> None:
        self.check("makedirs")
        self.inner.makedirs(path)

    def exists(self, path: str, /) -> bool:
        return self.inner.exists(path)

    def isdir(self, path: str, /) -> bool:
        return self.inner.isdir(path)

    def size(self, path: str, /) -> int:
        self.check("size")
        return self.inner.size(path)

    def sync_dir(self, path: str, /) -> None:
        self.check("sync_dir")
        self.inner.sync_dir(path)

    def lock(self, path: str, /) -> FaultyLock | None:
        self.check("lock")
        lock = self.inner.lock(path)
        return None if lock is None else FaultyLock(self, lock)

    def lock_dir(self, path: str, /) -> FaultyLock | None:
        self.check("lock_dir")
        lock = self.inner.lock_dir(path)
        return None if lock is None else FaultyLock(self, lock)

    def read_bytes(self, path: str, /) -> bytes:
        self.check("read_bytes")
        return self.inner.read_bytes(path)


class FaultyFile:
    """A `File` of a `FaultyFileSystem`."""

    __slots__ = ("_fs", "_inner")

    def __init__(self, fs: FaultyFileSystem, inner: File) -> None:
        self._fs = fs
        self._inner = inner

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        failure = self._fs.enter("write")
        if failure is None:
            self._inner.write(data)
            return
        if failure.short_write:
            self._inner.write(bytes(data)[: len(data) // 2])
        raise failure.error

    def position(self) -> int:
        return self._inner.position()

    def seek(self, offset: int, /) -> None:
        self._inner.seek(offset)

    def pread(self, length: int, offset: int, /) -> bytes:
        self._fs.check("pread")
        return self._inner.pread(length, offset)

    def map(self) -> None:
        """Map nothing: then each read may be let fail."""
        self._fs.check("map")

    def size(self) -> int:
        self._fs.check("size")
        return self._inner.size()

    def truncate(self, size: int, /) -> None:
        self._fs.check("truncate")
        self._inner.truncate(size)

    def allocate(self, offset: int, length: int, /) -> None:
        self._fs.check("allocate")
        self._inner.allocate(offset, length)

    def datasync(self) -> None:
        self._check_sync("datasync")
        self._inner.datasync()

    def sync(self) -> None:
        self._check_sync("sync")
        self._inner.sync()

    def _check_sync(self, operation: str) -> None:
        failure = self._fs.enter(operation)
        if failure is None:
            return
        if isinstance(failure.error, OSError) and isinstance(self._inner, MemoryFile):
            self._inner.forget_unsynced()
        raise failure.error

    def close(self) -> None:
        self._inner.close()


class FaultyLock:
    """A `Lock` of a `FaultyFileSystem`."""

    __slots__ = ("_fs", "_inner")

    def __init__(self, fs: FaultyFileSystem, inner: Lock) -> None:
        self._fs = fs
        self._inner = inner

    def write(self, text: bytes, /) -> None:
        self._fs.check("lock_write")
        self._inner.write(text)

    def in_place(self) -> bool:
        return self._inner.in_place()

    def release(self) -> None:
        self._inner.release()
