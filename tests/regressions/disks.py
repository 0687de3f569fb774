"""A disk in memory on which a test steps in at any call, and what tests ask of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from kvengine.fs.memory import MemoryFileSystem
from kvengine.fs.memory_file import MemoryFile

Hook = Callable[[str, str], None]
"""Told the operation and the path before each call; what it raises is what the call raises."""


class HookedDisk(MemoryFileSystem):
    """``hook`` is told of calls that change or read something. Copies have none."""

    def __init__(self) -> None:
        super().__init__()
        self.hook: Hook | None = None

    def meet(self, operation: str, path: str) -> None:
        if self.hook is not None:
            self.hook(operation, path)

    def create(self, path: str, /) -> MemoryFile:
        self.meet("create", path)
        file = super().create(path)
        file.__class__ = HookedFile
        return file

    def open(self, path: str, /) -> MemoryFile:
        self.meet("open", path)
        return super().open(path)

    def rename(self, source: str, target: str, /) -> None:
        self.meet("rename", target)
        super().rename(source, target)

    def link(self, source: str, target: str, /) -> None:
        self.meet("link", target)
        super().link(source, target)

    def unlink(self, path: str, /) -> None:
        self.meet("unlink", path)
        super().unlink(path)

    def listdir(self, path: str, /) -> list[str]:
        self.meet("listdir", path)
        return super().listdir(path)

    def sync_dir(self, path: str, /) -> None:
        self.meet("sync_dir", path)
        super().sync_dir(path)

    def read_bytes(self, path: str, /) -> bytes:
        self.meet("read_bytes", path)
        return super().read_bytes(path)


class HookedFile(MemoryFile):
    """A file that a `HookedDisk` has created."""

    __slots__ = ()

    def _meet(self, operation: str) -> None:
        assert isinstance(self._fs, HookedDisk)
        self._fs.meet(operation, self._path)

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        self._meet("write")
        super().write(data)

    def truncate(self, size: int, /) -> None:
        self._meet("truncate")
        super().truncate(size)

    def datasync(self) -> None:
        self._meet("datasync")
        super().datasync()

    def sync(self) -> None:
        self._meet("sync")
        super().sync()

    def close(self) -> None:
        self._meet("close")
        super().close()


def replace(fs: MemoryFileSystem, path: str, data: bytes) -> None:
    """Give a file another content."""
    file = fs.open_write(path) if fs.exists(path) else fs.create(path)
    file.truncate(0)
    file.write(data)
    file.sync()
    file.close()


def temporaries(fs: MemoryFileSystem, directory: str = "db") -> list[str]:
    """The names of files that were being made."""
    return [name for name in fs.listdir(directory) if name.endswith(".tmp")]


def eventually(condition: Callable[[], object], seconds: float = 5.0) -> bool:
    """Whether it comes true within so long. For what background threads bring about."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True
