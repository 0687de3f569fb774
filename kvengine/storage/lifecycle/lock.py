"""The LOCK file: one owner per directory."""

from __future__ import annotations

import os

from kvengine.errors import DatabaseLocked
from kvengine.fs.base import FileSystem, Lock
from kvengine.storage import filenames


def acquire(fs: FileSystem, directory: str) -> Lock:
    """Own the directory and write this process's pid into LOCK, or DatabaseLocked.

    The lock belongs to the open file, not to the process: a forked child that
    closes its copy releases nothing, and the system releases it when the owner dies.
    """
    path = filenames.join(directory, filenames.LOCK)
    lock = fs.lock(path)
    if lock is None:
        raise DatabaseLocked(directory, holder(fs, path))
    try:
        lock.write(b"%d\n" % os.getpid())
    except BaseException:
        lock.release()
        raise
    return lock


def holder(fs: FileSystem, path: str) -> int | None:
    """The pid that a LOCK file names; None where it names none."""
    try:
        return int(fs.read_bytes(path)[:32])
    except (OSError, ValueError):
        return None
