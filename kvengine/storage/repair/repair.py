"""Repair: make a new database of what can be read of a damaged one, and report the rest.

Steps: (1) lock the old directory against an owner; nothing in it is written.
(2) Find the files that make it up: those of the manifest in force or, if that
is damaged or names files that are gone, all there are (evidence.py). (3) Read
every block and every commit whose checksum matches; rows carry versions, and
range tombstones stamps, so the order of the files does not matter. (4) Overlay the
pieces of each object, newest version first, into new segments. (5) Make the
manifest and CURRENT last: after a crash before that, no open takes the directory for
a database.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import msgspec

from kvengine.errors import KVEngineError, NotADatabase
from kvengine.fs.base import FileSystem
from kvengine.fs.disk import DiskFileSystem
from kvengine.fs.paths import check_path
from kvengine.options import Options
from kvengine.storage import filenames
from kvengine.storage import range_tombstones as tombstones
from kvengine.storage.lifecycle.lock import keep_out
from kvengine.storage.manifest.file import Catalog, ManifestWriter
from kvengine.storage.manifest.format import SegmentMeta, Shape
from kvengine.storage.range_tombstones import Tombstones
from kvengine.storage.repair.evidence import Evidence, NamedRow, RepairReport, gather
from kvengine.storage.retention import retain
from kvengine.storage.row import Row, in_order, overlay_all
from kvengine.storage.segment.filter import seed_of
from kvengine.storage.segment.writer import SegmentWriter

_LEVEL = 1


def repair(
    path: str | os.PathLike[str],
    into: str | os.PathLike[str],
    *,
    fs: FileSystem | None = None,
) -> RepairReport:
    """Make a new database at ``into`` of all that can be read of the one at ``path``.

    ``into`` must be absent or an empty directory, outside ``path``. The old
    directory is only read. Versions, expiries and ttls are kept; what had
    expired stays expired. Return a report of what was saved and what was lost:
    damage is no error. Raises NotADatabase, DatabaseLocked while an owner has
    it open, UnsupportedFormat, OSError.
    """
    seam = fs if fs is not None else DiskFileSystem()
    old, new = _absolute(seam, "path", path), _absolute(seam, "into", into)
    _check_places(seam, old, new)
    with keep_out(seam, old):
        evidence = gather(seam, old)
        seam.makedirs(new)
        objects, entries = _write(seam, new, evidence)
    return RepairReport(old, new, objects, entries, evidence.lost, evidence.notes)


def _absolute(fs: FileSystem, what: str, path: str | os.PathLike[str]) -> str:
    name = check_path(what, path)
    return os.path.realpath(name) if fs.local else name


def _check_places(fs: FileSystem, old: str, new: str) -> None:
    if not fs.isdir(old):
        raise NotADatabase(f"{old} is no directory; name the directory of the damaged database")
    if not any(filenames.parse(name) for name in fs.listdir(old)):
        raise NotADatabase(f"{old} holds no file of a database; there is nothing to repair")
    if f"{new}/".startswith(f"{old}/"):
        raise KVEngineError(f"{new} lies in the directory to repair; choose one outside of it")
    if fs.exists(new) and (not fs.isdir(new) or fs.listdir(new)):
        raise KVEngineError(f"{new} exists and is not an empty directory; choose another")


def merged(pieces: Iterable[Iterable[NamedRow]], marks: Tombstones) -> Iterator[NamedRow]:
    """Yield one row for each object, in order, made of its pieces that no tombstone hides."""
    ordered = heapq.merge(*pieces, key=lambda named: (named[0], -named[1].version))
    for name, group in groupby(ordered, key=lambda named: named[0]):
        cover = tombstones.covering(marks, name)
        rows = [row for _, row in group if row.version >= cover]
        if rows:
            row = retain(overlay_all(rows), 0, extended=True, bottom=True)
            if row is not None:
                yield name, msgspec.structs.replace(row, entries=in_order(row.entries))


def _write(fs: FileSystem, directory: str, evidence: Evidence) -> tuple[int, int]:
    """Write the files of the new database. Return how many objects and entries it has."""
    shape = evidence.shape or Shape(Options().block_size, Options().chunk_size)
    database_id = os.urandom(16)
    outputs = _Outputs(fs, directory, shape, seed_of(database_id))
    objects = entries = 0
    for name, row in merged(evidence.pieces, evidence.tombstones):
        outputs.add(name, row)
        objects += bool(row.entries)
        entries += len(row.entries)
    segments = outputs.finish()
    stamps = [meta.properties.last_stamp for meta in segments]
    number = len(segments) + 1
    catalog = Catalog(
        database_id,
        shape,
        {meta.number: meta for meta in segments},
        next_number=number + 1,
        last_stamp=max([evidence.last_stamp, *stamps]),
        now=evidence.now,
        retention=evidence.retention,
    )
    ManifestWriter(fs, directory, catalog, number).close()
    return objects, entries


class _Outputs:
    """The segments of one level. They are cut by size, between objects."""

    def __init__(self, fs: FileSystem, directory: str, shape: Shape, seed: int) -> None:
        """``seed``: of the filters of the new database."""
        self._fs, self._directory, self._shape, self._seed = fs, directory, shape, seed
        self._writer: SegmentWriter | None = None
        self._done: list[SegmentMeta] = []

    def add(self, name: bytes, row: Row) -> None:
        if self._writer is not None and self._writer.size >= Options().segment_size:
            self._end()
        if self._writer is None:
            path = filenames.join(self._directory, filenames.segment(len(self._done) + 1))
            shape = self._shape
            self._writer = SegmentWriter(
                self._fs, path, shape.block_size, shape.chunk_size, self._seed
            )
        self._writer.add(name, row)

    def finish(self) -> Sequence[SegmentMeta]:
        self._end()
        return self._done

    def _end(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            properties = writer.finish((), None)
            number = len(self._done) + 1
            meta = SegmentMeta(number, _LEVEL, writer.file_id, writer.size, properties)
            self._done.append(meta)
