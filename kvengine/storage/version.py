"""Versions and views: the layers of the database at one moment, newest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kvengine.storage.memtable import Memtable
from kvengine.storage.name_bytes import encode_object, is_below, last_up_to
from kvengine.storage.names import Name
from kvengine.storage.segment.filter import barrier_digest, object_digest
from kvengine.storage.segment.reader import LiveSegment


class Version:
    """The live segments, by level. Immutable.

    Level 0 has the segments of flushed memtables, newest first, whose ranges may overlap.
    Each further level has segments in order whose ranges do not overlap.
    ``files``: the numbers of all segments. ``expiring``: whether some row states an expiry.
    ``seed``: of the filters of all segments.
    """

    __slots__ = ("_runs", "expiring", "files", "levels", "seed")

    def __init__(self, segments: Iterable[LiveSegment], seed: int) -> None:
        found = list(segments)
        self.seed: int = seed
        depth = max((s.meta.level for s in found), default=0) + 1
        by_level: list[list[LiveSegment]] = [[] for _ in range(max(depth, 2))]
        for segment in found:
            by_level[segment.meta.level].append(segment)
        by_level[0].sort(key=lambda s: s.meta.number, reverse=True)
        for level in by_level[1:]:
            level.sort(key=lambda s: s.meta.start)
        self.levels: tuple[tuple[LiveSegment, ...], ...] = tuple(tuple(level) for level in by_level)
        self._runs = [([s.start for s in level], level) for level in self.levels[1:] if level]
        self.files: frozenset[int] = frozenset(s.meta.number for s in found)
        self.expiring: bool = any(s.expiring for s in found)

    def __iter__(self) -> Iterator[LiveSegment]:
        """Yield all segments, newest layer first."""
        for level in self.levels:
            yield from level

    def segments_for(self, name: bytes) -> list[LiveSegment]:
        """Return the segments whose range includes an encoded object, newest first."""
        found = []
        for segment in self.levels[0]:
            if is_below(name, segment.stop) and not is_below(name, segment.start):
                found.append(segment)
        for starts, level in self._runs:
            at = last_up_to(starts, name)
            if at >= 0:
                segment = level[at]
                if is_below(name, segment.stop):
                    found.append(segment)
        return found


class View:
    """What a read looks at: the active memtable, frozen ones (newest first), the segments.

    Immutable. ``tables``: all memtables, newest first. ``expiring``: whether a frozen memtable or a
    segment states an expiry.
    """

    __slots__ = ("active", "expiring", "frozen", "tables", "version")

    def __init__(self, active: Memtable, frozen: tuple[Memtable, ...], version: Version) -> None:
        self.active: Memtable = active
        self.frozen: tuple[Memtable, ...] = frozen
        self.version: Version = version
        self.tables: tuple[Memtable, ...] = (active, *frozen)
        self.expiring: bool = version.expiring or any(table.expiring for table in frozen)

    def may_expire(self, name: Name) -> bool:
        """Return whether a layer, or a commit not yet visible, may state an expiry of an object."""
        if name in self.active.expiring:
            return True
        if not self.expiring:
            return False
        for table in self.frozen:
            if name in table.expiring:
                return True
        version = self.version
        if not version.expiring:
            return False
        encoded = encode_object(*name)
        barrier = barrier_digest(object_digest(encoded, version.seed))
        for segment in version.segments_for(encoded):
            if segment.expiring and segment.may_hold(barrier):
                return True
        return False

    def check_open(self) -> None:
        """Raise if the database may no longer be used (see `Database.disappear`)."""
