"""Watches: what commits of all clients changed, found by asking again and again.

While anybody watches, every commit notes what it changes, with its transaction. A *watcher*, one
for each client, asks what became visible since it asked last. Transactions become visible in
another order than they begin. So it remembers the oldest that was still running and which later
ones it has seen, and misses none (this is the ``xmin`` of PostgreSQL's snapshots).

A watcher that could not ask for longer than changes are kept tells of a gap; so it does after a
crash of the server, which takes the notes away.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from kvengine.errors import DatabaseClosed, KVEngineError
from kvengine.postgres.reads import encoded
from kvengine.postgres.scripts import Script, Statement
from kvengine.real_time import monotonic
from kvengine.storage.feed import Queue, watched
from kvengine.storage.names import Range, encode_object
from kvengine.store import Change

log: logging.Logger = logging.getLogger("kvengine")

ASK_EVERY = 0.05
"""Seconds between two looks for changes, while somebody watches."""

KEPT = 30.0
"""Seconds for which a watcher is registered. The server keeps changes for longer."""

_BEGIN_PATIENCE = 1.0
"""Seconds to wait for commits that had begun before a watch did."""

_REGISTER = "SELECT {schema}.watch(%s, %s)"
_LOOK = """
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
        pg_snapshot_xmax(pg_current_snapshot())::text::bigint,
        c.xid::text::bigint, c.stamp, c.service, c.key, c.until_service, c.until_key
    FROM (SELECT) one LEFT JOIN {schema}.changes c ON
        c.xid >= coalesce(%s::text::xid8, pg_snapshot_xmin(pg_current_snapshot()))
    ORDER BY c.stamp, c.xid"""

_Run = Callable[[Callable[[], Script[Any]]], Any]


class Feed(Queue):
    """The changes to the objects of one service, within a range, that were not taken yet."""

    def __init__(
        self, service: str, key: str | None, within: Range, ring: Callable[[], object]
    ) -> None:
        super().__init__(service, key, ring)
        self._within = within

    def note(self, start: bytes, stop: bytes | None, name: tuple[str, str], stamp: int) -> bool:
        """Take a change, of one object or of the range to ``stop``, if it is of what is watched."""
        low, high = self._within
        if stop is None:
            if not low <= start < high:
                return False
            self.put(Change(*name, stamp))
        else:
            if not (start < high and low < stop):
                return False
            self.put(Change(self._service, self._key, stamp))
        return True

    def tell_gap(self, stamp: int) -> None:
        """Tell of changes that nobody knows any more."""
        self.put(Change(self._service, self._key, stamp, gap=True))
        self.ring()


class Watcher:
    """Looks for changes on behalf of all watches of one store. Thread-safe."""

    def __init__(self, run: _Run, schema: str) -> None:
        self._run = run
        self._schema = schema
        self._watcher = int.from_bytes(os.urandom(8), "big", signed=True)
        self._lock = threading.Lock()
        self._feeds: tuple[Feed, ...] = ()
        self._late: dict[Feed, int] = {}
        """Feeds that began beside commits: which transactions must end until they miss none."""
        self._low: int | None = None
        self._seen: set[int] = set()
        self._registered = 0.0
        self._bounds = (0, 0)
        self._thread: threading.Thread | None = None
        self._closed = False

    def begin(self, service: str, key: str | None, prefix: str, ring: Callable[[], object]) -> Feed:
        """Return a feed that is told of all commits from now on."""
        within = watched(service, key, prefix)
        encoded("service", service)
        encoded("key", prefix if key is None else key)
        feed = Feed(service, key, within, ring)
        until = monotonic() + _BEGIN_PATIENCE
        with self._lock:
            self._look(register=True)  # what is visible already is no news
            low, high = self._bounds
            while low < high and monotonic() < until:
                time.sleep(0.002)
                self._look(register=False)
                low = self._bounds[0]
            if low < high:
                self._late[feed] = high
            self._feeds = (*self._alive(), feed)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._work, name="kvengine-watch", daemon=True
                )
                self._thread.start()
        return feed

    def close(self) -> None:
        """End all watches."""
        self._closed = True
        for feed in self._feeds:
            feed.end()

    def _alive(self) -> tuple[Feed, ...]:
        return tuple(feed for feed in self._feeds if not feed.is_over)

    def _work(self) -> None:
        while not self._closed:
            time.sleep(ASK_EVERY)
            with self._lock:
                self._feeds = self._alive()
                if not self._feeds:
                    self._thread = None
                    return
                try:
                    self._look(register=monotonic() - self._registered > KEPT / 3)
                except DatabaseClosed:
                    return
                except KVEngineError as error:
                    log.warning("watching: %s", error)

    def _look(self, *, register: bool) -> None:
        """Ask for changes and give them to the feeds. Call with the lock taken."""
        if register:
            ran = self._run(partial(self._ask, _REGISTER, self._watcher, KEPT))[0][0]
            self._registered = monotonic()
            if not ran:
                self._low, self._seen = None, set()
        first = self._low is None
        rows = self._run(partial(self._ask, _LOOK, None if first else str(self._low)))
        self._bounds = rows[0][0], rows[0][1]
        told: set[tuple[Any, ...]] = set()
        if first:  # nothing is known of what came before
            for feed in self._feeds:
                feed.tell_gap(max((row[3] or 0 for row in rows), default=0))
        else:
            for _, _, xid, stamp, *names in rows:
                if xid is not None and xid not in self._seen and (*names, stamp) not in told:
                    told.add((*names, stamp))
                    self._tell(stamp, *names)
        low = self._low = self._bounds[0]
        self._seen = {row[2] for row in rows if row[2] is not None and row[2] >= low}
        for feed, high in list(self._late.items()):
            if low >= high:
                del self._late[feed]
                feed.tell_gap(0)

    def _tell(
        self, stamp: int, service: bytes, key: bytes, until_s: bytes | None, until_k: bytes | None
    ) -> None:
        name = service.decode(), key.decode()
        start = encode_object(*name)
        stop = None
        if until_s is not None and until_k is not None:
            stop = encode_object(until_s.decode(), until_k.decode())
        for feed in self._feeds:
            if feed.note(start, stop, name, stamp):
                feed.ring()

    def _ask(self, template: str, *values: Any) -> Script[Any]:
        return (yield Statement(template.format(schema=self._schema), values))
