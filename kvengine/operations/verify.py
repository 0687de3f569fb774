"""Verify: read every byte that the database relies on, and say what does not hold."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from kvengine.errors import CorruptionError
from kvengine.files import manifest, wal
from kvengine.files.segment_reader import LiveSegment, SegmentReader
from kvengine.operations.database import Database
from kvengine.operations.moment import hold


def verify(db: Database) -> list[CorruptionError]:
    """Every damage found, as the error that a read would raise; empty for a sound database.

    Segments: every block's checksum, order, range, counts. Levels: disjoint
    ranges. Sealed WAL files and manifest: every record. Writes may go on meanwhile.
    """
    with db.install_lock:
        moment = hold(db)
        sealed = dict(db.catalog.wal_ends)
    try:
        found: list[CorruptionError] = []
        for one in moment.view.version:
            found += _fresh(db, one)
        for level in moment.view.version.levels[1:]:
            for left, right in pairwise(level):
                if left.meta.stop > right.meta.start:
                    found.append(CorruptionError(right.path, 0, f"overlaps {left.path}"))
        for wal_number in [m.wal for m in moment.view.frozen if m.wal in sealed]:
            found += _wal(db, wal_number, sealed[wal_number])
        return found + _manifest(db)
    finally:
        moment.close()


def verify_segment(segment: SegmentReader) -> Iterator[CorruptionError]:
    """What is wrong with one segment, block by block."""
    last, rows = b"", 0
    bounds = segment.properties
    for at in range(segment.block_count):
        first, handle = segment.block_handle(at)
        try:
            names, found, _ = segment.read_block(at)
            for row in found:
                segment.load(row)
        except CorruptionError as error:
            yield error
            continue
        rows += len(names)
        in_order = all(a < b for a, b in pairwise(names))
        if names[0] != first or (at and names[0] <= last) or not in_order:
            yield CorruptionError(segment.path, handle.offset, "objects are out of order")
        if names[0] < bounds.start or names[-1] >= bounds.stop:
            yield CorruptionError(segment.path, handle.offset, "objects outside the stated range")
        if not all(map(segment.may_hold, names)):
            yield CorruptionError(segment.path, handle.offset, "filter does not know an object")
        last = names[-1]
    if rows != bounds.rows:
        offset = segment.footer.properties.offset
        yield CorruptionError(segment.path, offset, f"holds {rows} rows, states {bounds.rows}")


def _fresh(db: Database, live: LiveSegment) -> list[CorruptionError]:
    """Check a segment through a reader of its own, so that its fixed parts are read again too."""
    try:
        return list(verify_segment(LiveSegment(db.fs, db.directory, live.meta)))
    except CorruptionError as error:
        return [error]


def _wal(db: Database, number: int, end: int) -> list[CorruptionError]:
    try:
        wal.read(db.fs, db.directory, number, db.catalog.database_id, known_end=end)
    except CorruptionError as error:
        with db.install_lock:
            return [error] if number in db.catalog.wals else []
    return []


def _manifest(db: Database) -> list[CorruptionError]:
    with db.install_lock:  # so that it is not replaced meanwhile
        try:
            manifest.read(db.fs, db.directory, manifest.read_current(db.fs, db.directory))
        except CorruptionError as error:
            return [error]
    return []
