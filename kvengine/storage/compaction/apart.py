"""Segments of one huge row: a compaction that brings nothing for the object leaves them alone.

A row that fills a segment gets one of its own (run.py). Levelled compaction would write it again
with every neighbour that comes down, about ten times a level; WiscKey (Lu et al., 2016) and the
BlobDB of RocksDB keep such values in files of their own instead, which then need their own garbage
collection. Here the segment is that file: it stays, or changes its level unread, and the outputs
of the compaction are cut around its object. So a huge value is written to the log, by the flush,
by the compaction that takes it out of level 0, and then only when its own object changes.
"""

from __future__ import annotations

from collections.abc import Sequence

from kvengine.storage import range_tombstones
from kvengine.storage.segment.filter import object_digest
from kvengine.storage.segment.reader import LiveSegment


def is_huge(size: int, segment_size: int) -> bool:
    """Return whether a row, or a segment, of ``size`` bytes fills a segment by itself."""
    return 0 < segment_size <= size


def set_apart(
    layers: Sequence[Sequence[LiveSegment]], segment_size: int, horizon: int
) -> tuple[list[list[LiveSegment]], list[LiveSegment]]:
    """Return the layers that are still to be merged, and the segments that need no merge.

    ``horizon``: what expired by then is to be dropped, which takes a merge.
    """
    inputs = [segment for layer in layers for segment in layer]
    apart = {
        segment.meta.number: segment
        for segment in inputs
        if is_huge(segment.meta.size, segment_size)
        and _is_one_live_row(segment, horizon)
        and not any(_touches(other, segment) for other in inputs if other is not segment)
    }
    rest = [[kept for kept in layer if kept.meta.number not in apart] for layer in layers]
    return [layer for layer in rest if layer], list(apart.values())


def _is_one_live_row(segment: LiveSegment, horizon: int) -> bool:
    """Return whether a segment has one row and nothing else, and all of it is to be kept."""
    p = segment.properties
    expired = p.half_expiry is not None and p.half_expiry <= horizon
    return p.rows == 1 and not (p.range_tombstones or p.tombstones or expired)


def _touches(other: LiveSegment, segment: LiveSegment) -> bool:
    """Return whether a segment says anything of the one object of another."""
    name = segment.start
    if range_tombstones.covering(other.tombstones, name):
        return True
    if not other.start <= name < other.stop or not other.may_hold(object_digest(name, other.seed)):
        return False
    return other.find(name) is not None
