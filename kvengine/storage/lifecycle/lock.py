"""One owner per directory: it locks the directory itself, and the LOCK file in it.

The lock on the directory keeps out a second owner that comes by another path (a bind mount), or
after somebody has removed LOCK. LOCK contains the owner's pid, and keeps out releases that know
only LOCK. On file systems that cannot lock directories it is the only lock.

An owner that has lost its directory finds that out when it is about to change the set of files
(rotation, installing, checkpoint, close), never at a commit. It works through a descriptor of its
directory (`FileSystem.open_dir`), so that it has harmed nobody until then.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from kvengine.errors import DatabaseLocked
from kvengine.fs.base import READ_ONLY, FileSystem, Lock
from kvengine.real_time import monotonic
from kvengine.storage import filenames

_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.05
"""Seconds between two attempts to get a lock: at first few, so that a short wait stays short."""


class Patience:
    """How long to go on trying to own a directory that somebody else has."""

    def __init__(self, seconds: float) -> None:
        self._begun = monotonic()
        self._seconds = seconds
        self._pause = _FIRST_PAUSE

    def pause(self, refused: DatabaseLocked) -> float:
        """Return the seconds until the next attempt, after one that was ``refused``.

        Raise DatabaseLocked, which says for how long was tried, if the time is over.
        """
        if not self._seconds:
            raise refused
        waited = monotonic() - self._begun
        left = self._seconds - waited
        if left <= 0:
            raise DatabaseLocked(refused.path, refused.pid, waited)
        pause, self._pause = self._pause, min(1.5 * self._pause, _LONGEST_PAUSE)
        return min(pause, left)


class Ownership:
    """The two locks of an owner."""

    def __init__(self, directory: Lock, file: Lock) -> None:
        self._directory = directory
        self._file = file

    def lost(self) -> str:
        """Return why the directory is no longer ours, "" if it still is."""
        if not self._directory.in_place():
            return "its path leads to another directory, or to none"
        if not self._file.in_place():
            return f"its {filenames.LOCK} file was removed or replaced"
        return ""

    def release(self) -> None:
        """Release both locks, and leave the LOCK file in place. May be called again."""
        self._file.release()
        self._directory.release()


def acquire(fs: FileSystem, directory: str) -> Ownership:
    """Lock the directory, write this process's pid into LOCK, and return the two locks.

    Raise DatabaseLocked if another owner has it.

    The locks belong to the open files, not to the process: a forked child that closes its
    copies releases nothing, and the system releases them when the owner dies.
    """
    path = filenames.join(directory, filenames.LOCK)
    with ExitStack() as on_error:
        place = fs.lock_dir(directory)
        if place is None:
            raise DatabaseLocked(directory, holder(fs, path))
        on_error.callback(place.release)
        file = fs.lock(path)
        if file is None:
            raise DatabaseLocked(directory, holder(fs, path))
        on_error.callback(file.release)
        file.write(b"%d\n" % os.getpid())
        on_error.pop_all()
        return Ownership(place, file)


@contextmanager
def keep_out(fs: FileSystem, directory: str) -> Iterator[None]:
    """Take an owner's locks, so that no owner changes the directory. Nothing is written to it.

    The LOCK file is not locked if there is none, or if it cannot be written, as on a read-only
    mount. Raise DatabaseLocked while an owner has the directory.
    """
    path = filenames.join(directory, filenames.LOCK)
    with ExitStack() as locks:
        for take, at in ((fs.lock_dir, directory), (fs.lock, path)):
            if not fs.exists(at):
                continue
            try:
                taken = take(at)
            except OSError as error:
                if error.errno not in READ_ONLY:
                    raise
                continue
            if taken is None:
                raise DatabaseLocked(directory, holder(fs, path))
            locks.callback(taken.release)
        yield


def holder(fs: FileSystem, path: str) -> int | None:
    """Return the pid that a LOCK file names, None if it names none."""
    try:
        return int(fs.read_bytes(path)[:32])
    except (OSError, ValueError):
        return None
