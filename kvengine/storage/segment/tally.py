"""The properties of a segment, counted row by row while it is written."""

from __future__ import annotations

from collections import Counter

from kvengine.storage import row as rows
from kvengine.storage.names import after
from kvengine.storage.range_tombstones import Tombstones
from kvengine.storage.row import BARRIER, Row
from kvengine.storage.segment.format import Properties


class Tally:
    """Counts the properties of a segment, row by row.

    What expired by ``horizon`` was kept for a newer layer that extends it. Another
    rewrite could not drop it either, so it does not count for ``half_expiry``.
    """

    def __init__(self, horizon: int) -> None:
        self._horizon = horizon
        self.first: bytes = b""
        self.last: bytes = b""
        self.rows: int = 0
        self.barriers: int = 0
        self.entries: int = 0
        self.data_bytes: int = 0
        self.tombstones: int = 0
        self.expiring: int = 0
        self.extends: int = 0
        self.first_stamp: int = 1 << 63
        self.last_stamp: int = 0
        self.first_expiry: int | None = None
        self.last_expiry: int = 0
        self.weights: Counter[int] = Counter()

    def add(self, name: bytes, row: Row, size: int) -> None:
        if not self.rows:
            self.first = name
        self.last = name
        self.rows += 1
        deleted = list(row.entries.values()).count(None)
        self.entries += len(row.entries) - deleted
        self.tombstones += deleted + row.cleared
        self.data_bytes += size + len(name)
        self.extends += row.extends
        self.barriers += row.flags & BARRIER != 0
        self.first_stamp = min(self.first_stamp, row.version)
        self.last_stamp = max(self.last_stamp, row.version)
        if row.expires_at is not None:
            self.expiring += 1
            self.last_expiry = max(self.last_expiry, row.expires_at)
        if row.flags & (rows.EXPIRES | rows.ENTRY_TTLS):
            self._expire_parts(row, size + len(name))

    def _expire_parts(self, row: Row, size: int) -> None:
        """Count how many bytes expire when: entries at their own expiry, the rest with the row."""
        end = row.expires_at
        for state_key, entry in row.entries.items():
            if isinstance(entry, tuple):
                share = len(state_key) + len(entry[1])
                self._expire(entry[0] if end is None else min(entry[0], end), share)
                size -= share
        if end is not None:
            self._expire(end, size)

    def _expire(self, at: int, size: int) -> None:
        if at > self._horizon:
            self.weights[at] += size
        if self.first_expiry is None or at < self.first_expiry:
            self.first_expiry = at

    def properties(
        self, tombstones: Tombstones, tombstone_time: int | None, half_expiry: int | None
    ) -> Properties:
        """Return the properties of a segment of these rows and range tombstones."""
        edges = [(start, stop) for start, stop, _ in tombstones]
        if self.rows:
            edges.append((self.first, after(self.last)))
        start, stop = min(edge[0] for edge in edges), max(edge[1] for edge in edges)
        deletes = bool(self.tombstones or tombstones)
        stamps = [stamp for _, _, stamp in tombstones]
        return Properties(
            start=start,
            stop=stop,
            rows=self.rows,
            entries=self.entries,
            data_bytes=self.data_bytes,
            tombstones=self.tombstones,
            range_tombstones=len(tombstones),
            tombstone_time=tombstone_time if deletes else None,
            expiring=self.expiring,
            first_expiry=self.first_expiry,
            half_expiry=half_expiry,
            last_expiry=self.last_expiry if self.rows and self.expiring == self.rows else None,
            extends=self.extends,
            first_stamp=min([self.first_stamp, *stamps]),
            last_stamp=max([self.last_stamp, *stamps]),
            barriers=self.barriers,
        )

    def half_expiry(self) -> int | None:
        """Return when half of the bytes will have expired, None for never."""
        gone = 0
        for at in sorted(self.weights):
            gone += self.weights[at]
            if gone * 2 >= self.data_bytes:
                return at
        return None
