"""The real file system, on raw file descriptors.

No buffered file objects: after a failed write those keep the data and write it at some later time,
a record that the caller was told has failed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import sys
from collections.abc import Callable
from typing import Final

_FLAGS: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""O_NONBLOCK means nothing to a regular file; without it opening a planted FIFO would hang."""

_MODE: Final = 0o666
_ZEROS: Final = bytes(1 << 20)
_CHECKED_LENGTH: Final = 1 << 20
"""Reads longer than this, in bytes, are held against the file's size before memory is taken."""

_UNSUPPORTED: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})

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


def _open_regular(path: str, flags: int) -> int:
    """A descriptor of a regular file: IsADirectoryError, ELOOP or EINVAL for anything else."""
    fd = os.open(path, flags | _FLAGS, _MODE)
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

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        written = os.write(self._fd, data)
        if written != len(data):
            self._write_rest(data, written)

    def _write_rest(self, data: bytes | bytearray | memoryview, written: int) -> None:
        view = memoryview(data).cast("B")[written:]
        while view:
            view = view[_some(os.write(self._fd, view)) :]

    def position(self) -> int:
        return os.lseek(self._fd, 0, os.SEEK_CUR)

    def seek(self, offset: int, /) -> None:
        os.lseek(self._fd, offset, os.SEEK_SET)

    def pread(self, length: int, offset: int, /) -> bytes:
        if length > _CHECKED_LENGTH:
            length = min(length, max(0, self.size() - offset))
        data = os.pread(self._fd, length, offset)
        return data if len(data) == length else self._pread_rest(data, length, offset)

    def _pread_rest(self, data: bytes, length: int, offset: int) -> bytes:
        parts = []
        while data:
            parts.append(data)
            length -= len(data)
            offset += len(data)
            data = os.pread(self._fd, length, offset)
        return b"".join(parts)

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def truncate(self, size: int, /) -> None:
        os.ftruncate(self._fd, size)

    def allocate(self, offset: int, length: int, /) -> None:
        if offset < 0 or length <= 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        size = self.size()
        try:
            os.posix_fallocate(self._fd, offset, length)
        except AttributeError:
            pass
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        self._write_zeros(size, offset + length)

    def _write_zeros(self, size: int, end: int) -> None:
        """Fill from the size before to ``end``: bytes that were there are not overwritten.

        Space that is allocated and never written would make each sync of a later
        write commit the file system's journal, and wait for what others wrote.
        """
        while size < end:
            zeros = _ZEROS[: end - size]
            _pwrite_all(self._fd, zeros, size)
            size += len(zeros)

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
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            self.close()


class DiskLock:
    """A `Lock` by flock: it belongs to the open file, which a forked child shares.

    Therefore `release` closes and never unlocks: unlocking in a child would unlock the parent.
    """

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, text: bytes, /) -> None:
        os.ftruncate(self._fd, 0)
        _pwrite_all(self._fd, text, 0)

    def release(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            self.release()


class DiskFileSystem:
    """The `FileSystem` of the operating system."""

    local: Final = True

    def create(self, path: str, /) -> DiskFile:
        return DiskFile(_open_regular(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))

    def open(self, path: str, /) -> DiskFile:
        return DiskFile(_open_regular(path, os.O_RDONLY))

    def open_write(self, path: str, /) -> DiskFile:
        return DiskFile(_open_regular(path, os.O_RDWR))

    def rename(self, source: str, target: str, /) -> None:
        os.rename(source, target)

    def link(self, source: str, target: str, /) -> None:
        os.link(source, target, follow_symlinks=False)

    def unlink(self, path: str, /) -> None:
        os.unlink(path)

    def rmdir(self, path: str, /) -> None:
        os.rmdir(path)

    def listdir(self, path: str, /) -> list[str]:
        return sorted(os.listdir(path))

    def makedirs(self, path: str, /) -> None:
        path = os.path.abspath(path)
        if os.path.isdir(path):
            return
        parent = os.path.dirname(path)
        if not os.path.exists(parent):
            self.makedirs(parent)
        try:
            os.mkdir(path)
        except FileExistsError:
            if not os.path.isdir(path):
                raise
        self.sync_dir(parent)

    def exists(self, path: str, /) -> bool:
        return os.path.lexists(path)

    def isdir(self, path: str, /) -> bool:
        return os.path.isdir(path)

    def size(self, path: str, /) -> int:
        return os.stat(path, follow_symlinks=False).st_size

    def sync_dir(self, path: str, /) -> None:
        """EINVAL is not an error: such a file system cannot sync a directory, and none can help."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _fsync(fd)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        finally:
            os.close(fd)

    def lock(self, path: str, /) -> DiskLock | None:
        fd = _open_regular(path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException as error:
            os.close(fd)
            if isinstance(error, BlockingIOError):
                return None
            raise
        return DiskLock(fd)

    def read_bytes(self, path: str, /) -> bytes:
        file = self.open(path)
        try:
            return file.pread(file.size(), 0)
        finally:
            file.close()
