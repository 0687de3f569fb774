"""Running a job: from immutable layers to segment files. Pure, apart from the files it writes.

Steps: (1) take the inputs; segments that newer tombstones cover whole are not read. (2) Walk them
in order, overlay the rows of each object, keep what retention lets stay (rewrite.py). (3) Start a
new segment where one is large enough, always between objects, and around a row that fills one by
itself (apart.py). Tombstones are clipped to each segment's range, and dropped if nothing older lies
beneath. Outputs have temporary names: a crash leaves files that the next open removes.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from kvengine.fs.base import FileSystem
from kvengine.storage import filenames, names, range_tombstones
from kvengine.storage.compaction.apart import is_huge
from kvengine.storage.compaction.job import Job, Layer, Output
from kvengine.storage.compaction.rewrite import rewrite
from kvengine.storage.range_tombstones import Tombstones
from kvengine.storage.read import Piece
from kvengine.storage.retention import retain
from kvengine.storage.row import Row, encode, in_order, is_sorted, overlay_all
from kvengine.storage.segment.filter import barrier_digest, object_digest
from kvengine.storage.segment.writer import SegmentWriter


def run(fs: FileSystem, job: Job, wanted: Callable[[], bool]) -> list[Output]:
    """Return the outputs of a job, possibly none.

    ``wanted`` is asked now and then whether to go on. If it says no, `Abandoned` is raised.
    """
    layers = _layers(job)
    marks: Tombstones = ()
    for layer in layers:
        marks = range_tombstones.union(layer.tombstones, marks)
    outputs = Outputs(fs, job, _above(marks, job.older), _tombstone_time(job))
    try:
        rewrite(layers, Policy(job), outputs, wanted)
        return outputs.finish()
    except BaseException:
        outputs.abandon()
        raise


def _layers(job: Job) -> list[Layer]:
    """Return the layers to overlay, newest first."""
    layers = [Layer(table, [], table.tombstones()) for table in job.tables]
    above: Tombstones = ()
    for segments in job.layers:
        read = [
            segment
            for segment in segments
            if not range_tombstones.cover_range(above, segment.start, segment.stop)
        ]
        marks = tuple(fragment for segment in read for fragment in segment.tombstones)
        layers.append(Layer(None, read, marks))
        above = range_tombstones.union(above, marks)
    return layers


def _tombstone_time(job: Job) -> int | None:
    """Return when the oldest deletion in the inputs was written, None if there is none."""
    times = [table.first_deletion for table in job.tables if table.first_deletion]
    for segments in job.layers:
        times += [t for s in segments if (t := s.properties.tombstone_time) is not None]
    return min(times, default=None)


def _above(marks: Tombstones, older: list[tuple[bytes, bytes]]) -> Tombstones:
    """Return the tombstones that still have something older to hide."""
    return tuple(
        mark for mark in marks if any(start < mark[1] and mark[0] < stop for start, stop in older)
    )


class Policy:
    """Decides what stays of each object: it tells `retain` what lies above and beneath."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.beneath: list[tuple[bytes, bytes]] = _joined(job.older)
        self._starts = [start for start, _ in self.beneath]

    def retained(self, name: bytes, pieces: Sequence[Piece]) -> tuple[Row | None, bytes | None]:
        """Return what is left of an object, and its bytes if they have not changed, else None."""
        newest = pieces[0]
        row = newest.load()
        encoded: bytes | None = newest.row
        if len(pieces) > 1:
            row, encoded = overlay_all([row, *(piece.load() for piece in pieces[1:])]), None
        if not is_sorted(row.entries):
            row, encoded = _in_order(row), None
        if row.chunks is None and newest.row[1] != row.flags:
            encoded = None
        extended = False
        if row.expires_at is not None and row.expires_at <= self.job.horizon:
            extended = self._is_extended(name)
        kept = retain(row, self.job.horizon, extended=extended, bottom=not self._older(name))
        return kept, encoded if kept is row else None

    def _is_extended(self, name: bytes) -> bool:
        """Return whether a newer layer extends the object's expiry."""
        job = self.job
        if name in job.extended:
            return True
        barrier = barrier_digest(object_digest(name, job.seed))
        for segment in job.newer:
            if segment.start <= name < segment.stop and segment.may_hold(barrier):
                row = segment.find(name)
                if row is not None and segment.decode(row, name).extends:
                    return True
        return False

    def _older(self, name: bytes) -> bool:
        at = bisect_right(self._starts, name) - 1
        return at >= 0 and name < self.beneath[at][1]


def _in_order(row: Row) -> Row:
    """Return ``row`` with its entries in key order, as in segments."""
    entries = in_order(row.entries)
    return Row(row.flags, row.version, row.expires_at, entries, row.completed_at)


def _joined(ranges: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    out: list[tuple[bytes, bytes]] = []
    for start, stop in sorted(ranges):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(stop, out[-1][1]))
        else:
            out.append((start, stop))
    return out


class Outputs:
    """The segments being written. They are cut by size, between objects."""

    def __init__(
        self, fs: FileSystem, job: Job, marks: Tombstones, tombstone_time: int | None
    ) -> None:
        self._fs, self._job = fs, job
        self._marks, self._tombstone_time = marks, tombstone_time
        self.writer: SegmentWriter | None = None
        self._start = b""
        self.apart: deque[bytes] = deque(job.apart)
        self._done: list[Output] = []

    def add(self, name: bytes, row: Row, encoded: bytes | None) -> None:
        size = self._job.segment_size
        if encoded is None:
            encoded = encode(row)
        while self.apart and self.apart[0] < name:
            self._end(self.apart.popleft())
        if is_huge(len(encoded), size) or (
            self.writer is not None and 0 < size <= self.writer.size
        ):
            self._end(name)
        if self.writer is None:
            self.writer = self._new()
        self.writer.add(name, row, encoded)

    def finish(self) -> list[Output]:
        for name in self.apart:
            self._end(name)
        self._end(names.END)
        return self._done

    def abandon(self) -> None:
        with suppress(FileNotFoundError):  # a new owner of the directory may have swept them
            if self.writer is not None:
                self.writer.abandon()
        for output in self._done:
            with suppress(FileNotFoundError):
                self._fs.unlink(filenames.join(self._job.directory, output.name))

    def _new(self) -> SegmentWriter:
        job = self._job
        name = filenames.temporary(job.number, os.getpid(), len(self._done))
        path = filenames.join(job.directory, name)
        return SegmentWriter(self._fs, path, job.block_size, job.chunk_size, job.seed, job.horizon)

    def _end(self, stop: bytes) -> None:
        """Finish the segment that covers the range up to ``stop``, if it is not empty."""
        marks = range_tombstones.clip(self._marks, self._start, stop)
        if self.writer is None and marks:
            self.writer = self._new()
        writer = self.writer
        if writer is None:
            return
        properties = writer.finish(marks, self._tombstone_time)
        name = writer.path.rpartition("/")[2]
        self._done.append(Output(self._job.number, name, writer.file_id, writer.size, properties))
        self.writer, self._start = None, stop
