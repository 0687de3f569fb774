"""Which snapshots are open: what commits must keep visible, and which files must live."""

from __future__ import annotations

from collections import deque
from typing import TypeVar

from kvengine.storage.machine import Lock

_K = TypeVar("_K")


class Snapshots:
    """Open snapshots: their stamps, and the set of segment files each names.

    Stamps only grow, so the last opened is the newest, and `newest` costs the
    same for one open snapshot as for ten thousand. Snapshots of one version of
    the files share one set. ``_registered`` is the truth. The counts follow from it,
    and are made again if an interrupt broke off a change of both.
    """

    __slots__ = (
        "_files",
        "_forgotten",
        "_lock",
        "_next",
        "_registered",
        "_stamps",
        "_torn",
        "newest",
        "oldest",
    )

    def __init__(self) -> None:
        self.newest: int = -1
        """The largest stamp of an open snapshot, -1 if none is open."""
        self.oldest: int = -1
        """The smallest stamp of an open snapshot, -1 if none is open."""
        self._registered: dict[int, tuple[int, frozenset[int]]] = {}
        self._stamps: dict[int, int] = {}
        self._files: dict[frozenset[int], int] = {}
        self._torn = False
        self._forgotten: deque[int] = deque()
        self._next = 0
        self._lock = Lock()

    def token(self) -> int:
        """Return a token to open and close a snapshot by. It is noted before the open; never zero.

        The caller holds the commit lock here and for `open`, so that no commit
        unlinks a state between the stamp being read and being registered.
        """
        self._next += 1
        return self._next

    def open(self, token: int, stamp: int, files: frozenset[int]) -> None:
        """Register a snapshot of ``stamp`` that names segment ``files``."""
        with self._lock:
            self._sweep()
            self._torn = True
            self._registered[token] = (stamp, files)
            self._count(stamp, files)
            self._note_bounds()
            self._torn = False

    def close(self, token: int) -> None:
        """Forget a snapshot, now or soon. May be called again, and for one that was never opened.

        Finalizers call this too, from inside any method here. So it never waits
        for the lock, which this thread may have taken.
        """
        self._forgotten.append(token)
        if not self._lock.locked():
            with self._lock:
                self._sweep()

    def names(self, number: int) -> bool:
        """Return whether an open snapshot names a segment file.

        True where this thread is in the midst of a change: a finalizer asks, and waits for nothing.
        """
        if self._lock.mine():
            return True
        with self._lock:
            self._sweep()
            return any(number in files for files in self._files)

    def __len__(self) -> int:
        return len(self._registered.keys() - set(self._forgotten))

    def _sweep(self) -> None:
        if self._torn:
            self._stamps, self._files = {}, {}
            for stamp, files in self._registered.values():
                self._count(stamp, files)
            self._note_bounds()
            self._torn = False
        while self._forgotten:
            self._torn = True
            found = self._registered.pop(self._forgotten[0], None)
            if found is not None:
                stamp, files = found
                _release(self._stamps, stamp)
                _release(self._files, files)
                self._note_bounds()
            self._torn = False
            self._forgotten.popleft()

    def _count(self, stamp: int, files: frozenset[int]) -> None:
        self._stamps[stamp] = self._stamps.get(stamp, 0) + 1
        self._files[files] = self._files.get(files, 0) + 1

    def _note_bounds(self) -> None:
        """Set `newest` and `oldest`, once all are counted.

        A commit reads them at any time, without the lock.
        """
        self.newest = next(reversed(self._stamps), -1)
        self.oldest = next(iter(self._stamps), -1)


def _release(counts: dict[_K, int], key: _K) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
