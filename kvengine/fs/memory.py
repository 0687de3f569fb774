"""A file system in memory that knows what a power cut would leave of it.

It takes the strictest reading of POSIX: what was not synced may be there, be torn, or be missing,
each change by itself, and a file's own sync says nothing about its name. To know that, it keeps
every byte twice: as programs see it, and as it is on the disk or waits for its sync.
"""

from __future__ import annotations

import copy
import threading
from typing import TYPE_CHECKING

from .directory import Directory
from .inodes import DirectoryNode, Node
from .memory_file import MemoryFile, MemoryLock
from .tree import Tree

if TYPE_CHECKING:
    from random import Random


class MemoryFileSystem:
    """A `FileSystem` in memory, thread-safe.

    `trace`, where given, receives (operation, path, ...) of every call that changes something or
    syncs, once it is done; a file goes by the path it was opened under, `makedirs` shows only if
    it created something. The list may be replaced at any time.

    Relative paths begin at the root, so `db` and `/db` are the same.
    """

    local = False

    def __init__(self, *, trace: list[tuple[str, ...]] | None = None) -> None:
        self.trace = trace
        self.mutex: threading.RLock = threading.RLock()
        self._tree = Tree()
        self._locked: set[Node] = set()

    def crash(self, rng: Random | None) -> MemoryFileSystem:
        """Return a new file system as after a power cut, without locks; this one goes on unharmed.

        With None nothing unsynced survives. Otherwise each unsynced change of a file is kept,
        dropped or torn, and each name shows its durable file or one that it showed since, as
        ``rng`` decides. A rename makes two such names: both, either or neither may show the file.
        """
        image = MemoryFileSystem()
        with self.mutex:
            image._tree = self._tree.after_power_cut(rng)
        return image

    def copy(self) -> MemoryFileSystem:
        """Return a new file system as after kill -9: all that was written is there, locks are gone.

        What was unsynced stays so: a power cut may still take it from the copy.
        """
        image = MemoryFileSystem()
        with self.mutex:
            image._tree = copy.deepcopy(self._tree)
        return image

    def paths(self) -> list[str]:
        """Return the absolute paths of all files, in order."""
        with self.mutex:
            return sorted(self._tree.file_paths())

    def flip(self, path: str, offset: int, mask: int = 1) -> None:
        """Damage one byte: the bits of ``mask``. The file is then durable as it is.

        Raise IndexError beyond its end, FileNotFoundError if there is none.
        """
        with self.mutex:
            node = self._tree.file(path)
            node.content[offset] ^= mask
            node.settle()

    def cut(self, path: str, size: int) -> None:
        """Cut off all behind the first ``size`` bytes. The file is then durable as it is."""
        with self.mutex:
            node = self._tree.file(path)
            del node.content[size:]
            node.settle()

    def record(self, *call: str) -> None:
        """Add a call to the trace; for the files of this file system."""
        if self.trace is not None:
            self.trace.append(call)

    def open_dir(self, path: str, /) -> Directory:
        with self.mutex:
            return Directory(self, path, self._tree.directory(path))

    def create(self, path: str, /) -> MemoryFile:
        with self.mutex:
            node = self._tree.create(path)
            self.record("create", path)
        return MemoryFile(self, node, path, writable=True)

    def open(self, path: str, /) -> MemoryFile:
        with self.mutex:
            return MemoryFile(self, self._tree.file(path), path, writable=False)

    def open_write(self, path: str, /) -> MemoryFile:
        with self.mutex:
            return MemoryFile(self, self._tree.file(path), path, writable=True)

    def rename(self, source: str, target: str, /) -> None:
        with self.mutex:
            self._tree.rename(source, target)
            self.record("rename", source, target)

    def link(self, source: str, target: str, /) -> None:
        with self.mutex:
            self._tree.link(source, target)
            self.record("link", source, target)

    def unlink(self, path: str, /) -> None:
        with self.mutex:
            self._tree.unlink(path)
            self.record("unlink", path)

    def rmdir(self, path: str, /) -> None:
        with self.mutex:
            self._tree.rmdir(path)
            self.record("rmdir", path)

    def listdir(self, path: str, /) -> list[str]:
        with self.mutex:
            return sorted(self._tree.directory(path).entries)

    def makedirs(self, path: str, /) -> None:
        with self.mutex:
            if self._tree.makedirs(path):
                self.record("makedirs", path)

    def exists(self, path: str, /) -> bool:
        with self.mutex:
            return self._tree.find(path) is not None

    def isdir(self, path: str, /) -> bool:
        with self.mutex:
            return isinstance(self._tree.find(path), DirectoryNode)

    def size(self, path: str, /) -> int:
        with self.mutex:
            return len(self._tree.file(path).content)

    def sync_dir(self, path: str, /) -> None:
        with self.mutex:
            self._tree.directory(path).sync()
            self.record("sync_dir", path)

    def lock(self, path: str, /) -> MemoryLock | None:
        with self.mutex:
            node = self._tree.file(path) if self.exists(path) else self._tree.create(path)
            return self._lock(path, node)

    def lock_dir(self, path: str, /) -> MemoryLock | None:
        with self.mutex:
            # By its path, not from an anchor: the lock tells whether that still leads there.
            return self._lock(str(path), self._tree.directory(path))

    def _lock(self, path: str, node: Node) -> MemoryLock | None:
        if node in self._locked:
            return None
        self.record("lock", path)
        return MemoryLock(self, path, node, self._locked)

    def leads_to(self, path: str, node: Node | None) -> bool:
        """Return whether a path leads to this file or directory; for the locks."""
        with self.mutex:
            return self._tree.find(path) is node

    def read_bytes(self, path: str, /) -> bytes:
        with self.mutex:
            return bytes(self._tree.file(path).content)
