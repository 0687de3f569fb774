"""Estimates: how much lies where, from what is in memory. Reads no block."""

from __future__ import annotations

from kvengine.storage.database import Database
from kvengine.storage.names import Range, least_name
from kvengine.store import Estimate, SegmentStats


def estimate(db: Database, within: Range) -> Estimate:
    """About how many objects lie in a range and how many bytes they take, dead data included."""
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
        for one in level:
            share, taken = one.extent(max(start, one.start), min(stop, one.stop))
            rows += share * one.properties.rows
            size += taken
        objects.append(round(rows))
    return Estimate(max(objects), size)


def segments(db: Database) -> tuple[SegmentStats, ...]:
    """Every segment, newest layer first, each further level in order of its ranges."""
    return tuple(
        SegmentStats(
            number=one.meta.number,
            level=one.meta.level,
            size=one.meta.size,
            objects=one.properties.rows,
            entries=one.properties.entries,
            tombstones=one.properties.tombstones + one.properties.range_tombstones,
            expiring=one.properties.expiring,
            first_stamp=one.properties.first_stamp,
            last_stamp=one.properties.last_stamp,
            start=one.start,
            stop=one.stop,
        )
        for one in db.view.version
    )
