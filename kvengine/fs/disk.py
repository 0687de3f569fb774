"""The real file system, on raw file descriptors.

No buffered file objects: after a failed write those keep the data and write it at some later time,
a record that the caller was told has failed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import stat
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

from . import calls
from .directory import Descriptor, Directory, DirectoryPath

_FLAGS: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""O_NONBLOCK means nothing to a regular file; without it opening a planted FIFO would hang."""

_NO_ATIME: Final = getattr(os, "O_NOATIME", 0) | os.O_NONBLOCK
"""A read need not note its time, which costs a twentieth of what it takes from memory."""

_MODE: Final = 0o666

_CHECKED_LENGTH: Final = 1 << 20
"""Reads longer than this, in bytes, are held against the file's size before memory is taken."""

_NO_DIRECTORY_LOCKS: Final = frozenset(
    {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF, errno.ENOLCK}
)
"""What flock of a directory says where there is no such thing; EBADF is NFS, which locks what is
open to write."""

_UNTRACKED: Final[dict[str, Any]] = {"trackfd": False} if sys.version_info >= (3, 13) else {}
"""Before that release Python keeps a second descriptor for a mapping."""

_LEADS_NOWHERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE})

_fsync: Callable[[int], object]
_fdatasync: Callable[[int], object]
if sys.platform == "darwin":

    def _fsync(fd: int) -> None:
        """There fsync stops at the drive's cache, which a power cut empties."""
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)

    _fdatasync = _fsync
else:
    _fsync = os.fsync
    _fdatasync = os.fdatasync


def _error(code: int, path: str) -> OSError:
    return OSError(code, os.strerror(code), path)


def _at(path: str) -> tuple[str, int | None]:
    """A path for a system call, and the descriptor of the directory in which it begins."""
    if isinstance(path, DirectoryPath) and isinstance(path.anchor, Descriptor):
        return path.name, path.anchor.fileno()
    return path, None


@contextlib.contextmanager
def _told(path: str, target: str | None = None) -> Iterator[None]:
    """Let errors name the paths that the caller knows, not what the system call was given."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:  # else a signal handler raised it
            error.filename = str(path)
            if target is not None:
                error.filename2 = str(target)
        raise


def _parent(path: str) -> str:
    return path.parent() if isinstance(path, DirectoryPath) else os.path.dirname(path)


def _status(path: str, *, follow: bool) -> os.stat_result:
    name, dir_fd = _at(path)
    with _told(path):
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=follow)


def _open_directory(path: str) -> int:
    name, dir_fd = _at(path)
    with _told(path):
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=dir_fd)


def _open_regular(path: str, flags: int) -> int:
    """A descriptor of a regular file: IsADirectoryError, ELOOP or EINVAL for anything else."""
    name, dir_fd = _at(path)
    with _told(path):
        fd = os.open(name, flags | _FLAGS, _MODE, dir_fd=dir_fd)
    try:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            raise _error(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, path)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _pwrite_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = _some(os.pwrite(fd, view, offset))
        view = view[written:]
        offset += written


def _some(written: int) -> int:
    """A device that takes nothing and reports no error would otherwise be asked for ever."""
    if not written:
        raise OSError(errno.EIO, "nothing was written")
    return written


class DiskFile:
    """A `File` that owns one descriptor."""

    __slots__ = ("_fd", "_mapped")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._mapped: memoryview | None = None

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        written = calls.write(self._fd, data)
        if written != len(data):
            self._write_rest(data, written)

    def _write_rest(self, data: bytes | bytearray | memoryview, written: int) -> None:
        view = memoryview(data).cast("B")[written:]
        while view:
            view = view[_some(calls.write(self._fd, view)) :]

    def position(self) -> int:
        return os.lseek(self._fd, 0, os.SEEK_CUR)

    def seek(self, offset: int, /) -> None:
        os.lseek(self._fd, offset, os.SEEK_SET)

    def map(self) -> memoryview | None:
        if not self.size():  # an empty file cannot be mapped
            return None
        mapped = memoryview(mmap.mmap(self._fd, 0, prot=mmap.PROT_READ, **_UNTRACKED))
        self._mapped = mapped
        return mapped

    def pread(self, length: int, offset: int, /) -> bytes:
        if self._mapped is not None:
            if length < 0 or offset < 0:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            return calls.part(self._mapped, offset, length)
        if length > _CHECKED_LENGTH:
            length = min(length, max(0, self.size() - offset))
        data = calls.pread(self._fd, length, offset)
        return data if len(data) == length else self._pread_rest(data, length, offset)

    def _pread_rest(self, data: bytes, length: int, offset: int) -> bytes:
        parts = []
        while data:
            parts.append(data)
            length -= len(data)
            offset += len(data)
            data = calls.pread(self._fd, length, offset)
        return b"".join(parts)

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def truncate(self, size: int, /) -> None:
        os.ftruncate(self._fd, size)

    def allocate(self, offset: int, length: int, /) -> None:
        if offset < 0 or length <= 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        # Zeros, not fallocate: with space that is allocated and never written, each sync of a later
        # write would commit the file system's journal, and wait for what others wrote.
        calls.extend(self._fd, offset + length)

    def datasync(self) -> None:
        self._check_open()
        _fdatasync(self._fd)

    def sync(self) -> None:
        self._check_open()
        _fsync(self._fd)

    def _check_open(self) -> None:
        """For the calls to which a closed file's -1 is not a descriptor but a `ValueError`."""
        if self._fd < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def close(self) -> None:
        """The descriptor is gone even when the operating system reports an error here."""
        self._mapped = None
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        if self._fd >= 0:
            calls.drop(self._fd)
            self._fd = -1


