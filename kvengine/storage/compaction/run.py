"""Running a job: from immutable files to immutable files. Pure but for the files it writes.

Steps: (1) open the inputs; layers that newer tombstones cover whole are not
read. (2) Walk them in order, overlay the pieces of each object, keep what
retention lets stay. (3) Start a new segment where one is large enough, always
between objects; tombstones are clipped to each segment's range, and go where
nothing older lies beneath. Outputs have temporary names: a crash leaves files
that the next open sweeps.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterable
from contextlib import suppress

from kvengine.fs.base import FileSystem
from kvengine.storage import filenames, names
from kvengine.storage import range_tombstones as tombstones
from kvengine.storage.compaction.job import Job, Output
from kvengine.storage.merge import Block, Piece, Source, merge, segment_blocks
from kvengine.storage.names import encode_object
from kvengine.storage.range_tombstones import Tombstones
from kvengine.storage.retention import retain
from kvengine.storage.row import Layer, Row, overlay_row, overlay_rows
from kvengine.storage.segment.reader import SegmentReader
from kvengine.storage.segment.writer import SegmentWriter
from kvengine.storage.wal import file as wal
from kvengine.storage.wal.format import Commit

_CHECK_EVERY = 256


class Abandoned(Exception):
    """The job's owner is gone or closing; nothing was kept."""


def run(fs: FileSystem, job: Job, wanted: Callable[[], bool]) -> list[Output]:
    """The outputs of a job, possibly none. ``wanted`` is asked now and then whether to go on."""
    sources, tombstone_time = _sources(fs, job)
    marks: Tombstones = ()
    for source in sources:
        marks = tombstones.union(source.tombstones, marks)
    outputs = _Outputs(fs, job, _above(marks, job.older), tombstone_time)
    keep = _Policy(fs, job)
    try:
        for count, (name, pieces) in enumerate(merge(sources, b"", names.END)):
            if count % _CHECK_EVERY == 0 and not wanted():
                raise Abandoned
            row = keep.retained(name, pieces)
            if row is not None:
                outputs.add(name, row)
        return outputs.finish()
    except BaseException:
        outputs.abandon()
        raise


def layer_of(commits: Iterable[Commit]) -> Layer:
    """The layer that a WAL's commits make, oldest first."""
    rows: dict[bytes, Row] = {}
    marks: Tombstones = ()
    for commit in commits:
        for start, stop in commit.tombstones:
            marks = tombstones.add(marks, start, stop, commit.stamp)
        for service, key, row in commit.rows:
            name = encode_object(service, key)
            old = rows.get(name)
            if old is None or old.version < tombstones.covering(marks, name):
                rows[name] = row
            else:
                rows[name] = overlay_row(row, old)
    if marks:
        rows = {n: r for n, r in rows.items() if r.version >= tombstones.covering(marks, n)}
    return Layer(marks, rows)


def _sources(fs: FileSystem, job: Job) -> tuple[list[Source], int | None]:
    """The layers to overlay, newest first, and the time of the oldest deletion in them."""
    sources: list[Source] = []
    times: list[int] = []
    commits: list[Commit] = []
    for number, end in job.wals:
        commits += wal.read(fs, job.directory, number, job.database_id, known_end=end).commits
    if commits:
        layer = layer_of(commits)
        order = sorted(layer.rows)
        block = Block(order, [_in_order(layer.rows[name]) for name in order], None)
        sources.append(Source(iter([block] if order else []), layer.tombstones))
        times.append(min(commits[0].stamp, job.now))
    above = sources[0].tombstones if sources else ()
    for numbers in job.layers:
        readers = [_open(fs, job, number) for number in numbers]
        read = [
            one
            for one in readers
            if not tombstones.cover_range(above, one.properties.start, one.properties.stop)
        ]
        marks = tuple(fragment for one in read for fragment in one.tombstones)
        sources.append(Source(segment_blocks(read, b"", names.END), marks))
        above = tombstones.union(above, marks)
        times += [t for one in readers if (t := one.properties.tombstone_time) is not None]
    return sources, min(times, default=None)


