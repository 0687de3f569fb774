"""Maintenance: which flush or compaction is due, prepared as a job and installed.

`Maintenance` holds no thread: background lanes, or the caller, run its steps.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from kvengine import store
from kvengine.storage import range_tombstones as tombstones
from kvengine.storage import retention
from kvengine.storage.clock import SECOND
from kvengine.storage.commit import Committer
from kvengine.storage.compaction import install, picker
from kvengine.storage.compaction.apart import set_apart
from kvengine.storage.compaction.job import Job, Output
from kvengine.storage.compaction.picker import Levels, Limits, Pick
from kvengine.storage.database import Database
from kvengine.storage.lifecycle.rotate import rotate
from kvengine.storage.manifest.format import SegmentMeta
from kvengine.storage.memtable import Memtable
from kvengine.storage.names import Name, encode_object
from kvengine.storage.range_tombstones import Tombstones
from kvengine.storage.segment.reader import LiveSegment
from kvengine.storage.version import View

Executor = Callable[[Job], list[Output]]
"""Runs a job and returns its outputs."""

_SMALL_WAL = 64 * 1024


class Maintenance:
    """Steps of background work on one database. Flush and compaction may overlap each other."""

    def __init__(self, db: Database, committer: Committer) -> None:
        self._db = db
        self._committer = committer
        self._flushing = threading.Lock()
        self._compacting = threading.Lock()
        self._noting = threading.Lock()
        options = db.options
        self.limits: Limits = Limits(
            options.l0_compact,
            options.level_base,
            options.level_ratio,
            int(options.tombstone_age * SECOND),
        )

    # --- flush

    def rotate_step(self, *, force: bool = False) -> bool:
        """Freeze the active memtable if that is due. Return whether it was frozen.

        ``force``: freeze it even if it is not due. Never waits for a flush, so that a
        memtable does not outgrow its size while the one before is being flushed.
        """
        if self._stopped():
            return False
        done = (force or self._rotation_due()) and rotate(self._db, self._committer)
        self.note_stalls()
        return done

    def flush_step(self, execute: Executor) -> bool:
        """Flush the frozen memtables. Return whether there were any."""
        with self._flushing:
            db = self._db
            if self._stopped() or not db.view.frozen:
                return False
            frozen = db.view.frozen
            job, size = self._flush_job(frozen)
            with self._noted("flush", [memtable.wal for memtable in frozen], size, 0):
                install.install_flush(db, frozen, _checked(job, execute(job)))
            self.note_stalls()
            return True

    def _rotation_due(self) -> bool:
        db = self._db
        wal, active = db.wal, db.view.active
        if wal is None or not active.states:
            return False
        if wal.end >= db.options.memtable_size:
            return True
        now = db.clock.now()
        if active.has_tombstones:
            marks = active.tombstones()
            covered = sum(
                segment.meta.size for segment in db.view.version if _covers(marks, segment)
            )
            if covered + wal.end >= picker.WORTH:
                return True
        age = now - active.first_deletion
        if active.first_deletion and (age < 0 or age >= self.limits.tombstone_age):
            return len(db.view.version.files) > 0 or wal.end > _SMALL_WAL
        first = active.first_expiry
        return first is not None and first <= self.horizon() and wal.end > _SMALL_WAL

    def _flush_job(self, frozen: tuple[Memtable, ...]) -> tuple[Job, int]:
        """Return the job that flushes ``frozen``, and the bytes of its inputs.

        ``frozen``: all frozen memtables, newest first.
        """
        db = self._db
        ends = db.catalog.wal_ends
        with db.commit_lock:
            horizon = self.horizon()
            view = db.view
            extended = _extended([m for m in view.tables if m not in frozen])
        job = self._job(
            tables=list(frozen),
            horizon=horizon,
            extended=_encoded(extended),
            older=[(segment.start, segment.stop) for segment in view.version],
        )
        return job, sum(ends[memtable.wal] for memtable in frozen)

    # --- compaction

    def compact_step(self, execute: Executor) -> bool:
        """Do the most urgent compaction. Return whether there was one."""
        with self._compacting:
            if self._stopped():
                return False
            if self._db.obsolete:
                install.sweep_obsolete(self._db)
            view, horizon, names = self._view_and_horizon()

            def extends(start: bytes, stop: bytes) -> bool:
                at = bisect_left(names, start)
                return at < len(names) and names[at] < stop

            def covered(segment: SegmentMeta) -> int:
                return _covered_bytes(view, segment)

            levels = _levels(view)
            found = picker.pick(
                levels, self.limits, self._db.clock.now(), horizon, extends, covered
            )
            if found is None:
                return False
            self._do(found, view, horizon, names, execute)
            return True

    def compact_all(self, execute: Executor, start: bytes, stop: bytes) -> None:
        """Compact everything that overlaps ``[start, stop)`` into one level."""
        with self._compacting:
            view, horizon, names = self._view_and_horizon()
            levels = _levels(view)
            found = picker.pick_all(levels, self.limits, start, stop)
            if found is not None:
                self._do(found, view, horizon, names, execute)

    def _view_and_horizon(self) -> tuple[View, int, list[bytes]]:
        """Return the view, the horizon of a compaction, and the objects that memtables extend.

        The objects are encoded and in order. All is taken under the commit lock, so after every
        commit that began before the horizon.
        """
        with self._db.commit_lock:
            view = self._db.view
            horizon = self.horizon()
            extended = _extended(view.tables)
        return view, horizon, _encoded(extended)

    def _do(
        self, found: Pick, view: View, horizon: int, extended: list[bytes], execute: Executor
    ) -> None:
        db, levels = self._db, _levels(view)
        if found.kind == "drop":
            install.install_drop(db, found.inputs)
        elif found.kind == "move":
            install.install_move(db, found.inputs[0], found.output)
        else:
            inputs = {segment.number for segment in found.inputs}
            open_ones = {segment.meta.number: segment for segment in view.version}
            above = [
                open_ones[m.number]
                for level in levels[: found.output + 1]
                for m in level
                if m.number not in inputs and m.properties.extends
            ]
            older = picker.older_than(levels, found.output, found.inputs)
            layers, apart = set_apart(
                [[open_ones[m.number] for m in layer] for layer in found.layers],
                db.options.segment_size,
                horizon,
            )
            job = self._job(
                layers=layers,
                apart=sorted(segment.start for segment in apart),
                horizon=horizon,
                extended=extended,
                newer=above,
                older=[(m.start, m.stop) for m in older],
                segment_size=db.options.segment_size,
            )
            merged = [segment.meta for layer in layers for segment in layer]
            moved = [segment.meta for segment in apart if segment.meta.level != found.output]
            size = sum(meta.size for meta in merged)
            with self._noted("compaction", sorted(inputs), size, found.output):
                outputs = _checked(job, execute(job))
                install.install_compaction(db, merged, outputs, moved, found.output)
        self.note_stalls()

    # --- shared

    @contextmanager
    def _noted(self, kind: str, inputs: Iterable[int], size: int, level: int) -> Iterator[None]:
        """Let `stats` report a job while it runs."""
        job = store.Job(kind, tuple(inputs), size, level)
        self._db.running.append(job)
        try:
            yield
        finally:
            self._db.running.remove(job)

    def _stopped(self) -> bool:
        """Return whether nothing may be written any more, after an error or a close."""
        return self._db.failed is not None or self._db.gone

    def horizon(self) -> int:
        """Return up to which expiry data may be dropped now (see retention.py)."""
        clock, grace = self._db.clock, int(self._db.options.expiry_grace * SECOND)
        return retention.drop_horizon(
            clock.now(),
            grace=grace,
            in_doubt=clock.in_doubt(grace),
            last_trusted=clock.last_trusted,
        )

    def note_stalls(self) -> None:
        """Set whether writers must wait, and why."""
        with self._noting:
            self._note_stalls()

    def _note_stalls(self) -> None:
        db = self._db
        options, view = db.options, db.view
        level_zero = len(view.version.levels[0])
        if len(view.frozen) >= options.frozen_stop:
            db.stalled = f"stop: {len(view.frozen)} frozen memtables await their flush"
        elif level_zero >= options.l0_stop:
            db.stalled = f"stop: {level_zero} segments in level 0 await compaction"
        elif level_zero >= options.l0_slow:
            db.stalled = f"slow: {level_zero} segments in level 0 await compaction"
        elif db.stalled:
            db.stalled = ""

    def pending_bytes(self) -> int:
        """Return about how many bytes flush and compaction have still to rewrite."""
        db = self._db
        frozen = sum(db.catalog.wal_ends.get(m.wal, 0) for m in db.view.frozen)
        return frozen + picker.pending_bytes(_levels(db.view), self.limits)

    def has_timed_work(self) -> bool:
        """Return whether work may become due as time passes: there are deletions or expiries."""
        view = self._db.view
        if self._db.obsolete:
            return True
        if any(m.first_deletion or m.first_expiry is not None for m in view.tables):
            return True
        return any(
            p.tombstone_time is not None or p.half_expiry is not None or p.last_expiry is not None
            for p in (segment.properties for segment in view.version)
        )

    def _job(
        self,
        *,
        horizon: int,
        extended: list[bytes],
        older: list[tuple[bytes, bytes]],
        tables: list[Memtable] | None = None,
        layers: list[list[LiveSegment]] | None = None,
        newer: list[LiveSegment] | None = None,
        apart: list[bytes] | None = None,
        segment_size: int = 0,
    ) -> Job:
        db = self._db
        with db.install_lock:
            number = db.allocate_number()
        return Job(
            directory=db.directory,
            number=number,
            seed=db.view.version.seed,
            tables=tables or [],
            layers=layers or [],
            horizon=horizon,
            extended=frozenset(extended),
            newer=newer or [],
            older=older,
            apart=apart or [],
            segment_size=segment_size,
            block_size=db.catalog.shape.block_size,
            chunk_size=db.catalog.shape.chunk_size,
        )


def _checked(job: Job, outputs: list[Output]) -> list[Output]:
    """Return the outputs of a job. Raise OSError if they are of another, which must not be used."""
    for output in outputs:
        if output.number != job.number:
            raise OSError(f"output {output.name} is of job {output.number}, not {job.number}")
    return outputs


def _extended(memtables: Iterable[Memtable]) -> set[Name]:
    """Return the objects whose expiry a memtable extends.

    It does no more, since it is called under the commit lock.
    """
    return set[Name]().union(*(memtable.extended for memtable in memtables))


def _encoded(found: set[Name]) -> list[bytes]:
    return sorted(encode_object(*name) for name in found)


def _covers(marks: Tombstones, segment: LiveSegment) -> bool:
    return tombstones.cover_range(marks, segment.start, segment.stop)


def _covered_bytes(view: View, chosen: SegmentMeta) -> int:
    """Return the bytes of the older segments that the tombstones of a segment cover in whole."""
    order = list(view.version)
    at = next(i for i, segment in enumerate(order) if segment.meta.number == chosen.number)
    marks = order[at].tombstones
    return sum(segment.meta.size for segment in order[at + 1 :] if _covers(marks, segment))


def _levels(view: View) -> Levels:
    return [[segment.meta for segment in level] for level in view.version.levels]