class DiskLock(Descriptor):
    """A `Lock` by flock, which belongs to the open file with all its copies in forked children.

    `release` unlocks: a child that was forked a moment ago may not have closed its copy yet. In
    a child there is nothing left to unlock, so that the parent stays the holder.
    """

    __slots__ = ("_path",)

    def __init__(self, fd: int, path: str) -> None:
        super().__init__(fd)
        self._path = path

    def write(self, text: bytes, /) -> None:
        os.ftruncate(self._fd, 0)
        _pwrite_all(self._fd, text, 0)

    def in_place(self) -> bool:
        held = os.fstat(self._fd)
        try:
            return os.path.samestat(_status(self._path, follow=True), held)
        except OSError as error:
            return error.errno not in _LEADS_NOWHERE  # what cannot be seen says nothing

    def release(self) -> None:
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                fcntl.flock(self._fd, fcntl.LOCK_UN)
        self.close()
        self._path = str(self._path)  # keeps no directory open any more


class DiskFileSystem:
    """The `FileSystem` of the operating system."""

    local = True

    def open_dir(self, path: str, /) -> Directory:
        return Directory(self, path, Descriptor(_open_directory(path)))

    def create(self, path: str, /) -> DiskFile:
        return DiskFile(_open_regular(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))

    def open(self, path: str, /) -> DiskFile:
        fd = _open_regular(path, os.O_RDONLY)
        with contextlib.suppress(PermissionError):  # it is somebody else's file
            fcntl.fcntl(fd, fcntl.F_SETFL, _NO_ATIME)
        return DiskFile(fd)

    def open_write(self, path: str, /) -> DiskFile:
        return DiskFile(_open_regular(path, os.O_RDWR))

    def rename(self, source: str, target: str, /) -> None:
        (name, source_fd), (new_name, target_fd) = _at(source), _at(target)
        with _told(source, target):
            os.rename(name, new_name, src_dir_fd=source_fd, dst_dir_fd=target_fd)

    def link(self, source: str, target: str, /) -> None:
        (name, source_fd), (new_name, target_fd) = _at(source), _at(target)
        with _told(source, target):
            os.link(
                name,
                new_name,
                src_dir_fd=source_fd,
                dst_dir_fd=target_fd,
                follow_symlinks=False,
            )

    def unlink(self, path: str, /) -> None:
        name, dir_fd = _at(path)
        with _told(path):
            os.unlink(name, dir_fd=dir_fd)

    def rmdir(self, path: str, /) -> None:
        name, dir_fd = _at(path)
        with _told(path):
            os.rmdir(name, dir_fd=dir_fd)

    def listdir(self, path: str, /) -> list[str]:
        fd = _open_directory(path)
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def makedirs(self, path: str, /) -> None:
        if not isinstance(path, DirectoryPath):
            path = os.path.abspath(path)
        if self.isdir(path):
            return
        parent = _parent(path)
        if not self.exists(parent):
            self.makedirs(parent)
        name, dir_fd = _at(path)
        try:
            with _told(path):
                os.mkdir(name, dir_fd=dir_fd)
        except FileExistsError:
            if not self.isdir(path):
                raise
        self.sync_dir(parent)

    def exists(self, path: str, /) -> bool:
        try:
            _status(path, follow=False)
        except (OSError, ValueError):
            return False
        return True

    def isdir(self, path: str, /) -> bool:
        try:
            return stat.S_ISDIR(_status(path, follow=True).st_mode)
        except (OSError, ValueError):
            return False

    def size(self, path: str, /) -> int:
        return _status(path, follow=False).st_size

    def sync_dir(self, path: str, /) -> None:
        """EINVAL is not an error: such a file system cannot sync a directory, and none can help."""
        fd = _open_directory(path)
        try:
            _fsync(fd)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        finally:
            os.close(fd)

    def lock(self, path: str, /) -> DiskLock | None:
        return self._lock(DiskLock(_open_regular(path, os.O_RDWR | os.O_CREAT), path))

    def lock_dir(self, path: str, /) -> DiskLock | None:
        # By its path, not from an anchor: the lock tells whether that still leads there.
        return self._lock(DiskLock(_open_directory(path), str(path)), _NO_DIRECTORY_LOCKS)

    def _lock(self, lock: DiskLock, tolerated: frozenset[int] = frozenset()) -> DiskLock | None:
        try:
            fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in tolerated:
                return lock
            lock.release()
            if isinstance(error, BlockingIOError):
                return None
            raise
        return lock

    def read_bytes(self, path: str, /) -> bytes:
        file = self.open(path)
        try:
            return file.pread(file.size(), 0)
        finally:
            file.close()
