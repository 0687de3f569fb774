"""Hot objects: what all segments together say of an object, resolved.

Two generations of dicts: a hit in the young one costs one look-up and keeps
no order; when the young one is full it becomes the old one, and what is used
again moves back. The content is that of the *segments* only. A flush adds a
segment, so it bumps ``generation``: readers of an older view can no longer put
what they found. A compaction bumps it too, and forgets nothing: what it dropped
had expired. But then an object may be here alone that states an expiry, so
commits ask ``expiring`` as they ask each layer.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from kvengine.storage.names import Name
from kvengine.storage.row import Resolved

OVERHEAD = 120
"""Estimated bytes of memory an entry costs beyond its value."""


class ObjectCache:
    """A bounded map of object names to resolved objects. ``capacity`` in bytes."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._lock = threading.Lock()
        self._old: dict[Name, Resolved] = {}
        self._young_bytes = 0
        self._old_bytes = 0
        self._old_expiring = False
        self._young_expiring = False
        self.young: dict[Name, Resolved] = {}
        self.generation = 0

    @property
    def expiring(self) -> bool:
        """Whether an object kept here may state an expiry."""
        return self._young_expiring or self._old_expiring

    def get(self, name: Name) -> Resolved | None:
        """What the segments say of an object, if it is kept here."""
        found = self.young.get(name)
        if found is None and name in self._old:
            with self._lock:  # not beside a flush that is about to change it
                found = self._old.get(name)
                if found is not None:
                    self._keep(name, found, footprint(found))
        return found

    def put(self, name: Name, found: Resolved, generation: int) -> None:
        """Keep what a reader found, unless a flush came between."""
        size = footprint(found)
        if size * 8 > self.capacity:
            return
        with self._lock:
            if generation == self.generation:
                self._keep(name, found, size)

    def _keep(self, name: Name, found: Resolved, size: int) -> None:
        if (self._young_bytes + size) * 2 > self.capacity:
            self._old, self._old_bytes = self.young, self._young_bytes
            self._old_expiring = self._young_expiring
            self.young, self._young_bytes, self._young_expiring = {}, 0, False
        if found.expires_at is not None:
            self._young_expiring = True
        self.young[name] = found
        self._young_bytes += size

    def flushed(self, names: Iterable[Name] | None) -> int:
        """Forget what is about to change (None: everything); the new generation."""
        with self._lock:
            self.generation += 1
            if names is None:
                self.young, self._young_bytes = {}, 0
                self._old, self._old_bytes = {}, 0
                self._young_expiring = self._old_expiring = False
                return self.generation
            for name in names:
                self._old.pop(name, None)
                gone = self.young.pop(name, None)
                if gone is not None:
                    self._young_bytes -= footprint(gone)
            return self.generation

    @property
    def bytes(self) -> int:
        return self._young_bytes + self._old_bytes

    def __len__(self) -> int:
        return len(self.young.keys() | self._old.keys())


def footprint(found: Resolved) -> int:
    """Estimated bytes of memory of a resolved object."""
    entries = found.entries
    return sum(map(len, entries.values())) + OVERHEAD * (len(entries) + 2)
