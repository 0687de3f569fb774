"""The figures of a segment, counted again from its rows. Pure; for verify.

It shares no code with the counting of the writer, so that one checks the other.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from kvengine.storage.names import after
from kvengine.storage.range_tombstones import Tombstones
from kvengine.storage.row import BARRIER, Row
from kvengine.storage.segment.format import Properties


class Recount:
    """Counts rows, which are added in order and as whole rows."""

    def __init__(self) -> None:
        self.rows: int = 0
        self.entries: int = 0
        self._figures: Counter[str] = Counter()
        self._first: bytes | None = None
        self._last = b""
        self._stamps: list[int] = []
        self._row_ends: list[int] = []
        self._weights: Counter[int] = Counter()

    def add(self, name: bytes, row: Row, encoded: int) -> None:
        """Count a row. ``encoded``: the bytes of the whole row."""
        size = encoded + len(name)
        cleared = sum(value is None for value in row.entries.values())
        self.rows += 1
        self.entries += len(row.entries) - cleared
        self._figures["data_bytes"] += size
        self._figures["tombstones"] += cleared + row.cleared
        self._figures["extends"] += row.extends
        self._figures["barriers"] += row.flags & BARRIER != 0
        self._first = name if self._first is None else self._first
        self._last = name
        self._stamps = _ends(self._stamps, row.version)
        if row.expires_at is not None:
            self._figures["expiring"] += 1
            self._row_ends = _ends(self._row_ends, row.expires_at)
        self._weigh(row, size)

    def _weigh(self, row: Row, size: int) -> None:
        """Count how many bytes expire when: an entry at its own time if sooner, else the row's."""
        ends = row.expires_at
        for state_key, entry in row.entries.items():
            if isinstance(entry, tuple):
                at, value = entry
                share = len(state_key) + len(value)
                self._weights[at if ends is None else min(at, ends)] += share
                size -= share
        if ends is not None:
            self._weights[ends] += size

    def faults(self, stated: Properties, marks: Tombstones) -> Iterator[str]:
        """Yield each difference between the properties and what was counted."""
        for field, counted in self._counted(marks).items():
            told = getattr(stated, field)
            if told != counted:
                yield f"properties state {field} {_shown(told)}, counted are {_shown(counted)}"
        if stated.half_expiry not in self._half_expiries():
            yield f"properties state half_expiry {stated.half_expiry}, which is no such time"
        deletes = bool(self._figures["tombstones"] or marks)
        if stated.tombstone_time is not None and not deletes:
            yield "properties state a time of deletions, and there are none"

    def _counted(self, marks: Tombstones) -> dict[str, Any]:
        """Return the figures that rows alone determine.

        Those are all but ``half_expiry`` and ``tombstone_time``.
        """
        starts = [*([self._first] if self._first is not None else []), *(m[0] for m in marks[:1])]
        stops = [*([after(self._last)] if self.rows else []), *(m[1] for m in marks[-1:])]
        stamps = [*self._stamps, *(stamp for _, _, stamp in marks)]
        expired_whole = self.rows and self._figures["expiring"] == self.rows
        return {
            "start": min(starts, default=b""),
            "stop": max(stops, default=b""),
            "rows": self.rows,
            "entries": self.entries,
            "data_bytes": self._figures["data_bytes"],
            "tombstones": self._figures["tombstones"],
            "range_tombstones": len(marks),
            "expiring": self._figures["expiring"],
            "first_expiry": min(self._weights, default=None),
            "last_expiry": max(self._row_ends) if expired_whole else None,
            "extends": self._figures["extends"],
            "barriers": self._figures["barriers"],
            "first_stamp": min(stamps, default=0),
            "last_stamp": max(stamps, default=0),
        }

    def _half_expiries(self) -> set[int | None]:
        """Return when half of the bytes expire, for each horizon that the writer may have had.

        What had expired by the horizon and had to stay does not count. The horizon may lie
        after the present time: the clock may have stepped back between two opens since
        the segment was written.
        """
        times = sorted(self._weights)
        gone = [0, *accumulate(2 * self._weights[at] for at in times)]
        found: set[int | None] = set()
        for before in gone:
            at = bisect_left(gone, before + self._figures["data_bytes"])
            found.add(times[at - 1] if 0 < at < len(gone) else None)
        return found


def _ends(known: list[int], number: int) -> list[int]:
    """Return the least and the largest of the numbers so far."""
    return [min(known[0], number), max(known[1], number)] if known else [number, number]


def _shown(what: Any) -> str:
    return what[:32].hex() if isinstance(what, bytes) else str(what)
