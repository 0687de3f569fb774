"""Watches: what a store tells of its commits as they become visible."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Self

from kvengine.arguments import timeout_of
from kvengine.closing import Closing
from kvengine.errors import DatabaseClosed
from kvengine.real_time import monotonic
from kvengine.storage.feed import Queue
from kvengine.store import Change


class Watch(Closing):
    """Changes to the objects of a service, one by one. Made by ``db.watch()``.

    An iterator that waits for the next change, and ends when it or the database is closed. A
    context manager. A watch that is garbage-collected ends. Threads may share one: each change goes
    to one of them.
    """

    def __init__(self, store: object, begin: Callable[[Callable[[], object]], Queue]) -> None:
        """``store`` is not forgotten while this is not. ``begin``: begins a queue, given a bell."""
        self._bell = threading.Lock()
        self._bell.acquire()
        self._store = store
        self._feed = begin(ring_of(self._bell))

    def poll(self, timeout: float | timedelta | None = 0.0) -> Change | None:
        """Return the next change, or None if none arrives within ``timeout``.

        ``timeout``: seconds or a timedelta; None waits for ever. Raise DatabaseClosed after the
        watch or its database is closed and the remaining changes have been taken.
        """
        seconds = timeout_of(timeout)
        return self._next(None if seconds is None else monotonic() + seconds)

    def close(self) -> None:
        """End the watch. Threads that wait for it are woken. May be called again."""
        self._feed.end()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Change:
        try:
            change = self._next(None)
        except DatabaseClosed:
            raise StopIteration from None
        assert change is not None, "without a timeout it waits on"
        return change

    def __del__(self) -> None:
        if hasattr(self, "_feed"):
            self._feed.is_over = True

    def _next(self, until: float | None) -> Change | None:
        change = None
        try:
            while (change := self._feed.take()) is None:
                left = -1.0 if until is None else until - monotonic()
                if (until is not None and left <= 0) or not self._bell.acquire(timeout=left):
                    return None
            self._feed.ring()  # for others who wait: there may be more
            return change
        except BaseException:
            if change is not None:
                self._feed.give_back(change)
            self._feed.ring()  # they are to be told too, or to look for what this one did not take
            raise


def ring_of(bell: threading.Lock) -> Callable[[], None]:
    """Return what lets one who waits for ``bell`` look again."""

    def ring() -> None:
        # No `suppress`: its frames are where an interrupt would come.
        try:  # noqa: SIM105
            bell.release()
        except RuntimeError:  # it rings already
            pass

    return ring
