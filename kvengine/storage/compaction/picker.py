"""What to rewrite next. Pure: it picks by what the manifest states of segments.

Leveled, after LevelDB: level 0 holds flushed memtables, each further level is
disjoint and aims at ``level_ratio`` times the size of the one before. Besides
size, deletions and expiry cause work, so that their space is freed in time:
range tombstones by the bytes that they cover, any deletion by its age, and
expired data once it is half of a segment. A segment that is expired as a whole
is dropped without being read, if retention allows it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from kvengine.storage.manifest.format import SegmentMeta
from kvengine.storage.retention import segment_may_go

Levels = Sequence[Sequence[SegmentMeta]]
"""Level 0 newest first; further levels in order of their ranges."""

WORTH = 1024 * 1024
"""Range tombstones that cover at least so many bytes are compacted, or flushed, at once."""

_DEAD_SHARE = 4
"""A segment is rewritten if at least one in so many of its entries is a tombstone."""


@dataclass(frozen=True)
class Limits:
    """The options that a pick depends on. Sizes are in bytes, times in microseconds."""

    l0_compact: int
    level_base: int
    level_ratio: int
    tombstone_age: int

    def target(self, level: int) -> int:
        """Return the size that a level aims at."""
        return int(self.level_base * self.level_ratio ** (level - 1))


@dataclass(frozen=True)
class Pick:
    """Work to do.

    ``drop``: remove ``inputs`` without reading them. ``move``: move them to level ``output``
    without reading them. ``merge``: replace ``layers`` (newest first) by their overlay at
    level ``output``.
    """

    kind: Literal["drop", "move", "merge"]
    reason: str
    layers: tuple[tuple[SegmentMeta, ...], ...]
    output: int = 0

    @property
    def inputs(self) -> tuple[SegmentMeta, ...]:
        return tuple(segment for layer in self.layers for segment in layer)


def pick(
    levels: Levels,
    limits: Limits,
    now: int,
    horizon: int,
    extends: Callable[[bytes, bytes], bool],
    covered: Callable[[SegmentMeta], int],
) -> Pick | None:
    """Return the most urgent work, or None.

    ``horizon``: what expired by then may go. ``extends(start, stop)``: whether a
    memtable extends the expiry of an object in the range. ``covered(segment)``: the
    bytes of older segments that its range tombstones cover whole.
    """
    return (
        _droppable(levels, horizon, extends)
        or _full_level_zero(levels, limits)
        or _heavy_tombstones(levels, covered)
        or _full_level(levels, limits)
        or _half_expired(levels, horizon)
        or _old_deletions(levels, limits, now)
    )


def pick_all(levels: Levels, limits: Limits, start: bytes, stop: bytes) -> Pick | None:
    """Return a merge of all that overlaps ``[start, stop)`` into one level, for `compact`."""
    chosen: list[SegmentMeta] = []
    while True:
        found = [m for level in levels for m in level if _overlaps(m, start, stop)]
        if len(found) == len(chosen):
            break
        chosen = found
        start = min([start, *(m.start for m in found)])
        stop = max([stop, *(m.stop for m in found)])
    if not chosen:
        return None
    size = sum(m.size for m in chosen)
    output = max(1, *(m.level for m in chosen))
    while limits.target(output) < size:
        output += 1
    numbers = {m.number for m in chosen}
    runs = [[m] for m in levels[0]] + [list(level) for level in levels[1:]]
    layers = [tuple(m for m in run if m.number in numbers) for run in runs]
    return Pick("merge", "asked for", tuple(layer for layer in layers if layer), output)


def older_than(levels: Levels, level: int, inputs: Sequence[SegmentMeta]) -> list[SegmentMeta]:
    """Return the segments that may hold something older than a layer written to ``level``."""
    numbers = {m.number for m in inputs}
    below = [m for deeper in levels[max(level + 1, 1) :] for m in deeper]
    if level == 0:
        below += levels[0]
    return [m for m in below if m.number not in numbers]


def pending_bytes(levels: Levels, limits: Limits) -> int:
    """Return an estimate of the bytes that compaction has still to rewrite."""
    total = 0
    if len(levels[0]) >= limits.l0_compact:
        total += sum(m.size for m in levels[0])
    for number, level in enumerate(levels[1:], 1):
        total += max(0, sum(m.size for m in level) - limits.target(number))
    return total


def _droppable(
    levels: Levels, horizon: int, extends: Callable[[bytes, bytes], bool]
) -> Pick | None:
    for at, level in enumerate(levels):
        for index, segment in enumerate(level):
            p = segment.properties
            if p.rows and p.last_expiry is None:
                continue
            beneath = [*level[index + 1 :]] if at == 0 else []
            beneath += [m for deeper in levels[at + 1 :] for m in deeper]
            if any(_overlaps(m, segment.start, segment.stop) for m in beneath):
                continue
            above = [*level[:index]] if at == 0 else [m for up in levels[:at] for m in up]
            extended = extends(segment.start, segment.stop) or any(
                m.properties.extends and _overlaps(m, segment.start, segment.stop) for m in above
            )
            last = p.last_expiry if p.rows else 0
            if segment_may_go(last, horizon, extended=extended and p.rows > 0, bottom=True):
                return Pick("drop", "expired as a whole", ((segment,),))
    return None


def _full_level_zero(levels: Levels, limits: Limits) -> Pick | None:
    if len(levels[0]) < limits.l0_compact:
        return None
    return _down(levels, 0, levels[0], "level 0 is full")


def _full_level(levels: Levels, limits: Limits) -> Pick | None:
    for at in range(1, len(levels)):
        if sum(m.size for m in levels[at]) > limits.target(at):
            return _down(levels, at, [_cheapest(levels, at)], f"level {at} is full")
    return None


def _cheapest(levels: Levels, at: int) -> SegmentMeta:
    """Return the segment of a level that overlaps the least of the next level for its size."""
    deeper = levels[at + 1] if at + 1 < len(levels) else ()

    def dragged(segment: SegmentMeta) -> float:
        below = sum(m.size for m in deeper if _overlaps(m, segment.start, segment.stop))
        return below / max(segment.size, 1)

    return min(levels[at], key=dragged)


def _heavy_tombstones(levels: Levels, covered: Callable[[SegmentMeta], int]) -> Pick | None:
    """Return work for range tombstones that cover enough bytes beneath them, or None."""
    for at, level in enumerate(levels):
        for segment in level:
            if segment.properties.range_tombstones and covered(segment) >= WORTH:
                return _down(levels, at, [segment], "range tombstones")
    return None


def _half_expired(levels: Levels, horizon: int) -> Pick | None:
    for at, level in enumerate(levels):
        for segment in level:
            half = segment.properties.half_expiry
            if half is not None and half <= horizon:
                return _rewrite(levels, at, segment, "expired data")
    return None


def _old_deletions(levels: Levels, limits: Limits, now: int) -> Pick | None:
    for at, level in enumerate(levels):
        for index, segment in enumerate(level):
            p = segment.properties
            if p.tombstone_time is None or 0 <= now - p.tombstone_time < limits.tombstone_age:
                continue  # one from the future is due: it was written under a wrong clock
            beneath = [m for deeper in levels[at + 1 :] for m in deeper]
            if at == 0:
                beneath += level[index + 1 :]
            if any(_overlaps(m, segment.start, segment.stop) for m in beneath):
                return _down(levels, at, [segment], "old deletions")
            if p.tombstones * _DEAD_SHARE >= max(p.entries, 1) or not p.rows:
                return _rewrite(levels, at, segment, "old deletions")
    return None


def _rewrite(levels: Levels, at: int, segment: SegmentMeta, reason: str) -> Pick:
    """Return the rewrite of a segment: in place if nothing lies beneath it, else one level down."""
    beneath = [m for deeper in levels[at + 1 :] for m in deeper]
    if at > 0 and not any(_overlaps(m, segment.start, segment.stop) for m in beneath):
        return Pick("merge", reason, ((segment,),), at)
    found = _down(levels, at, [segment], reason)
    if found.kind == "move":
        return Pick("merge", reason, found.layers, found.output)
    return found


def _down(levels: Levels, at: int, chosen: Sequence[SegmentMeta], reason: str) -> Pick:
    """Return the merge or the move of ``chosen``, of level ``at``, into the next level.

    From level 0 everything older than the newest chosen goes along, since the segments
    of level 0 overlap each other, by rows or by range tombstones.
    """
    if at == 0:
        newest = max(m.number for m in chosen)
        chosen = [m for m in levels[0] if m.number <= newest]
    start, stop = min(m.start for m in chosen), max(m.stop for m in chosen)
    deeper = levels[at + 1] if at + 1 < len(levels) else ()
    hit = tuple(m for m in deeper if _overlaps(m, start, stop))
    upper = tuple((m,) for m in chosen) if at == 0 else (tuple(chosen),)
    if len(chosen) == 1 and not hit:
        return Pick("move", reason, upper, at + 1)
    return Pick("merge", reason, (*upper, hit) if hit else upper, at + 1)


def _overlaps(segment: SegmentMeta, start: bytes, stop: bytes) -> bool:
    """Return whether a segment overlaps a range. Its tombstones count as well as its rows."""
    return segment.start < stop and start < segment.stop
