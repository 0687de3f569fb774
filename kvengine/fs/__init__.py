"""The file system seam: everything the engine does to a disk goes through a `FileSystem`.

`DiskFileSystem` is the real one. `MemoryFileSystem` keeps the files in memory and can be cloned as
after a power cut. `FaultyFileSystem` wraps either and makes a chosen call fail.
"""

from __future__ import annotations

from .base import File, FileSystem, Lock
from .disk import DiskFileSystem
from .faulty import FaultyFileSystem
from .memory import MemoryFileSystem

__all__ = [
    "DiskFileSystem",
    "FaultyFileSystem",
    "File",
    "FileSystem",
    "Lock",
    "MemoryFileSystem",
]
