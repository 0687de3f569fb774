"""The embedded engine: a facade. Reads are its `LiveReader`, writes its `LiveWriter`; every other
verb is one call down.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial

from kvengine.closing import Closing, public_names
from kvengine.errors import CorruptionError, DatabaseClosed
from kvengine.fs.base import FileSystem
from kvengine.fs.paths import check_path
from kvengine.objects.sessions.host import Host
from kvengine.objects.verbs import ObjectVerbs
from kvengine.options import Durability, Options
from kvengine.serdes.registry import Serdes
from kvengine.share import live_access
from kvengine.share.holdings import Reclaiming
from kvengine.share.server import Server
from kvengine.snapshot import Snapshot
from kvengine.storage import feed, statistics
from kvengine.storage.batch import Batch
from kvengine.storage.compaction import install
from kvengine.storage.compaction.schedule import Scheduler
from kvengine.storage.database import Database
from kvengine.storage.estimate import estimate, segments
from kvengine.storage.held import hold
from kvengine.storage.lifecycle.close import close, forked
from kvengine.storage.lifecycle.recover import open_owned, open_read_only
from kvengine.storage.lifecycle.refresh import refresh
from kvengine.storage.machine import Lock
from kvengine.storage.moment import open_moment
from kvengine.storage.names import END, MAX_NAME, Name, check_name, prefix_range, service_range
from kvengine.storage.repair.verify import verify
from kvengine.storage.state import Commit
from kvengine.storage.times import DAY, retention_time
from kvengine.storage.writer import LiveWriter
from kvengine.store import Estimate, Limits, SegmentStats, Stats
from kvengine.watch import Watch

log: logging.Logger = logging.getLogger("kvengine")

_PATIENCE = 2.0
"""Seconds that the thread which collects a forgotten engine waits for its close, at most."""

_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


class Engine(LiveWriter, ObjectVerbs, Closing):
    """The embedded Store: durable objects in one directory, owned by one process.

    Made by `kvengine.open`. Thread-safe. A context manager; `close` is
    idempotent. Leaving the interpreter without it loses nothing that was
    returned (with durability "os": unless power is lost too).
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        options: Options,
        fs: FileSystem,
        reclaiming: Reclaiming | None = None,
    ) -> None:
        """``reclaiming``: who had objects in sessions before, when this owner takes over."""
        serdes = Serdes(options.serde, options.serdes)
        directory = os.path.abspath(os.fspath(path)) if fs.local else os.fspath(path)
        opened = open_read_only if options.read_only else open_owned
        super().__init__(opened(fs, directory, options))
        self._closing = Lock()
        self._is_closed = False
        self._scheduler = Scheduler(self._db)
        self._committer = self._scheduler.committer
        self._maintenance = self._scheduler.maintenance
        self._access: Server | None = None
        self._forgotten: weakref.finalize[..., Engine] | None = None
        try:
            self._host = Host(
                self,
                serdes,
                max_value_size=options.max_value_size,
                retention_of=self._db.retention_of,
                reader=self,
                hold=partial(hold, self._db),
                committer=self._committer,
            )
            if not options.read_only:
                self._maintenance.note_stalls()
                self._scheduler.wake_lanes()
                self._access = live_access.serve(self, self._db, reclaiming)
                self._forgotten = weakref.finalize(
                    self, _close_forgotten, self._db, self._scheduler, self._access
                )
                self._forgotten.atexit = False  # at the end of the interpreter nothing is lost
            self._db.owner = weakref.ref(self)
            _engines.add(self)
        except BaseException:
            self.close()
            raise

    @property
    def path(self) -> str:
        """Return the absolute path of the directory."""
        return self._db.directory

    @property
    def options(self) -> Options:
        """Return the options that the engine was opened with."""
        return self._db.options

    # --- writing: the verbs are those of `LiveWriter`

    def _may_wait(self, durability: Durability | None = None) -> bool:
        """Return whether a commit made now may wait for a sync, back-pressure or work in place."""
        durable = (durability or self._db.options.durability) == "sync"
        return durable or bool(self._db.pending) or not self._may_begin()

    def _may_begin(self) -> bool:
        """Return whether `_begin_write` would return at once now."""
        return not self._db.stalled and self._db.options.background != "none"

    def _begin_write(
        self, batch: Batch, *, expect: Mapping[Name, int] | None = None
    ) -> Commit | None:
        """Begin a commit with durability "sync"; return None if there is nothing to write.

        For callers that must not wait for the sync. The commit has its place in the log
        and its stamp. It is durable and visible after `_finish_write`, which some thread
        must call.
        """
        return self._committer.begin(batch, expect)

    def _finish_write(self, commit: Commit) -> int:
        """Wait until a commit that was begun is durable and visible, and return its stamp."""
        self._committer.sync(commit)
        return commit.stamp

    # --- the whole

    @property
    def limits(self) -> Limits:
        """Return the largest names, values and commits that this store takes."""
        options = self._db.options
        return Limits(MAX_NAME, 3 * MAX_NAME, options.max_value_size, options.max_commit_size)

    def snapshot(self) -> Snapshot:
        """Return a snapshot of the store as of now, which has all read verbs."""
        return Snapshot(open_moment(self._db), self._release_files)

    def watch(self, service: str, key: str | None = None, *, prefix: str = "") -> Watch:
        """Return the changes to come, as they become visible: an iterator that waits for each.

        It covers all objects of a service, those whose key starts with ``prefix``, or the one
        ``key``. It reports commits made after this call, in order, once for each object; after an
        interrupt a change may be reported twice. An expiry is not a commit, so it is not reported.
        Writers never wait for a watch: one that falls 10,000 changes behind drops them and reports
        a single change with ``gap=True``.
        """
        return Watch(self, partial(feed.begin, self._db, service, key, prefix))

    def retention(self, service: str) -> timedelta:
        """Return how long workflows of a service are kept once they are complete.

        This is the value stored with the database, or one day if none is set.
        """
        self._db.view.check_open()
        kept = self._db.retention_of(check_name("service", service))
        return timedelta(microseconds=DAY if kept is None else kept)

    def retentions(self) -> dict[str, timedelta]:
        """Return the retentions that are stored with the database, by service."""
        self._db.view.check_open()
        stored = sorted(self._db.catalog.retention.items())
        return {service: timedelta(microseconds=kept) for service, kept in stored}

    def set_retention(self, service: str, retention: float | timedelta) -> None:
        """Store how long workflows of a service are kept once they are complete.

        ``retention``: seconds or a timedelta. It counts for handles made from now on. Workflows
        that are already complete keep the retention they completed with.
        """
        name, kept = check_name("service", service), retention_time(retention)
        self._db.check_writable()
        self._scheduler.set_retention(name, kept)

    def flush(self) -> None:
        """Write the memtable to a segment; return when it is on disk."""
        self._db.check_writable()
        self._scheduler.flush()

    def compact(self, service: str | None = None) -> None:
        """Rewrite all segments, or those of a service, without what is dead.

        Return when it is done.
        """
        self._db.check_writable()
        start, stop = (
            (b"", END) if service is None else service_range(check_name("service", service))
        )
        self._scheduler.compact(start, stop)

    def checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Copy the database as of now to ``path``, by hard links where the file system has them.

        The copy is a database of its own. ``path`` must be absent or an empty directory.
        """
        name = check_path("path", path)
        target = os.path.abspath(name) if self._db.fs.local else name
        self._db.check_writable()
        self._scheduler.checkpoint(target)

    def verify(self) -> list[CorruptionError]:
        """Read all segments, sealed WALs and the manifest, and return the damage found.

        An empty list means that there is none. The WAL that commits go to is not read.
        """
        return verify(self._db)

    def estimate(self, service: str, *, prefix: str = "") -> Estimate:
        """Estimate how many objects of a service have a prefix, and how many bytes they take.

        `Estimate` tells how far off it may be; `count` is exact, but walks over every object. An
        estimate reads at most 258 blocks of each segment that the range covers in part, and none of
        the others. Raise CorruptionError if one of these blocks is damaged.
        """
        check_name("service", service)
        return estimate(self._db, prefix_range(service, check_name("prefix", prefix)))

    def segments(self) -> tuple[SegmentStats, ...]:
        """Return the segments, newest layer first."""
        return segments(self._db)

    def refresh(self) -> bool:
        """Show what the owner has committed since; return whether there was anything new.

        For a database opened with ``read_only=True``; the owner itself has nothing to do.
        Snapshots and iterators stay where they were.
        """
        return self._db.lock is None and refresh(self._db)

    def stats(self) -> Stats:
        """Return the figures of this moment."""
        return statistics.collect(self._db, self._maintenance)

    def _release_files(self) -> None:
        """Remove files that no open snapshot names any more. Called when one closes."""
        if self._db.obsolete and not self._is_closed:
            try:
                install.sweep_obsolete(self._db)
            except (OSError, DatabaseClosed) as error:  # no concern of whoever closes a snapshot
                self._db.counters.note_error(error)

    def close(self) -> None:
        """Make everything durable and let go of the directory. May be called again.

        Raise KVEngineError inside a commit of this thread, where a signal handler or a finalizer
        may call it. At the end of the interpreter it does nothing: other threads have ended in the
        midst of anything, and the directory is left as by kill -9.
        """
        if self._closing.mine() or sys.is_finalizing():
            return
        self._db.refuse_inside_work()
        with self._closing:
            if self._is_closed:
                return
            self._expect_no_more()
            try:
                _close(self._db, self._scheduler, self._access)
            finally:
                self._is_closed = True

    def __dir__(self) -> list[str]:
        return public_names(self)

    def __repr__(self) -> str:
        return f"<kvengine.Engine {self._db.directory!r}>"

    def _expect_no_more(self) -> None:
        if self._forgotten is not None:
            self._forgotten.detach()

    def _after_fork(self) -> None:
        self._expect_no_more()
        self._is_closed = True
        self._closing = Lock()
        if self._access is not None:
            self._access.abandon()
        self._host.forget_turns()
        forked(self._db)


def _close(db: Database, scheduler: Scheduler, access: Server | None) -> None:
    try:
        if access is not None:
            access.stop()
        scheduler.close()
    finally:
        close(db, scheduler.committer)


def _close_forgotten(db: Database, scheduler: Scheduler, access: Server | None) -> None:
    """Close the database of an engine that was collected."""
    close_forgotten(f"an Engine of {db.directory}", partial(_close, db, scheduler, access))


def close_forgotten(what: str, close: Callable[[], object]) -> None:
    """Close what nobody closed before it was collected, so that its directory is free again.

    In a thread of its own: the collector may run in any thread, one of this very database's among
    them, and with any lock taken. Warn of ``what`` it was.
    """
    failed: list[Exception] = []

    def work() -> None:
        try:
            close()
        except Exception as error:
            failed.append(error)

    try:
        thread = threading.Thread(target=work, name="kvengine-close", daemon=True)
        thread.start()
        if not threading.current_thread().name.startswith("kvengine"):
            thread.join(_PATIENCE)
        if failed:
            log.warning("%s was forgotten, and not closed well: %s", what, failed[0])
    finally:
        warnings.warn(
            f"{what} was forgotten: close it, or use it in a `with` block",
            ResourceWarning,
            stacklevel=2,
        )


def _in_child() -> None:
    for engine in list(_engines):
        engine._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
