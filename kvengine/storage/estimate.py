"""Estimates: how much lies where, from indexes and a bounded number of blocks."""

from __future__ import annotations

from kvengine.storage.database import Database
from kvengine.storage.names import Range, least_name
from kvengine.store import Estimate, SegmentStats


def estimate(db: Database, within: Range) -> Estimate:
    """Return about how many objects lie in a range, and in how many bytes, the dead included."""
    view = db.view
    start, stop = within
    first, end = least_name(start), least_name(stop)
    size = in_memory = 0
    for memtable in view.tables:
        if first is None or not memtable.states:
            continue
        count = memtable.count(first, end)
        in_memory += count
        wal = db.catalog.wal_ends.get(memtable.wal, 0)
        if memtable is view.active and db.wal is not None:
            wal = db.wal.end
        size += wal * count // max(len(memtable), 1)
    objects = [in_memory]
    for level in view.version.levels:
        rows = 0.0
        for segment in level:
            if segment.start < stop and start < segment.stop:
                rows_within, bytes_within = segment.extent(start, stop, db.options.block_size)
                rows += rows_within
                size += bytes_within
        objects.append(round(rows))
    return Estimate(max(objects), size)


def segments(db: Database) -> tuple[SegmentStats, ...]:
    """Return every segment, newest layer first, each further level in order of its ranges."""
    return tuple(
        SegmentStats(
            number=segment.meta.number,
            level=segment.meta.level,
            size=segment.meta.size,
            objects=segment.properties.rows,
            entries=segment.properties.entries,
            tombstones=segment.properties.tombstones + segment.properties.range_tombstones,
            expiring=segment.properties.expiring,
            first_stamp=segment.properties.first_stamp,
            last_stamp=segment.properties.last_stamp,
            start=segment.start,
            stop=segment.stop,
        )
        for segment in db.view.version
    )
