"""Commit: a batch becomes one record of the log, then visible, in log order.

Steps, and what a crash or an interrupt after each leaves:

1. Under the commit lock: take now and a stamp (now, or the last plus one, so
   stamps only ever grow); check what the caller expects; resolve the verbs to
   rows against every commit before this one, visible or not. Nothing has happened.
2. Append the record to the WAL. The file's position says whether it is there;
   if it is, the commit will become visible, whatever interrupts this thread.
3. Stage the new states. A commit with durability "os", with none pending
   before it, is published here by one dict update.
4. "sync": a leader syncs the log once for all that wait, then publishes them
   in log order. A failed sync is never retried: writes are refused until reopen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from threading import get_ident
from typing import NoReturn

from kvengine.errors import (
    KVEngineError,
    ValueTooLarge,
    VersionConflict,
    WriteFailed,
    is_io_error,
)
from kvengine.options import Durability
from kvengine.storage import read
from kvengine.storage.back_pressure import BackPressure
from kvengine.storage.batch import Batch, Operation, check_expect
from kvengine.storage.before import Before
from kvengine.storage.cache import footprint
from kvengine.storage.database import Commit, Database
from kvengine.storage.memtable import SMALL_ROW, TOMBSTONES, Memtable, State
from kvengine.storage.names import Name
from kvengine.storage.row import Resolved, Row, extend
from kvengine.storage.stage import stage
from kvengine.storage.wal.file import WalWriter
from kvengine.storage.wal.format import Commit as Record
from kvengine.storage.wal.format import encode_commit

_MOMENT = 0.05


class Committer:
    """Commits batches to one database. ``maintain`` is told when the memtable is full."""

    def __init__(self, db: Database, maintain: Callable[[], None]) -> None:
        self._db = db
        self._maintain = maintain
        self._begun: Commit | tuple[Name, State, Memtable, int] | None = None
        """The commit whose record is being written; or what makes one, of one object."""
        self._before = Before(db)
        self._pressure = BackPressure(db, maintain)

    def write(
        self,
        batch: Batch,
        *,
        expect: Mapping[Name, int] | None = None,
        durability: Durability | None = None,
    ) -> int:
        """`Store.write`: one commit of a batch, which is then written."""
        self._check(batch, expect)
        stamp, _ = self.commit(batch.operations, expect, durability)
        batch.close(stamp)
        return stamp

    def begin(self, batch: Batch, expect: Mapping[Name, int] | None) -> Commit | None:
        """A batch into the log, as "sync", without waiting for the sync; None: nothing to write.

        Its place in the order of commits is settled. It is durable and visible
        after `sync`, which somebody owes those that come behind it.
        """
        self._check(batch, expect)
        self._db.refuse_nested()
        try:
            commit, _ = self._log_alone(batch.operations, expect, "sync")
        except VersionConflict:
            self._show_pending()
            raise
        except KVEngineError:
            raise
        except BaseException:
            self._complete()
            raise
        batch.close(commit.stamp if commit is not None else self._db.published)
        if commit is not None:
            self._follow(commit)
        return commit

    def _check(self, batch: Batch, expect: Mapping[Name, int] | None) -> None:
        if not isinstance(batch, Batch):
            raise TypeError(f"batch must be a kvengine.Batch, not {type(batch).__name__}")
        if expect is not None:
            check_expect(expect)
        batch.check_open()
        batch.check_values(self._db.options.max_value_size)

    def commit(
        self,
        operations: Sequence[Operation],
        expect: Mapping[Name, int] | None = None,
        durability: Durability | None = None,
    ) -> tuple[int, bool]:
        """The stamp, and whether the last `expire` among the operations found its object."""
        db = self._db
        if durability is None:
            durability = db.options.durability
        elif durability not in ("sync", "os"):
            raise ValueError(f"durability must be 'sync' or 'os', not {durability!r}")
        db.refuse_nested()
        if db.stalled:
            self._pressure.wait()
        try:
            commit, found = self._log_alone(operations, expect, durability)
            if commit is None:
                return db.published, found
            if not commit.published:
                self.sync(commit)
        except VersionConflict:
            self._show_pending()
            raise
        except KVEngineError:
            raise  # nothing was begun, or writes have stopped for good
        except BaseException:
            self._complete()
            raise
        self._follow(commit)
        return commit.stamp, found

    def _show_pending(self) -> None:
        """After a conflict: it may be with a commit that nobody sees yet, and nobody syncs.

        Whoever reads again and retries must find it. Where somebody syncs just now, that
        may do, and a conflict need not wait for it.
        """
        db = self._db
        if db.pending and db.failed is None and not db.sync_lock.locked():
            self.sync()

    def _log_alone(
        self,
        operations: Sequence[Operation],
        expect: Mapping[Name, int] | None,
        durability: Durability,
    ) -> tuple[Commit | None, bool]:
        """Steps 1 to 3, under the commit lock."""
        db = self._db
        with db.commit_lock:
            db.committing = get_ident()
            try:
                return self._log(operations, expect, durability)
            finally:
                db.committing = 0

    def _follow(self, commit: Commit) -> None:
        """See to the work that a commit makes due."""
        memtable = commit.memtable
        if (
            commit.end >= self._db.options.memtable_size
            or (memtable.timed and not memtable.announced)
            or TOMBSTONES in commit.states
        ):
            self._ask(memtable, commit.end)

    def _ask(self, memtable: Memtable, end: int) -> None:
        """For the work that a commit up to ``end`` of the log makes due."""
        memtable.announced = memtable.timed
        self._maintain()
        self._pressure.note(end)

    def _log(
        self,
        operations: Sequence[Operation],
        expect: Mapping[Name, int] | None,
        durability: Durability,
    ) -> tuple[Commit | None, bool]:
        """Steps 1 to 3. None where there is nothing to write."""
        db = self._db
        if self._begun is not None:
            self.settle()
        wal, view = db.wal, db.view
        if db.failed is not None or wal is None:
            db.check_writable()
        active = view.active
        assert wal is not None
        now = db.clock.now()
        if expect:
            self._before.check(expect, now)
        stamp = max(now, db.last_stamp + 1)
        rows, ranges, found = self._before.resolve(operations, now, stamp)
        if not rows and not ranges:
            return None, found
        known = now if stamp > now else 0
        record = Record(stamp, [(*name, row) for name, row in rows], ranges, known)
        payload = encode_commit(record)
        if len(payload) > db.options.max_commit_size:
            raise ValueTooLarge(
                f"commit is {len(payload):,} bytes,"
                f" over max_commit_size {db.options.max_commit_size:,}"
            )
        states = stage(active, db.staged, rows, ranges, stamp, now, self._full)
        commit = Commit(stamp, states, active, wal.end)
        if durability == "sync" or db.pending:
            commit.must_wait()
        self._append(commit, payload, wal)
        return commit, found

    def _append(self, commit: Commit, payload: bytes, wal: WalWriter) -> None:
        """Steps 2 and 3."""
        self._begun = commit
        try:
            self._land(commit, wal.append(payload))
        except BaseException as error:
            self._broken_off(error, wal)

    def _broken_off(self, error: BaseException, wal: WalWriter) -> NoReturn:
        """An exception within `_append` goes on, once it is known what it left."""
        if not is_io_error(error):
            self.settle()
            raise error
        self._begun = None
        wal.discard()
        self._db.fail(error)
        raise WriteFailed(f"writing {wal.path} failed: {error}") from error

    def _land(self, commit: Commit, end: int) -> None:
        """The record is in the log: stage its states, and publish them unless they must wait."""
        db = self._db
        commit.end = end
        db.last_stamp = commit.stamp
        if commit.waiter is not None:
            db.staged.update(commit.states)
            db.pending.append(commit)
        else:
            self._publish(commit)
        self._begun = None

    def settle(self) -> None:
        """After an interrupt in `_log`: all of the commit or nothing. Under the commit lock."""
        db = self._db
        if self._begun is None or db.wal is None:
            return
        commit = self._begun
        if isinstance(commit, tuple):
            name, state, memtable, start = commit
            commit = Commit(state.version, {name: state}, memtable, start)
        try:
            db.wal.settle()
        except OSError as error:
            self._begun = None
            db.fail(error)
            return
        if db.wal.end > commit.start and not commit.published and commit not in db.pending:
            self._land(commit, db.wal.end)
        self._begun = None

    def _complete(self) -> None:
        """After an interrupt: what is in the log becomes durable and visible, then it goes on."""
        with self._db.commit_lock:
            self.settle()
        if self._db.pending and self._db.failed is None:
            self.sync()

    def _publish(self, commit: Commit) -> None:
        db = self._db
        commit.memtable.publish(commit.states, db.snapshots.newest, db.snapshots.oldest)
        db.published = commit.stamp
        commit.published = True
        if commit.waiter is not None:
            commit.wake()
        db.counters.commits += 1

    # --- step 3

    def _full(self, name: Name, row: Row, base: State | None) -> Resolved | None:
        """The whole object after this commit, where it was known before and is small.

        Not over one with an expiry of which the row says nothing: had the commit
        seen it, the row would state it in full.
        """
        full = base.full if base is not None else self._below(name)
        if full is None or len(full.entries) > SMALL_ROW:
            return None
        if full.expires_at is not None and row.expires_at is None and not row.extends:
            return None
        if base is None:
            self._db.view.active.memo_bytes += footprint(full)
        return extend(full, row)

    def _below(self, name: Name) -> Resolved | None:
        """The whole object where lower layers hold it and the memtable may remember it."""
        db = self._db
        view, cache = db.view, db.cache
        if view.active.memo_bytes * 2 > cache.capacity:
            return None
        return read.remembered(view, cache, name)

    # --- step 4

    def sync(self, commit: Commit | None = None) -> None:
        """Sync the log and publish all that waited for it (or until ``commit`` is).

        One thread leads and syncs for all that came before; the others wait for
        their own commit, not for the lock: those that a sync has published do not
        queue behind the next one. A leader that is interrupted wakes nobody, so
        nobody waits for longer than a moment without looking again.
        """
        db = self._db
        while commit is not None and not commit.published and db.sync_lock.locked():
            if db.failed is not None:
                break
            commit.wait(_MOMENT)
        if commit is not None and commit.published:
            return
        with db.sync_lock:
            if commit is None or not commit.published:
                self._lead()
        with suppress(IndexError):
            db.pending[0].wake()  # the next to lead

    def _lead(self) -> None:
        """Sync once, and publish what that made durable. Under the sync lock."""
        db = self._db
        if db.failed is not None:
            raise WriteFailed(f"an I/O error stopped writes: {db.failed}") from db.failed
        wal = db.wal
        if wal is None:
            return
        db.syncing = get_ident()
        try:
            wal.sync()
        except OSError as error:
            if not is_io_error(error):
                raise
            self._give_up(error)
            raise WriteFailed(f"syncing {wal.path} failed: {error}") from error
        finally:
            db.syncing = 0
        db.counters.syncs += 1
        with db.commit_lock:
            self.publish_synced(wal)

    def publish_synced(self, wal: WalWriter) -> None:
        """Publish pending commits below the synced end of the log. Under the commit lock."""
        db = self._db
        if self._begun is not None:
            self.settle()
        while db.pending and db.pending[0].end <= wal.synced:
            if not db.pending[0].published:
                self._publish(db.pending[0])
            del db.pending[0]
        if not db.pending:
            db.staged.clear()

    def _give_up(self, error: OSError) -> None:
        """A sync failed: whether the pending commits are on the medium only a reopen can tell."""
        db = self._db
        db.fail(error)
        with db.commit_lock:
            db.pending.clear()
            db.staged.clear()
