"""When background work runs, and on which thread: in lanes, so that none delays another."""

from __future__ import annotations

import sys
import threading
import time
from _thread import start_new_thread
from collections.abc import Callable
from queue import Empty, SimpleQueue

from kvengine.errors import DatabaseClosed, KVEngineError
from kvengine.storage.commit import Committer
from kvengine.storage.compaction import install
from kvengine.storage.compaction.job import Abandoned, Job, Output
from kvengine.storage.compaction.maintenance import Executor, Maintenance
from kvengine.storage.compaction.run import run
from kvengine.storage.database import Database
from kvengine.storage.lifecycle.checkpoint import checkpoint

_POLL_SECONDS = 0.5
_BACKOFF_SECONDS = (0.05, 0.2, 1.0, 5.0, 30.0)


class Lane:
    """A thread that repeats a step whenever it is woken, and now and then for work due by time.

    A step that fails is reported in `stats` and tried again, after longer and longer pauses. Waking
    is one call in C: a signal inside `Event.set` would leave the event's lock locked for good.
    """

    def __init__(
        self, name: str, db: Database, maintenance: Maintenance, step: Callable[[Executor], bool]
    ) -> None:
        self._db = db
        self._maintenance = maintenance
        self._step = step
        self._closing = False
        self._woken: SimpleQueue[None] = SimpleQueue()
        self.after: Callable[[], None] | None = None
        self._name = f"kvengine-{name}"
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def wake(self) -> None:
        """Let the thread look for work, and start it if it does not run yet.

        If the system cannot start a thread, `stats` says so, and the next call tries again.
        """
        if self._thread is None and not self._closing:
            self._start()
        if self._woken.empty():
            self._woken.put(None)

    def _start(self) -> None:
        if self._starting.locked():
            return  # another thread does it; `acquire(blocking=False)` would leak at an interrupt
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:
                    self._db.counters.note_error(error)
                else:
                    self._thread = thread

    def close(self) -> None:
        """Stop, abandoning a running job, and wait for the thread."""
        self._closing = True
        self._woken.put(None)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def execute(self, job: Job) -> list[Output]:
        """Run a job and return its outputs. Raise `Abandoned` if the lane is closed meanwhile."""
        return run(self._db.fs, job, lambda: not self._closing)

    def _is_closing(self) -> bool:
        return self._closing

    def _run(self) -> None:
        failures = 0
        while not self._is_closing():
            try:
                while not self._is_closing() and self._step(self.execute):
                    failures = 0
                    if self.after is not None:
                        self.after()
                failures = 0
                pause = _POLL_SECONDS if self._maintenance.has_timed_work() else None
            except (Abandoned, DatabaseClosed):
                return
            except Exception as error:
                if self._is_closing():
                    return
                self._db.counters.note_error(error)
                time.sleep(_BACKOFF_SECONDS[0])  # each commit wakes this lane while work is due
                self._rest(_BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)])
                failures += 1
                continue
            self._rest(pause)

    def _rest(self, seconds: float | None) -> None:
        """Wait until woken, at most ``seconds``."""
        try:
            self._woken.get(timeout=seconds)
            while True:
                self._woken.get_nowait()
        except Empty:
            pass


class Scheduler:
    """Background work of one open database, in three lanes; without them the caller does it.

    Rotation, which commits wait for, never waits for a flush, and a flush never for a compaction.
    ``committer`` and ``maintenance`` are of that database. Nothing here refers to its engine, so
    that one which nobody else refers to is collected although the threads of the lanes run.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self.committer: Committer = Committer(db, self.wake)
        maintenance = Maintenance(db, self.committer)
        self.maintenance: Maintenance = maintenance
        self._lanes: tuple[Lane, ...] = ()
        self._by_caller = threading.Lock()
        self._closing = False
        if db.options.background != "none":
            flush = Lane("flush", db, maintenance, maintenance.flush_step)
            compact = Lane("compact", db, maintenance, maintenance.compact_step)
            rotate = Lane("rotate", db, maintenance, lambda _: maintenance.rotate_step())
            rotate.after, flush.after = flush.wake, compact.wake
            self._lanes = (flush, compact, rotate)

    def wake(self) -> None:
        """Start the work that may be due, or do it here if there are no lanes.

        A failure is reported in `stats`, and not raised, since the commit that woke us is done.
        """
        if self._lanes:
            # While a writer waits, all lanes are woken, so that failed work is tried again.
            for lane in self._lanes if self._db.stalled else self._lanes[-1:]:
                lane.wake()
        elif not self._closing:
            try:
                self._run_apart(self._reported_steps)
            except Exception as error:  # no thread could be started: the next commit tries again
                self._db.counters.note_error(error)

    def flush(self) -> None:
        """Flush everything committed so far. Return when it is done."""
        self._run_apart(self._flush_all)
        self.wake_lanes()

    def checkpoint(self, path: str) -> None:
        """Copy the database as of now to ``path``. Return when it is done."""
        self._run_apart(lambda: checkpoint(self._db, self.committer, path))
        self.wake_lanes()

    def set_retention(self, service: str, kept: int) -> None:
        """Store how long completed workflows of a service are kept, in microseconds."""
        self._run_apart(lambda: install.install_retention(self._db, service, kept))

    def compact(self, start: bytes, stop: bytes) -> None:
        """Flush, then compact all that overlaps ``[start, stop)``. Return when it is done."""
        self.flush()
        self._run_apart(lambda: self.maintenance.compact_all(self._execute, start, stop))
        self.wake_lanes()

    def wake_lanes(self) -> None:
        """Let every lane look for work. The first call starts them."""
        for lane in self._lanes:
            lane.wake()

    def close(self) -> None:
        """Stop all work, also that which callers wait for. None is left when this returns."""
        self._closing = True
        for lane in self._lanes:
            lane.close()
        with self._by_caller:
            pass

    def _execute(self, job: Job) -> list[Output]:
        return run(self._db.fs, job, lambda: not self._closing)

    def _flush_all(self) -> None:
        self.maintenance.rotate_step(force=True)
        self.maintenance.flush_step(self._execute)

    def _all_steps(self) -> None:
        self.maintenance.rotate_step()
        while self.maintenance.flush_step(self._execute):
            pass
        while self.maintenance.compact_step(self._execute):
            pass

    def _reported_steps(self) -> None:
        try:
            self._all_steps()
        except Exception as error:
            self._db.counters.note_error(error)

    def _run_apart(self, work: Callable[[], object]) -> None:
        """Run ``work`` on a thread of its own, and wait for it.

        Signals interrupt the waiting caller, never the work, so that a change of the set of files
        is never left half done. They cannot leave a lock locked here, as they could inside
        `threading.Thread.start`.
        """
        self._db.refuse_inside_work()
        if sys.is_finalizing():
            raise KVEngineError("the interpreter is about to end: nothing runs in the background")
        outcome: SimpleQueue[BaseException | None] = SimpleQueue()

        def guarded() -> None:
            try:
                with self._by_caller:
                    if self._closing:
                        raise Abandoned
                    work()
            except BaseException as error:
                outcome.put(error)
            else:
                outcome.put(None)

        start_new_thread(guarded, ())
        error = outcome.get()
        if isinstance(error, Abandoned):
            raise DatabaseClosed(f"{self._db.directory} was closed meanwhile")
        if error is not None:
            raise error
