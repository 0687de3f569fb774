"""The memo: decoded objects that are read again and again, at the speed of a dict.

It is the one place that answers "is this object known in whole?". It speaks for reads of now: an
entry is the object as everything that is published states it, with every expiry kept, so time is
still to be applied. What keeps it true:

- It is changed under the commit lock only. A reader puts what it found if view, state and
  tombstones are still those that it read; a commit, a rotation or a flush that came between makes
  its answer worth nothing, and it is not put.
- A commit takes the objects that it touches out before it is published, and puts them back with
  its changes after: what was expired by then stays out, or a later compaction, which drops the
  rows below, could let it revive the dead. A range tombstone takes everything out.
- Objects of many entries are not kept: a commit would copy them.

An object is let in after `ADMISSION` points: a read of one entry is one point, a read of the whole
object two. The object that was let in first is the first to go.
"""

from __future__ import annotations

from typing import Final

from kvengine.storage.names import Name
from kvengine.storage.row import Resolved, in_order

ADMISSION: Final = 4
"""Points after which an object is kept: the second read of all of it, the fourth of an entry."""
ENTRY, WHOLE = 1, 2
"""Points of a read of one entry, and of the whole object."""
MOST_ENTRIES: Final = 64
"""Objects with more entries are not kept."""

_OVERHEAD = 120
"""Bytes of memory that an entry costs beside its value, about."""
_OBJECT = 500
"""Bytes of memory that an object costs beside its entries, about."""
_TALLIES = 8192
"""Objects whose reads are counted before counting begins anew."""


class Memo:
    """A bounded map of names to resolved objects. ``capacity`` in bytes.

    ``known`` may be read by anyone at any time, and is changed under the commit lock.
    """

    __slots__ = ("_sizes", "_tally", "bytes", "capacity", "era", "known")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.known: dict[Name, Resolved] = {}
        self.bytes = 0
        self.era = 0
        """Grows when everything is taken out: a read that began before puts nothing in."""
        self._sizes: dict[Name, int] = {}
        self._tally: dict[int, int] = {}
        """Points by the hash of a name: names themselves may be long, and are not kept."""

    def __len__(self) -> int:
        return len(self.known)

    def wants(self, name: Name, points: int) -> bool:
        """Count a read of an object that is not here; return whether to put what it finds."""
        tally, spot = self._tally, hash(name)
        total = tally.get(spot, 0) + points
        if len(tally) >= _TALLIES:
            tally.clear()
        tally[spot] = total
        return total >= ADMISSION

    def refuse(self, name: Name) -> None:
        """Note that an object is too large for this memo, so that it is not asked for soon."""
        self._tally[hash(name)] = -_TALLIES

    def count_anew(self, name: Name) -> None:
        """Forget the reads of an object that is absent: they say nothing of one that comes."""
        self._tally.pop(hash(name), None)

    def put(self, name: Name, found: Resolved) -> None:
        """Keep an object. Under the commit lock."""
        self.take(name)
        size = footprint(found)
        if len(found.entries) > MOST_ENTRIES or size * 8 > self.capacity:
            return
        known = self.known
        while self.bytes + size > self.capacity and known:
            self.take(next(iter(known)))
        self.bytes += size
        self._sizes[name] = size
        known[name] = found

    def change(
        self, name: Name, before: Resolved, version: int, changes: dict[str, bytes | None]
    ) -> None:
        """Put an object of which nothing expires back, with values that a commit has set.

        It was popped from ``known``. Under the commit lock.
        """
        old = before.entries
        entries = old | changes
        if len(entries) != len(old):
            entries = in_order(entries)
            if len(entries) > MOST_ENTRIES:
                self.take(name)
                return
        grown = 0
        for state_key, value in changes.items():
            earlier = old.get(state_key)
            grown += len(value) + (_OVERHEAD if earlier is None else -len(earlier))  # type: ignore[arg-type]
        found = Resolved(version, None, entries, None, None)  # type: ignore[arg-type]
        size = self._sizes[name] + grown
        if grown > 0 and (size * 8 > self.capacity or self.bytes + grown > self.capacity):
            self.put(name, found)
            return
        self.bytes += grown
        self._sizes[name] = size
        self.known[name] = found

    def replace(self, name: Name, found: Resolved | None) -> None:
        """Put what a commit has made of an object that was popped. Under the commit lock."""
        if found is None:
            self.take(name)
        else:
            self.put(name, found)

    def take(self, name: Name) -> Resolved | None:
        """Take an object out and return it, None where it is not here. Under the commit lock."""
        found = self.known.pop(name, None)
        self.bytes -= self._sizes.pop(name, 0)
        return found

    def clear(self) -> None:
        """Take everything out. Under the commit lock."""
        self.era += 1
        self.known.clear()
        self._sizes.clear()
        self.bytes = 0


def footprint(found: Resolved) -> int:
    """Return about how many bytes of memory a resolved object takes."""
    entries = found.entries
    return sum(map(len, entries.values())) + _OVERHEAD * len(entries) + _OBJECT
