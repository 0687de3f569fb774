"""A file system bound to one open directory, wherever that is moved and whatever takes its path.

A path is looked up anew at each call, and somebody may rename the directory, move a link that
leads to it, or mount another one over it between two calls. `Directory` therefore hands each path
below its directory on as a `DirectoryPath`: as text the path that callers, errors and traces know,
and beside it the open directory from which the file system really looks the name up.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from .base import File, FileSystem, Lock


class Descriptor:
    """A descriptor that stands for an owner: a forked child closes its copy as it starts.

    It is closed with the last reference at the latest.
    """

    __slots__ = ("__weakref__", "_fd")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        _descriptors.add(self)

    def fileno(self) -> int:
        """Return the descriptor, -1 once it is closed."""
        return self._fd

    def close(self) -> None:
        """Close the descriptor. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            self.close()


_descriptors: weakref.WeakSet[Descriptor] = weakref.WeakSet()


def _close_in_child() -> None:
    """A lock outlives its holder in any copy of its descriptor: a child would keep others out.

    Here rather than in the engine, so that it holds in the midst of an open too.
    """
    for descriptor in list(_descriptors):
        with contextlib.suppress(OSError):
            descriptor.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


class DirectoryPath(str):
    """A path below an open directory.

    ``anchor`` is the open directory: a `Descriptor` on a disk, a node in memory. ``name`` is the
    path from there, "." for the directory itself.
    """

    __slots__ = ("anchor", "name")

    anchor: object
    name: str

    def __new__(cls, path: str, name: str, anchor: object) -> Self:
        made = super().__new__(cls, path)
        made.name = name
        made.anchor = anchor
        return made

    def parent(self) -> DirectoryPath:
        """Return the directory that holds this name; there is none for the anchor itself."""
        above, _, last = self.name.rpartition("/")
        return DirectoryPath(self[: -len(last) - 1], above or ".", self.anchor)


class Directory:
    """A `FileSystem` whose paths at and below ``path`` lead into one open directory for ever.

    All other paths lead where they lead for everybody. Whoever shares it between threads lets the
    last reference go instead of calling `close`: the number of a closed descriptor is soon another
    file's.
    """

    def __init__(self, fs: FileSystem, path: str, anchor: object) -> None:
        self._fs = fs
        self.path: str = str(path)
        self.anchor = anchor

    def close(self) -> None:
        """Give the directory back. Idempotent; calls with a path in it then raise EBADF."""
        if isinstance(self.anchor, Descriptor):
            self.anchor.close()

    @property
    def local(self) -> bool:
        return self._fs.local

    def _at(self, path: str) -> str:
        if path == self.path:
            return DirectoryPath(path, ".", self.anchor)
        if path.startswith(f"{self.path}/"):
            return DirectoryPath(path, path[len(self.path) + 1 :], self.anchor)
        return path

    def open_dir(self, path: str, /) -> Directory:
        return self._fs.open_dir(self._at(path))

    def create(self, path: str, /) -> File:
        return self._fs.create(self._at(path))

    def open(self, path: str, /) -> File:
        return self._fs.open(self._at(path))

    def open_write(self, path: str, /) -> File:
        return self._fs.open_write(self._at(path))

    def rename(self, source: str, target: str, /) -> None:
        self._fs.rename(self._at(source), self._at(target))

    def link(self, source: str, target: str, /) -> None:
        self._fs.link(self._at(source), self._at(target))

    def unlink(self, path: str, /) -> None:
        self._fs.unlink(self._at(path))

    def rmdir(self, path: str, /) -> None:
        self._fs.rmdir(self._at(path))

    def listdir(self, path: str, /) -> list[str]:
        return self._fs.listdir(self._at(path))

    def makedirs(self, path: str, /) -> None:
        self._fs.makedirs(self._at(path))

    def exists(self, path: str, /) -> bool:
        return self._fs.exists(self._at(path))

    def isdir(self, path: str, /) -> bool:
        return self._fs.isdir(self._at(path))

    def size(self, path: str, /) -> int:
        return self._fs.size(self._at(path))

    def sync_dir(self, path: str, /) -> None:
        self._fs.sync_dir(self._at(path))

    def lock(self, path: str, /) -> Lock | None:
        return self._fs.lock(self._at(path))

    def lock_dir(self, path: str, /) -> Lock | None:
        return self._fs.lock_dir(self._at(path))

    def read_bytes(self, path: str, /) -> bytes:
        return self._fs.read_bytes(self._at(path))
