"""Verify: read all that the database relies on, except the active WAL, and list the damage."""

from __future__ import annotations

from itertools import pairwise

from kvengine.errors import CorruptionError
from kvengine.storage.database import Database
from kvengine.storage.frames import Frames
from kvengine.storage.manifest import file as manifest
from kvengine.storage.moment import open_moment
from kvengine.storage.repair.verify_segment import verify_segment
from kvengine.storage.segment.filter import seed_of
from kvengine.storage.segment.reader import LiveSegment
from kvengine.storage.wal import file as wal


def verify(db: Database) -> list[CorruptionError]:
    """Return all damage found, as the errors that reads would raise; empty if it is sound.

    Segments: see verify_segment.py. Levels: disjoint ranges. Sealed WAL files and
    manifest: every record. Writes may go on meanwhile.
    """
    with db.install_lock:
        moment = open_moment(db)
        sealed = dict(db.catalog.wal_ends)
    try:
        found: list[CorruptionError] = []
        for segment in moment.view.version:
            found += _fresh(db, segment)
        for level in moment.view.version.levels[1:]:
            for left, right in pairwise(level):
                if left.meta.stop > right.meta.start:
                    found.append(CorruptionError(right.path, 0, f"overlaps {left.path}"))
        for wal_number in [m.wal for m in moment.view.frozen if m.wal in sealed]:
            found += _wal(db, wal_number, sealed[wal_number])
        return found + _manifest(db)
    finally:
        moment.close()


def _fresh(db: Database, live: LiveSegment) -> list[CorruptionError]:
    """Return the damage of a segment, read anew, so that its fixed parts are checked too."""
    try:
        seed = seed_of(db.catalog.database_id)
        again = LiveSegment(db.fs, db.directory, live.meta, Frames(0), seed)
        return list(verify_segment(again))
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
