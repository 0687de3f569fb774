"""Open files and locks of a `MemoryFileSystem`."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from .inodes import Allocate, FileNode, Node, Truncate, Write
from .tree import os_error

if TYPE_CHECKING:
    from .memory import MemoryFileSystem


class MemoryFile:
    """A `File` of a `MemoryFileSystem`."""

    __slots__ = ("_fs", "_node", "_path", "_position", "_writable")

    def __init__(self, fs: MemoryFileSystem, node: FileNode, path: str, writable: bool) -> None:
        self._fs = fs
        self._node: FileNode | None = node
        self._path = path
        self._position = 0
        self._writable = writable

    def _opened(self, *, write: bool = False, refusal: int = errno.EBADF) -> FileNode:
        if self._node is None:
            raise os_error(errno.EBADF, self._path)
        if write and not self._writable:
            raise os_error(refusal, self._path)
        return self._node

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        with self._fs.mutex:
            node = self._opened(write=True)
            data = bytes(data)
            node.change(Write(self._position, data))
            self._position += len(data)
            self._fs.record("write", self._path)

    def position(self) -> int:
        self._opened()
        return self._position

    def seek(self, offset: int, /) -> None:
        self._opened()
        if offset < 0:
            raise os_error(errno.EINVAL, self._path)
        self._position = offset

    def pread(self, length: int, offset: int, /) -> bytes:
        with self._fs.mutex:
            node = self._opened()
            if length < 0 or offset < 0:
                raise os_error(errno.EINVAL, self._path)
            return bytes(memoryview(node.content)[offset : offset + length])

    def map(self) -> None:
        """Map nothing: the file is in memory."""

    def size(self) -> int:
        with self._fs.mutex:
            return len(self._opened().content)

    def truncate(self, size: int, /) -> None:
        with self._fs.mutex:
            node = self._opened(write=True, refusal=errno.EINVAL)
            if size < 0:
                raise os_error(errno.EINVAL, self._path)
            node.change(Truncate(size))
            self._fs.record("truncate", self._path)

    def allocate(self, offset: int, length: int, /) -> None:
        with self._fs.mutex:
            node = self._opened(write=True)
            if offset < 0 or length <= 0:
                raise os_error(errno.EINVAL, self._path)
            node.change(Allocate(offset + length))
            self._fs.record("allocate", self._path)

    def datasync(self) -> None:
        with self._fs.mutex:
            self._opened().sync()
            self._fs.record("datasync", self._path)

    def sync(self) -> None:
        with self._fs.mutex:
            self._opened().sync()
            self._fs.record("sync", self._path)

    def forget_unsynced(self) -> None:
        """Leave the file as after a failed sync: what was unsynced can be read, yet is lost."""
        with self._fs.mutex:
            self._opened().forget_unsynced()

    def close(self) -> None:
        self._node = None


class MemoryLock:
    """A `Lock` of a `MemoryFileSystem`: the node is a member of `locked` until the release."""

    __slots__ = ("_file", "_fs", "_locked", "_node", "_path")

    def __init__(self, fs: MemoryFileSystem, path: str, node: Node, locked: set[Node]) -> None:
        self._fs = fs
        self._path = path
        self._file: MemoryFile | None = None
        if isinstance(node, FileNode):
            self._file = MemoryFile(fs, node, path, writable=True)
        self._node: Node | None = node
        self._locked = locked
        locked.add(node)

    def write(self, text: bytes, /) -> None:
        if self._file is None:
            raise os_error(errno.EISDIR, self._path)
        self._file.truncate(0)
        self._file.seek(0)
        self._file.write(text)

    def in_place(self) -> bool:
        return self._fs.leads_to(self._path, self._node)

    def release(self) -> None:
        node, self._node = self._node, None
        if node is not None:
            if self._file is not None:
                self._file.close()
            self._locked.discard(node)

    def __del__(self) -> None:
        self.release()
