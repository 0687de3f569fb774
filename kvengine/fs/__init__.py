"""The file system seam: everything the engine does to a disk goes through a `FileSystem`.

`DiskFileSystem` is the real one. `MemoryFileSystem` keeps the files in memory and can be cloned as
after a power cut. `FaultyFileSystem` wraps either and makes a chosen call fail. The last two are
imported when they are first asked for: an application on a disk does not pay for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import File, FileSystem, Lock
from .directory import Directory
from .disk import DiskFileSystem

if TYPE_CHECKING:
    from .faulty import FaultyFileSystem
    from .memory import MemoryFileSystem


def __getattr__(name: str) -> object:
    if name == "MemoryFileSystem":
        from .memory import MemoryFileSystem

        return MemoryFileSystem
    if name == "FaultyFileSystem":
        from .faulty import FaultyFileSystem

        return FaultyFileSystem
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Directory",
    "DiskFileSystem",
    "FaultyFileSystem",
    "File",
    "FileSystem",
    "Lock",
    "MemoryFileSystem",
]
