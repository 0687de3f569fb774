"""Statistics: figures of an open database, gathered without stopping it."""

from __future__ import annotations

from kvengine import compiled
from kvengine.storage import filenames
from kvengine.storage.compaction.maintenance import Maintenance
from kvengine.storage.database import Database
from kvengine.store import LevelStats, Stats


def collect(db: Database, maintenance: Maintenance) -> Stats:
    """Return the figures of an open database as of now."""
    view, counters = db.view, db.counters
    levels = tuple(
        LevelStats(
            number,
            len(level),
            sum(segment.meta.size for segment in level),
            sum(segment.properties.rows for segment in level),
            sum(
                segment.properties.tombstones + segment.properties.range_tombstones
                for segment in level
            ),
        )
        for number, level in enumerate(view.version.levels)
    )
    wal_end = db.wal.end if db.wal is not None else 0
    written = counters.wal_bytes + wal_end
    rewritten = counters.flushed_bytes + counters.compacted_bytes
    segment_bytes = sum(level.bytes for level in levels)
    bottom = next((level.bytes for level in reversed(levels) if level.bytes), 0)
    in_memory = sum(len(memtable) for memtable in view.tables)
    frozen_bytes = sum(db.catalog.wal_ends.get(m.wal, 0) for m in view.frozen)
    return Stats(
        levels=levels,
        segments=len(view.version.files),
        bytes_on_disk=_bytes_on_disk(db, segment_bytes + wal_end + frozen_bytes),
        wal_bytes=wal_end + frozen_bytes,
        estimated_objects=max([in_memory, *(level.objects for level in levels)]),
        memtable_bytes=wal_end,
        memtable_objects=len(view.active),
        frozen_memtables=len(view.frozen),
        cache_bytes=db.memo.bytes + db.frames.bytes,
        cache_objects=len(db.memo),
        open_snapshots=len(db.snapshots),
        pending_compaction=maintenance.pending_bytes(),
        flushes=counters.flushes,
        compactions=counters.compactions,
        dropped_segments=counters.dropped_segments,
        stalls=counters.stalls,
        stall_seconds=counters.stall_seconds,
        stalled=db.stalled,
        write_amplification=(written + rewritten) / written if written else 0.0,
        space_amplification=segment_bytes / bottom if bottom else 1.0,
        commits=counters.commits,
        syncs=counters.syncs,
        last_stamp=db.published,
        background=db.options.background,
        background_errors=counters.background_errors,
        last_background_error=counters.last_background_error,
        recovery=db.recovery,
        live_access=db.live_access,
        running=tuple(db.running),
        compiled=compiled.form == "compiled",
    )


def _bytes_on_disk(db: Database, known: int) -> int:
    """Return the sum of the sizes of all files in the directory, but for any that go meanwhile.

    Return ``known`` if the directory cannot be listed now: there may be no descriptor left.
    """
    try:
        names = db.fs.listdir(db.directory)
    except OSError:
        return known
    total = 0
    for name in names:
        try:
            total += db.fs.size(filenames.join(db.directory, name))
        except OSError:
            continue
    return total
