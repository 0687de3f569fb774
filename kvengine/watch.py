"""Watches: what a store tells of its commits as they become visible."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from kvengine.closing import Closing
from kvengine.real_time import monotonic
from kvengine.storage import feed
from kvengine.storage.database import Database
from kvengine.store import Change


class Watch(Closing):
    """Changes to the objects of a service, one by one. Made by ``db.watch()``.

    An iterator that waits for the next change, and ends when it or the database is closed. A
    context manager; one that is dropped ends too. Threads may share one: each change goes to one
    of them.
    """

    def __init__(self, db: Database, service: str, key: str | None, prefix: str) -> None:
        self._bell = threading.Lock()
        self._bell.acquire()
        self._engine = db.owner()  # which is not forgotten while this is not
        self._feed = feed.begin(db, service, key, prefix, ring_of(self._bell))

    def poll(self, timeout: float = 0.0) -> Change | None:
        """Return the next change, None if none comes within ``timeout`` seconds."""
        return self._next(monotonic() + timeout)

    def close(self) -> None:
        """End the watch; who waits for it is woken. May be called again."""
        self._feed.end()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Change:
        change = self._next(None)
        if change is None:
            raise StopIteration
        return change

    def __del__(self) -> None:
        if hasattr(self, "_feed"):
            self._feed.is_over = True

    def _next(self, until: float | None) -> Change | None:
        while (change := self._feed.take()) is None and not self._feed.is_over:
            left = -1.0 if until is None else until - monotonic()
            if (until is not None and left <= 0) or not self._bell.acquire(timeout=left):
                return None
        ring_of(self._bell)()  # for others who wait: there may be more
        return change


def ring_of(bell: threading.Lock) -> Callable[[], None]:
    """Return what lets one who waits for ``bell`` look again."""

    def ring() -> None:
        with suppress(RuntimeError):  # it rings already
            bell.release()

    return ring