def _open(fs: FileSystem, job: Job, number: int) -> SegmentReader:
    return SegmentReader(fs, filenames.join(job.directory, filenames.segment(number)))


def _in_order(row: Row) -> Row:
    """``row`` with its entries in key order, as segments hold them."""
    order = sorted(row.entries)
    if order == list(row.entries):
        return row
    entries = {name: row.entries[name] for name in order}
    return Row(row.version, entries, row.cleared, row.extends, row.expires_at, row.ttls)


def _above(marks: Tombstones, older: list[tuple[bytes, bytes]]) -> Tombstones:
    """The tombstones that still have something older to hide."""
    return tuple(
        mark for mark in marks if any(start < mark[1] and mark[0] < stop for start, stop in older)
    )


class _Policy:
    """What stays of each object: `retain`, told what lies above and beneath."""

    def __init__(self, fs: FileSystem, job: Job) -> None:
        self._horizon = job.horizon
        self._extended = frozenset(job.extended)
        self._newer = [_open(fs, job, number) for number in job.newer]
        self._beneath = _joined(job.older)
        self._starts = [start for start, _ in self._beneath]

    def retained(self, name: bytes, pieces: list[Piece]) -> Row | None:
        row = overlay_rows([piece.whole() for piece in pieces])
        if len(pieces) > 1:
            row = _in_order(row)
        held = False
        if row.expires_at is not None and row.expires_at <= self._horizon:
            held = self._held(name)
        return retain(row, self._horizon, held=held, bottom=not self._older(name))

    def _held(self, name: bytes) -> bool:
        if name in self._extended:
            return True
        found = (segment.find(name) for segment in self._newer)
        return any(row is not None and row.extends for row in found)

    def _older(self, name: bytes) -> bool:
        at = bisect_right(self._starts, name) - 1
        return at >= 0 and name < self._beneath[at][1]


def _joined(ranges: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    out: list[tuple[bytes, bytes]] = []
    for start, stop in sorted(ranges):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(stop, out[-1][1]))
        else:
            out.append((start, stop))
    return out


class _Outputs:
    """The segments being written: cut by size, between objects."""

    def __init__(
        self, fs: FileSystem, job: Job, marks: Tombstones, tombstone_time: int | None
    ) -> None:
        self._fs, self._job = fs, job
        self._marks, self._tombstone_time = marks, tombstone_time
        self._writer: SegmentWriter | None = None
        self._start = b""
        self._done: list[Output] = []

    def add(self, name: bytes, row: Row) -> None:
        size = self._job.segment_size
        if self._writer is not None and size and self._writer.size >= size:
            self._end(name)
        if self._writer is None:
            self._writer = self._new()
        self._writer.add(name, row)

    def finish(self) -> list[Output]:
        self._end(names.END)
        return self._done

    def abandon(self) -> None:
        with suppress(FileNotFoundError):  # a new owner of the directory may have swept them
            if self._writer is not None:
                self._writer.abandon()
        for output in self._done:
            with suppress(FileNotFoundError):
                self._fs.unlink(filenames.join(self._job.directory, output.name))

    def _new(self) -> SegmentWriter:
        job = self._job
        name = filenames.temporary(job.number, os.getpid(), len(self._done))
        path = filenames.join(job.directory, name)
        return SegmentWriter(self._fs, path, job.block_size, job.chunk_size, job.horizon)

    def _end(self, stop: bytes) -> None:
        """Finish the segment that covers up to ``stop``, if it holds anything."""
        marks = tombstones.clip(self._marks, self._start, stop)
        if self._writer is None and marks:
            self._writer = self._new()
        writer = self._writer
        if writer is None:
            return
        properties = writer.finish(marks, self._tombstone_time)
        name = writer.path.rpartition("/")[2]
        self._done.append(Output(name, writer.file_id, writer.size, properties))
        self._writer, self._start = None, stop
