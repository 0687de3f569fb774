"""The memo: decoded objects that are read again and again, at the speed of a dict.

It is the one place that answers "is this object known in whole?". It serves reads of now: an entry
is the object as everything that is published states it. It keeps every expiry, so that the reader
applies the time. What keeps it true:

- It is changed under the commit lock only. A reader puts what it found if view, state and
  tombstones are still those that it read. If a commit, a rotation or a flush came in between, what
  it found may be out of date and is not put.
- A commit takes the objects that it touches out before it is published, and puts them back with
  its changes after. What was expired by then stays out: it could come back once a compaction has
  dropped the rows below. A range tombstone takes everything out.
- Objects of many entries are not kept: a commit would copy them.

An object is let in after `ADMISSION` points: a read of one entry is one point, a read of the whole
object two. The object that was let in first is the first to go.
"""

from __future__ import annotations

from array import array
from typing import Final

from kvengine.storage.machine import references
from kvengine.storage.names import Name
from kvengine.storage.resolved import Resolved
from kvengine.storage.row import in_order

ADMISSION: Final = 4
"""Points at which an object is kept: at the second read of all of it, the fourth of an entry."""
ENTRY, WHOLE = 1, 2
"""Points of a read of one entry, and of the whole object."""
MOST_ENTRIES: Final = 64
"""Objects with more entries are not kept."""

_OVERHEAD = 120
"""About how many bytes of memory an entry costs beside its value."""
_OBJECT = 500
"""About how many bytes of memory an object costs beside its entries."""
_TALLIES = 8192
"""How many objects have their reads counted. Another one that hashes to a slot takes it over."""
_SLOTS = _TALLIES - 1


class Memo:
    """A bounded map of names to resolved objects. ``capacity`` in bytes.

    ``known`` may be read by anyone at any time, and is changed under the commit lock.
    """

    __slots__ = ("_tally", "bytes", "capacity", "era", "known")

    def __init__(self, capacity: int) -> None:
        self.capacity: int = capacity
        self.known: dict[Name, Resolved] = {}
        self.bytes: int = 0
        """The sizes of all in ``known``. Whoever takes an object out of that subtracts its size."""
        self.era: int = 0
        """Grows when everything is taken out, so that a read that began before puts nothing in."""
        self._tally = array("q", bytes(16 * _TALLIES))
        """Hashes of names, each followed by its points. Names are not kept: they may be long."""

    def __len__(self) -> int:
        return len(self.known)

    def wants(self, name: Name, points: int) -> bool:
        """Count a read of an object that is not here. Return whether to put what it finds."""
        spot = hash(name)
        slot = 2 * (spot & _SLOTS)
        if self._tally[slot] != spot:
            self._tally[slot], self._tally[slot + 1] = spot, 0
        self._tally[slot + 1] += points
        return self._tally[slot + 1] >= ADMISSION

    def refuse(self, name: Name) -> None:
        """Note that an object is too large for this memo, so that `wants` is False for a while."""
        spot = hash(name)
        slot = 2 * (spot & _SLOTS)
        self._tally[slot], self._tally[slot + 1] = spot, -_TALLIES

    def count_anew(self, name: Name) -> None:
        """Forget the reads of an absent object: they do not count for one that is made later."""
        spot = hash(name)
        slot = 2 * (spot & _SLOTS)
        if self._tally[slot] == spot:
            self._tally[slot + 1] = 0

    def put(self, name: Name, found: Resolved) -> None:
        """Keep an object. Call under the commit lock."""
        self.take(name)
        size = footprint(found)
        if len(found.entries) > MOST_ENTRIES or size * 8 > self.capacity:
            return
        known = self.known
        while self.bytes + size > self.capacity and known:
            self.take(next(iter(known)))
        found.size = size
        self.bytes += size
        known[name] = found

    def change(
        self, name: Name, before: Resolved, version: int, changes: dict[str, bytes | None]
    ) -> bool:
        """Put back an object of which nothing expires, with values that a commit has set.

        Return False, with nothing done, if the commit has cleared one.

        It was taken out, and the caller has it in one variable. If nobody else has it, it is
        changed in place, else a copy takes its place. Call under the commit lock.
        """
        old = before.entries
        size, is_longer = before.size, False
        for state_key, value in changes.items():
            if value is None:
                return False
            earlier = old.get(state_key)
            if earlier is None:
                is_longer = True
                size += len(value) + _OVERHEAD
            else:
                size += len(value) - len(earlier)
        if not is_longer and references(before) == 1 and references(old) == 2:
            # The caller's variable refers to the object, the object and this variable to the dict:
            # no reader, session or walk sees what is changed.
            found = before
            for state_key, value in changes.items():  # compiled: nobody looks in between
                old[state_key] = value  # type: ignore[assignment]
        else:
            entries = old | changes
            if is_longer:
                entries = in_order(entries)
                if len(entries) > MOST_ENTRIES:
                    return True
            found = Resolved.__new__(Resolved)  # `__init__` costs more than all of this
            found.entries = entries  # type: ignore[assignment]
            found.expires_at = found.ttls = found.soonest = found.completed_at = None
        found.version = version
        if size > before.size and (size * 8 > self.capacity or self.bytes + size > self.capacity):
            self.put(name, found)
            return True
        found.size = size
        self.bytes += size
        self.known[name] = found
        return True

    def replace(self, name: Name, found: Resolved | None) -> None:
        """Put what a commit has made of an object, if anything. Call under the commit lock."""
        if found is not None:
            self.put(name, found)

    def take(self, name: Name) -> Resolved | None:
        """Take an object out and return it, None if it is not here. Call under the commit lock."""
        found = self.known.pop(name, None)
        if found is not None:
            self.bytes -= found.size
        return found

    def clear(self) -> None:
        """Take everything out. Call under the commit lock."""
        self.era += 1
        self.known.clear()
        self.bytes = 0


def footprint(found: Resolved) -> int:
    """Return about how many bytes of memory a resolved object takes."""
    entries = found.entries
    return sum(map(len, entries.values())) + _OVERHEAD * len(entries) + _OBJECT
