"""Which snapshots are open: what commits must keep visible, and which files must live."""

from __future__ import annotations

import threading
from collections import deque
from typing import TypeVar

_K = TypeVar("_K")


class Snapshots:
    """Open snapshots: their stamps, and the set of segment files each names.

    Stamps only grow, so the last opened is the newest, and `newest` costs the
    same for one open snapshot as for ten thousand. Snapshots of one version of
    the files share one set.
    """

    def __init__(self) -> None:
        self.newest = -1
        """The largest stamp of an open snapshot, -1 where none is open."""
        self.oldest = -1
        """The smallest, -1 where none is open."""
        self._stamps: dict[int, int] = {}
        self._files: dict[frozenset[int], int] = {}
        self._held: dict[int, tuple[int, frozenset[int]]] = {}
        self._forgotten: deque[int] = deque()
        self._next = 0
        self._lock = threading.Lock()

    def open(self, stamp: int, files: frozenset[int]) -> int:
        """Register a snapshot of ``stamp`` that names segment ``files``; returns its token.

        The caller holds the commit lock, so that no commit unlinks a state
        between the stamp being read and being registered.
        """
        with self._lock:
            self._sweep()
            self._next += 1
            self._held[self._next] = (stamp, files)
            self._stamps[stamp] = self._stamps.get(stamp, 0) + 1
            self._files[files] = self._files.get(files, 0) + 1
            self.newest = stamp
            self.oldest = next(iter(self._stamps))
            return self._next

    def close(self, token: int) -> None:
        """Forget a snapshot, soon: finalizers call this too, from inside any method here."""
        self._forgotten.append(token)
        if self._lock.acquire(blocking=False):
            try:
                self._sweep()
            finally:
                self._lock.release()

    def names(self, number: int) -> bool:
        """Whether an open snapshot names a segment file."""
        with self._lock:
            self._sweep()
            return any(number in files for files in self._files)

    def __len__(self) -> int:
        with self._lock:
            self._sweep()
            return len(self._held)

    def _sweep(self) -> None:
        while self._forgotten:
            self._close(self._forgotten.popleft())

    def _close(self, token: int) -> None:
        found = self._held.pop(token, None)
        if found is not None:
            stamp, files = found
            _release(self._stamps, stamp)
            _release(self._files, files)
            self.newest = next(reversed(self._stamps), -1)
            self.oldest = next(iter(self._stamps), -1)


def _release(counts: dict[_K, int], key: _K) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
