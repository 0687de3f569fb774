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

import time
from collections.abc import Callable, Mapping, Sequence
from threading import get_ident

from kvengine.batch import Operation, Set, object_name
from kvengine.errors import KVEngineError, ValueTooLarge, VersionConflict, WriteFailed
from kvengine.files.wal import WalWriter
from kvengine.format.wal import Commit as Record
from kvengine.format.wal import encode_commit
from kvengine.memory.memtable import SMALL_ROW, State
from kvengine.names import Name
from kvengine.operations import read
from kvengine.operations.database import Commit, Database
from kvengine.operations.resolve import Resolution, Stated
from kvengine.operations.stage import stage
from kvengine.options import Durability
from kvengine.rows import Resolved, Row, extend

_OVERFULL = "stop: the memtable awaits its turn to be frozen"
"""Writers outran the thread that freezes memtables by as much as may be frozen at all."""


class Committer:
    """Commits batches to one database. ``maintain`` is told when the memtable is full."""

    def __init__(self, db: Database, maintain: Callable[[], None]) -> None:
        self._db = db
        self._maintain = maintain
        self._holder = 0
        self._begun: tuple[Commit, int, bool] | None = None
        self._overfull = db.options.memtable_size * db.options.frozen_stop

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
        if db.stalled:
            self._wait_for_space()
        if self._holder == get_ident():
            raise KVEngineError("a commit began inside a commit (a signal handler or finalizer?)")
        try:
            with db.commit_lock:
                self._holder = get_ident()
                try:
                    commit, found = self._log(operations, expect, durability)
                finally:
                    self._holder = 0
            if commit is None:
                return db.published, found
            if not commit.published:
                self.sync(commit)
        except KVEngineError:
            raise  # nothing was begun, or writes have stopped for good
        except BaseException:
            self._complete()
            raise
        if commit.end >= db.options.memtable_size or commit.stamp == commit.memtable.first_timed:
            self._maintain()
            if commit.end >= self._overfull and not db.stalled:
                db.stalled = _OVERFULL
        return commit.stamp, found

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
            self._check(expect, now)
        stamp = max(now, db.last_stamp + 1)
        rows, ranges, found = self._resolve(operations, now, stamp)
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
        states = stage(active, db.staged, rows, ranges, stamp, self._full)
        commit = Commit(stamp, states, active, 0)
        wait = durability == "sync" or bool(db.pending)
        self._begun = commit, wal.end, wait
        try:
            wal.append(payload)
            self._land(commit, wait)
        except OSError as error:
            self._begun = None
            wal.discard()
            db.fail(error)
            raise WriteFailed(f"writing {wal.path} failed: {error}") from error
        except BaseException:
            self.settle()
            raise
        return commit, found

    def _land(self, commit: Commit, wait: bool) -> None:
        """The record is in the log: stage its states, and publish them unless they must wait."""
        db = self._db
        assert db.wal is not None
        commit.end = db.wal.end
        db.last_stamp = commit.stamp
        if wait:
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
        commit, start, wait = self._begun
        try:
            db.wal.settle()
        except OSError as error:
            self._begun = None
            db.fail(error)
            return
        if db.wal.end > start and not commit.published and commit not in db.pending:
            self._land(commit, wait)
        self._begun = None

    def _complete(self) -> None:
        """After an interrupt: what is in the log becomes durable and visible, then it goes on."""
        with self._db.commit_lock:
            self.settle()
        if self._db.pending and self._db.failed is None:
            self.sync()

    def _publish(self, commit: Commit) -> None:
        db = self._db
        commit.memtable.publish(commit.states, db.snapshots.newest)
        db.published = commit.stamp
        commit.published = True
        db.counters.commits += 1

    # --- step 1

    def _resolve(
        self, operations: Sequence[Operation], now: int, stamp: int
    ) -> tuple[list[tuple[Name, Row]], list[tuple[bytes, bytes]], bool]:
        expiring = self._expiring()
        if not expiring and (plain := _plain(operations)) is not None:
            return [(name, Row(stamp, entries)) for name, entries in plain.items()], [], False
        resolution = Resolution(now, self._stated, expiring)
        resolution.apply(operations)
        return resolution.rows(stamp), resolution.ranges(), resolution.expired_object

    def _expiring(self) -> bool:
        """Whether any layer states an expiry; where none does, writes look nothing up."""
        active, frozen, version, _ = self._db.view
        if active.expiring or version.expiring or self._db.cache.expiring:
            return True
        return bool(frozen) and any(memtable.expiring for memtable in frozen)

    def _stated(self, name: Name) -> Stated:
        """What every commit before this one states of an object."""
        db = self._db
        layers = self._layers(name)
        if not layers.pieces and layers.base is None:
            return Stated(None, None)
        head = layers.pieces[0].row if layers.pieces else layers.base
        found = read.combine(layers, db.view, db.cache, name)
        return Stated(head.expires_at if head is not None else None, found)

    def _layers(self, name: Name) -> read.Layers:
        """The layers of an object, commits that are logged and not yet visible included."""
        db = self._db
        if not db.staged:
            return read.look_up(db.view, db.cache, name)
        return read.look_up(db.view, db.cache, name, staged=db.staged)

    def _check(self, expect: Mapping[Name, int], now: int) -> None:
        db = self._db
        for name, version in expect.items():
            checked = object_name(*name)
            found = read.combine(self._layers(checked), db.view, db.cache, checked)
            found = found.at(now) if found is not None else None
            actual = found.version if found is not None else 0
            if actual != version:
                raise VersionConflict(*checked, version, actual)

    # --- step 3

    def _full(self, name: Name, row: Row, base: State | None) -> Resolved | None:
        """The whole object after this commit, where it was known before and is small."""
        db = self._db
        if base is not None:
            full = base.full
        elif db.view.frozen:
            return None
        else:
            full = db.cache.young.get(name)
        if full is None or len(full.entries) > SMALL_ROW:
            return None
        return extend(full, row)

    # --- step 4

    def sync(self, commit: Commit | None = None) -> None:
        """Sync the log and publish all that waited for it (or until ``commit`` is)."""
        db = self._db
        with db.sync_lock:
            if commit is not None and commit.published:
                return
            if db.failed is not None:
                raise WriteFailed(f"an I/O error stopped writes: {db.failed}") from db.failed
            wal = db.wal
            if wal is None:
                return
            try:
                wal.sync()
            except OSError as error:
                self._give_up(error)
                raise WriteFailed(f"syncing {wal.path} failed: {error}") from error
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

    def _wait_for_space(self) -> None:
        """Back-pressure: give flush and compaction time; `stats` says why.

        WriteFailed, and nothing written, where what we wait for fails meanwhile.
        """
        db = self._db
        started, errors = time.monotonic(), db.counters.background_errors
        db.counters.stalls += 1
        self._maintain()
        if db.stalled.startswith("slow"):
            time.sleep(0.001)
        while self._must_wait():
            if db.counters.background_errors > errors:
                raise WriteFailed(f"{db.stalled}, which fails: {db.counters.last_background_error}")
            time.sleep(0.005)
        db.counters.stall_seconds += time.monotonic() - started

    def _must_wait(self) -> bool:
        """Whether writers stop. A memtable that was frozen meanwhile is no longer too full."""
        db = self._db
        db.view.generation  # noqa: B018 - a gone view raises its own error
        if db.stalled == _OVERFULL and (db.wal is None or db.wal.end < self._overfull):
            db.stalled = ""
        return db.stalled.startswith("stop") and db.failed is None


def _plain(operations: Sequence[Operation]) -> dict[Name, dict[str, bytes | None]] | None:
    """The entries of a commit that only sets, without ttl; None for any other.

    Where no layer states an expiry these are its rows: nothing is looked up.
    """
    found: dict[Name, dict[str, bytes | None]] = {}
    for one in operations:
        if one.__class__ is not Set or one.ttl is not None:
            return None
        entries = found.get(one.name)
        if entries is None:
            found[one.name] = {one.state_key: one.value}
        else:
            entries[one.state_key] = one.value
    return found
