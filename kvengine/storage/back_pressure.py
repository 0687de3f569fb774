"""Back-pressure: writers wait while flush and compaction are behind, and `stats` says why."""

from __future__ import annotations

import time
from collections.abc import Callable

from kvengine.errors import WriteFailed
from kvengine.real_time import monotonic
from kvengine.storage.database import Database

OVERFULL = "stop: the memtable awaits its turn to be frozen"
"""The active memtable has grown as large as all that may be frozen, before it was frozen."""


class BackPressure:
    """Slows writers, then stops them. ``maintain`` starts the work that they wait for."""

    def __init__(self, db: Database, maintain: Callable[[], None]) -> None:
        self._db = db
        self._maintain = maintain
        self._overfull = db.options.memtable_size * db.options.frozen_stop

    def note(self, wal_end: int) -> None:
        """Stop writers if the active memtable is larger than all that may be frozen."""
        if wal_end >= self._overfull and not self._db.stalled:
            self._db.stalled = OVERFULL

    def wait(self) -> None:
        """Wait until flush and compaction have caught up; `stats` says why.

        Raise WriteFailed or OwnerLost if the work that is waited for fails meanwhile. Then
        nothing is written.
        """
        db = self._db
        started, errors = monotonic(), db.counters.background_errors
        asked = started
        db.counters.stalls += 1
        self._maintain()
        if db.stalled.startswith("slow"):
            time.sleep(0.001)
        while self._writers_must_stop():
            if db.counters.background_errors > errors:
                db.check_writable()
                raise WriteFailed(f"{db.stalled}, which fails: {db.counters.last_background_error}")
            time.sleep(0.005)
            if monotonic() - asked > 1.0:
                asked = monotonic()
                self._maintain()
        db.counters.stall_seconds += monotonic() - started

    def _writers_must_stop(self) -> bool:
        """Return whether writers must stop. A memtable that is frozen by now is not too full."""
        db = self._db
        db.view.check_open()
        if db.stalled == OVERFULL and (db.wal is None or db.wal.end < self._overfull):
            db.stalled = ""
        return db.stalled.startswith("stop") and db.failed is None
