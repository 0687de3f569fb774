"""Verify: read all that the database relies on, except the active WAL, and list the damage."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

from kvengine.errors import CorruptionError
from kvengine.storage import filenames
from kvengine.storage.database import Database
from kvengine.storage.frames import Frames
from kvengine.storage.lifecycle.recover import stage_of_life
from kvengine.storage.manifest import file as manifest
from kvengine.storage.manifest.file import Catalog
from kvengine.storage.moment import open_moment
from kvengine.storage.repair.verify_segment import verify_segment
from kvengine.storage.segment.filter import seed_of
from kvengine.storage.segment.reader import LiveSegment
from kvengine.storage.wal import file as wal


def verify(db: Database) -> list[CorruptionError]:
    """Return all damage found, as the errors that reads would raise; empty if it is sound.

    Segments: see verify_segment.py. Levels: disjoint ranges. Sealed WAL files and
    manifest: every record. Writes may go on meanwhile.

    The owner beside which a reader is open replaces and removes files meanwhile. So damage of a
    file counts if the manifest in force names the file. Of one that it no longer names, a reader
    has what it needs: segments are open, the rows of WALs are in memory.
    """
    with db.install_lock:
        moment = open_moment(db)
        sealed = dict(db.catalog.wal_ends)
    try:
        found: list[CorruptionError] = []
        for segment in moment.view.version:
            found += _segment(db, segment)
        for level in moment.view.version.levels[1:]:
            for left, right in pairwise(level):
                if left.meta.stop > right.meta.start:
                    found.append(CorruptionError(right.path, 0, f"overlaps {left.path}"))
        for wal_number in [m.wal for m in moment.view.frozen if m.wal in sealed]:
            found += _wal(db, wal_number, sealed[wal_number])
        return found + _manifest(db)
    finally:
        moment.close()


def _segment(db: Database, live: LiveSegment) -> list[CorruptionError]:
    """Return the damage of a segment, read anew, so that its fixed parts are checked too."""
    try:
        seed = seed_of(db.catalog.database_id)
        again = LiveSegment(db.fs, db.directory, live.meta, Frames(0), seed)
        found = list(verify_segment(again))
    except CorruptionError as error:
        found = [error]
    if found and not _is_in_force(db, live.meta.number, live.meta.file_id):
        return list(verify_segment(live))
    return found


def _wal(db: Database, number: int, end: int) -> list[CorruptionError]:
    try:
        wal.read(db.fs, db.directory, number, db.catalog.database_id, known_end=end)
    except CorruptionError as error:
        return [error] if _is_in_force(db, number) else []
    return []


def _manifest(db: Database) -> list[CorruptionError]:
    try:
        _catalog(db)
    except CorruptionError as error:
        return [error]
    except FileNotFoundError:
        return [CorruptionError(filenames.join(db.directory, filenames.CURRENT), 0, "missing")]
    return []


def _is_in_force(db: Database, number: int, file_id: int | None = None) -> bool:
    """Return whether the manifest in force names a WAL, or the segment with this identity.

    Numbers are not used twice in one database, but another one may have taken its path. A manifest
    that cannot be read excuses nothing.
    """
    with suppress(CorruptionError, FileNotFoundError):
        catalog = _catalog(db)
        if catalog.database_id != db.catalog.database_id:
            return False
        if file_id is None:
            return number in catalog.wals
        return number in catalog.segments and catalog.segments[number].file_id == file_id
    return True


def _catalog(db: Database) -> Catalog:
    """Return what the manifest in force states, as it is in the file."""
    with db.install_lock:  # an owner does not replace it meanwhile; beside one, look again
        while True:
            life = stage_of_life(db.fs, db.directory)
            try:
                return manifest.read(db.fs, db.directory, life[0])
            except CorruptionError:
                if life == stage_of_life(db.fs, db.directory):
                    raise
