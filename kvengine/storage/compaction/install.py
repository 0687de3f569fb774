"""Installing new segments: durable first, published second.

Steps, and what a crash after each leaves: (1) rename the outputs to their
numbers and sync the directory: unknown segments, which the next open removes;
(2) append the version edit: the new set of files in force, the old ones unknown;
(3) replace the view; (4) remove what neither the version nor an open snapshot
names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from kvengine.storage import filenames
from kvengine.storage.compaction.job import Output
from kvengine.storage.database import Database
from kvengine.storage.manifest.file import ManifestWriter
from kvengine.storage.manifest.format import SegmentMeta, VersionEdit
from kvengine.storage.memtable import Memtable
from kvengine.storage.segment.reader import LiveSegment
from kvengine.storage.version import Version, View

_MANIFEST_LIMIT = 1024 * 1024


def install_flush(db: Database, flushed: Sequence[Memtable], outputs: Sequence[Output]) -> None:
    """Replace frozen memtables, the oldest ones, by segments of level 0."""
    with _installing(db):
        fresh = _adopt(db, outputs, 0)
        wals = [memtable.wal for memtable in flushed]
        version = Version([*fresh, *db.view.version], db.view.version.seed)
        with _appended(db, db.edit(added=[segment.meta for segment in fresh], wals_removed=wals)):
            with db.commit_lock:
                view = db.view
                frozen = tuple(table for table in view.frozen if table not in flushed)
                db.view = View(view.active, frozen, version)
        for number in wals:
            _unlink(db, filenames.wal(number))
        _renew_manifest(db)
        db.counters.flushes += 1
        db.counters.flushed_bytes += sum(output.size for output in outputs)


def install_compaction(
    db: Database,
    inputs: Sequence[SegmentMeta],
    outputs: Sequence[Output],
    moved: Sequence[SegmentMeta],
    level: int,
) -> None:
    """Replace segments by their overlay. No read changes. Those in ``moved`` change their level."""
    with _installing(db):
        fresh = _adopt(db, outputs, level)
        _replace(db, [*inputs, *moved], [*fresh, *(_moved(db, meta, level) for meta in moved)])
        db.counters.compactions += 1
        db.counters.compacted_bytes += sum(output.size for output in outputs)


def install_move(db: Database, moved: SegmentMeta, level: int) -> None:
    """Move a segment to another level. Its file stays as it is."""
    with _installing(db):
        _replace(db, [moved], [_moved(db, moved, level)])


def install_drop(db: Database, dropped: Sequence[SegmentMeta]) -> None:
    """Drop segments that are expired as a whole, without reading them."""
    with _installing(db):
        _replace(db, dropped, [])
        db.counters.dropped_segments += len(dropped)


def install_retention(db: Database, service: str, kept: int) -> None:
    """Store how long completed workflows of a service are kept, in microseconds."""
    with _installing(db):
        if db.catalog.retention.get(service) != kept:
            with _appended(db, db.edit(retention={service: kept})):
                pass
            _begin_manifest(db)  # if it were the last edit, damage would pass for a torn one


def sweep_obsolete(db: Database) -> None:
    """Remove segments that no open snapshot names any more."""
    with db.install_lock:
        for number in sorted(db.obsolete):
            if not db.snapshots.names(number):
                db.obsolete.discard(number)
                _unlink(db, filenames.segment(number))


@contextmanager
def _installing(db: Database) -> Iterator[None]:
    """Take the install lock. Raise if writes have stopped or the directory is no longer ours."""
    with db.install_lock:
        db.check_writable()
        db.check_owner()
        yield


@contextmanager
def _appended(db: Database, edit: VersionEdit) -> Iterator[None]:
    """Make an edit durable, then run the block, which replaces the view. Any error stops writes."""
    if db.manifest is None:
        raise OSError("the database has no manifest to write to")
    db.catalog.check(edit)
    try:
        db.manifest.append(edit)
        db.catalog.apply(edit)
        yield
    except BaseException as error:
        db.fail(error)
        raise


def _replace(db: Database, inputs: Sequence[SegmentMeta], fresh: Sequence[LiveSegment]) -> None:
    gone = {segment.number for segment in inputs}
    replaced = [segment for segment in db.view.version if segment.meta.number in gone]
    with _appended(db, db.edit(added=[segment.meta for segment in fresh], removed=sorted(gone))):
        with db.commit_lock:
            view = db.view
            kept = [segment for segment in view.version if segment.meta.number not in gone]
            version = Version([*fresh, *kept], view.version.seed)
            db.view = View(view.active, view.frozen, version)
    for segment in replaced:
        db.frames.forget(segment)
    db.obsolete |= gone - {segment.meta.number for segment in fresh}
    sweep_obsolete(db)
    _renew_manifest(db)


def _adopt(db: Database, outputs: Sequence[Output], level: int) -> list[LiveSegment]:
    """Give outputs their numbers, and return them open. Level 0 is ordered by numbers."""
    fresh: list[LiveSegment] = []
    names = [output.name for output in outputs]
    try:
        for at, output in enumerate(outputs):
            number = db.allocate_number()
            target = filenames.segment(number)
            db.fs.rename(
                filenames.join(db.directory, output.name), filenames.join(db.directory, target)
            )
            names[at] = target
            meta = SegmentMeta(number, level, output.file_id, output.size, output.properties)
            fresh.append(_opened(db, meta))
        if outputs:
            db.fs.sync_dir(db.directory)
    except BaseException:
        for name in names:
            with suppress(OSError):
                _unlink(db, name)
        raise
    return fresh


def _moved(db: Database, meta: SegmentMeta, level: int) -> LiveSegment:
    return _opened(db, SegmentMeta(meta.number, level, meta.file_id, meta.size, meta.properties))


def _opened(db: Database, meta: SegmentMeta) -> LiveSegment:
    return LiveSegment(db.fs, db.directory, meta, db.frames, db.view.version.seed)


def _renew_manifest(db: Database) -> None:
    """Start a new manifest if the old one has grown long."""
    if db.manifest is not None and db.manifest.size > _MANIFEST_LIMIT + 2 * db.manifest.began_with:
        _begin_manifest(db)


def _begin_manifest(db: Database) -> None:
    """Start a new manifest.

    An error stops writes, since it is not known then which of the two is in force.
    """
    old = db.manifest
    if old is None:
        return
    try:
        db.manifest = ManifestWriter(db.fs, db.directory, db.catalog, db.allocate_number())
        old.close()
        _unlink(db, filenames.manifest(old.number))
    except BaseException as error:
        db.fail(error)
        raise


def _unlink(db: Database, name: str) -> None:
    with suppress(FileNotFoundError):
        db.fs.unlink(filenames.join(db.directory, name))
