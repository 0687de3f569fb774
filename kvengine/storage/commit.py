"""Commit: a batch becomes one record of the log, then visible, in log order. The one write path.

Steps, and what a crash or an interrupt after each leaves:

1. Prepare, under the commit lock: take now and a stamp (now, or the last plus one, so stamps only
   ever grow); check what the caller expects; resolve the verbs to rows against every commit before
   this one, visible or not; encode the record. Nothing has happened.
2. Append the record to the WAL by one write. The file's position says whether it is there; if it
   is, the commit will become visible, even if this thread is interrupted.
3. Publish. A commit with durability "os", with none pending before it, becomes visible here by one
   dict update. Any other waits among the pending ones.
4. "sync": a leader syncs the log once for all that wait, then publishes them in log order. A failed
   sync is never retried: writes are refused until reopen.

What makes a commit cheap is a branch of step 1: if no layer may state an expiry of its objects,
the rows are made of its sets and clears, and nothing is looked up. Step 3 updates the memo.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from threading import get_ident
from typing import Any, NoReturn

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
from kvengine.storage.batch import (
    Batch,
    Clear,
    ClearAll,
    Expire,
    Operation,
    Set,
    check_expect,
    object_name,
    set_operation,
)
from kvengine.storage.database import Commit, Database
from kvengine.storage.held import HeldObject
from kvengine.storage.memtable import TOMBSTONES
from kvengine.storage.names import Name, are_ascii_names, encode_object
from kvengine.storage.packed import pack, pack_entries
from kvengine.storage.record import HEADER_SIZE
from kvengine.storage.resolve import NOTHING, Below, Resolution
from kvengine.storage.resolved import Resolved
from kvengine.storage.row import (
    CLEARED,
    LEAST_VERSION,
    Entry,
    decode,
    entry_count,
    expires_at_of,
    extend,
)
from kvengine.storage.segment.filter import barrier_digest, object_digest
from kvengine.storage.wal.encode import encode_record
from kvengine.storage.wal.file import WalWriter

Assignments = dict[Name, "dict[str, bytes | None] | None"]
"""What a commit sets, and clears (None: an entry, or a whole object), if it does nothing else.

It has no ttl and no range, and writes into no object that it clears.
"""

_NO_ENTRIES: dict[str, Entry] = {}
_LAST_STAMP = (1 << 63) - 1

LEADER_POLL_SECONDS = 0.05
"""How long a commit waits at most before it checks whether some thread still syncs."""


class Committer:
    """Commits batches to one database. ``maintain`` is called when there may be background work."""

    def __init__(self, db: Database, maintain: Callable[[], None]) -> None:
        self._db = db
        self._maintain = maintain
        self._begun: Commit | None = None
        """The commit whose record is being written."""
        self._pressure = BackPressure(db, maintain)
        options = db.options
        self._durability = options.durability
        self._max_value = min(options.max_value_size, sys.maxsize)
        self._max_commit = min(options.max_commit_size, sys.maxsize)
        self._memtable_size = min(options.memtable_size, sys.maxsize)

    def set(
        self,
        service: str,
        key: str,
        state_key: str,
        value: bytes,
        *,
        ttl: float | timedelta | None = None,
    ) -> int:
        """Commit one entry, as `Store.set`. Return the stamp."""
        if (
            ttl is None
            and value.__class__ is bytes
            and len(value) <= self._max_value
            and are_ascii_names(service, key, state_key)
        ):
            entries: dict[str, bytes | None] = {state_key: value}
            commit = self._do_all_steps({(service, key): entries}, (), None, self._durability)
            return commit.stamp if commit is not None else self._db.published
        operation = set_operation(service, key, state_key, value, ttl, self._max_value)
        return self.commit_operations((operation,))

    def clear_all(self, service: str, key: str) -> int:
        """Commit the end of all entries of an object, as `Store.clear_all`. Return the stamp."""
        name = (service, key) if are_ascii_names(service, key) else object_name(service, key)
        commit = self._do_all_steps({name: None}, (), None, self._durability)
        return commit.stamp if commit is not None else self._db.published

    def commit_entries(
        self,
        name: Name,
        entries: dict[str, bytes | None],
        version: int,
        durability: Durability | None,
        held: Any,
    ) -> int:
        """Commit new values of one object, None for a cleared entry, if it has ``version``.

        Return the stamp. Only sessions call this; they have checked names and values. ``held``: if
        it is a `HeldObject` of this version, it says whether that must be looked up at all.
        """
        expect: Mapping[Name, int] | HeldObject
        if held.__class__ is HeldObject and held.version == version:
            expect = held
        else:
            expect = {name: version}
        commit = self._do_all_steps({name: entries}, (), expect, durability or self._durability)
        return commit.stamp if commit is not None else self._db.published

    def write(
        self,
        batch: Batch,
        *,
        expect: Mapping[Name, int] | None = None,
        durability: Durability | None = None,
    ) -> int:
        """Commit a batch, as `Store.write`, and mark it as written. Return the stamp."""
        self._check(batch, expect)
        stamp = self.commit_operations(batch.operations, expect, durability)
        batch.close(stamp)
        return stamp

    def begin(self, batch: Batch, expect: Mapping[Name, int] | None) -> Commit | None:
        """Log a batch with durability "sync", and return its commit without waiting for the sync.

        Return None if there is nothing to write. The place of the commit in the order of commits
        is fixed. It becomes durable and visible by `sync`. The caller must make sure that some
        thread calls `sync`: the commits that follow wait for this one.
        """
        self._check(batch, expect)
        self._db.refuse_nested()
        try:
            with self._db.commit_lock:
                self._db.committing = get_ident()
                try:
                    commit = self._log(
                        _assignments_of(batch.operations), batch.operations, expect, "sync"
                    )
                finally:
                    self._db.committing = 0
        except VersionConflict:
            self._show_pending()
            raise
        except KVEngineError as error:
            if error.__class__ is KVEngineError:  # as in `_do_all_steps`
                self._finish_and_sync()
            raise
        except BaseException:
            self._finish_and_sync()
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

    def commit_operations(
        self,
        operations: Sequence[Operation],
        expect: Mapping[Name, int] | None = None,
        durability: Durability | None = None,
    ) -> int:
        """Commit operations. Return the stamp, the last visible one if nothing was to be written.

        ``durability``: by default that of the options.
        """
        if durability is None:
            durability = self._durability
        elif durability not in ("sync", "os"):
            raise ValueError(f"durability must be 'sync' or 'os', not {durability!r}")
        commit = self._do_all_steps(_assignments_of(operations), operations, expect, durability)
        return commit.stamp if commit is not None else self._db.published

    def expire(self, operation: Expire) -> bool:
        """Commit one `expire`. Return whether its object was found."""
        commit = self._do_all_steps(None, (operation,), None, self._durability)
        return commit is not None and commit.expired_object

    def _do_all_steps(
        self,
        assignments: Assignments | None,
        operations: Sequence[Operation],
        expect: Mapping[Name, int] | HeldObject | None,
        durability: Durability,
    ) -> Commit | None:
        """Do all steps of a commit, and return it, None if there is nothing to write.

        ``operations`` count only if ``assignments`` is None.
        """
        db = self._db
        me = get_ident()
        if me in (db.committing, db.syncing):
            db.refuse_nested()
        if db.stalled:
            self._pressure.wait()
        try:
            with db.commit_lock:
                db.committing = me
                try:
                    commit = self._log(assignments, operations, expect, durability)
                finally:
                    db.committing = 0
            if commit is None:
                return None
            if not commit.published:
                self.sync(commit)
        except VersionConflict:
            self._show_pending()
            raise
        except KVEngineError as error:
            # A subclass is this commit's own error: nothing was begun, or writes have stopped for
            # good. KVEngineError itself comes from a signal handler that interrupted the commit.
            if error.__class__ is KVEngineError:
                self._finish_and_sync()
            raise
        except BaseException:
            self._finish_and_sync()
            raise
        memtable = commit.memtable
        if commit.end >= self._memtable_size or memtable.timed:
            self._follow(commit)
        return commit

    def _show_pending(self) -> None:
        """Sync after a conflict, in case it is with a commit that is not visible and nobody syncs.

        A caller that reads again and retries must find that commit. If another thread is syncing
        just now, the commit becomes visible soon, and this thread need not wait for it.
        """
        db = self._db
        if db.pending and db.failed is None and not db.sync_lock.locked():
            self.sync()

    def _follow(self, commit: Commit) -> None:
        """Start the background work that a commit makes due."""
        memtable = commit.memtable
        if (
            commit.end >= self._memtable_size
            or (memtable.timed and not memtable.announced)
            or TOMBSTONES in commit.states
        ):
            memtable.announced = memtable.timed
            self._maintain()
            self._pressure.note(commit.end)

    # --- steps 1 to 3: prepare, append, publish

    def _log(  # noqa: C901, PLR0912, PLR0915 - one path, to be read from top to bottom
        self,
        assignments: Assignments | None,
        operations: Sequence[Operation],
        expect: Mapping[Name, int] | HeldObject | None,
        durability: Durability,
    ) -> Commit | None:
        """Do steps 1 to 3, under the commit lock. Return None if there is nothing to write."""
        db = self._db
        if self._begun is not None:
            self.finish_interrupted()
        wal = db.wal
        if db.failed is not None or wal is None:
            db.check_writable()
        assert wal is not None
        view = db.view
        active = view.active
        now = db.clock.now()
        if expect:
            self._check_expected(expect, now)
        stamp = now if now > db.last_stamp else _after(db.last_stamp)
        if stamp < LEAST_VERSION:  # noqa: PLR1730 - a clock in 1970; no call of max on each commit
            stamp = LEAST_VERSION
        ranges: Sequence[tuple[bytes, bytes]] = ()
        found = False
        if assignments is not None and (
            not (active.expiring or view.expiring) or not self._may_one_expire(assignments)
        ):
            objects = []
            for name, entries in assignments.items():
                if entries is None:
                    row = pack(CLEARED, stamp, None, _NO_ENTRIES)
                else:
                    row = pack_entries(stamp, entries)
                objects.append((name, row))
        else:
            resolution = Resolution(now, self._below, self._may_expire)
            resolution.apply(operations if assignments is None else _operations_of(assignments))
            objects, ranges = resolution.objects(stamp), resolution.ranges()
            found, assignments = resolution.expired_object, None
            if not objects and not ranges:
                return None
        ahead = now if stamp > now else 0
        record = encode_record(stamp, objects, ranges, ahead, wal.salt, wal.mark, wal.synced)
        size = -HEADER_SIZE
        for piece in record:
            size += len(piece)
        if size > self._max_commit:
            raise ValueTooLarge(
                f"commit is {size:,} bytes, over max_commit_size {self._max_commit:,}"
            )
        states = active.prepare_states(db.unpublished, objects, ranges, stamp, now)
        commit = Commit()
        commit.stamp, commit.now = stamp, now
        commit.assignments, commit.objects, commit.states = assignments, objects, states
        commit.memtable, commit.start, commit.end = active, wal.end, 0
        commit.expired_object, commit.published, commit.waiter = found, False, None
        if durability == "sync" or db.pending:
            commit.defer()
        if db.spans.watching:
            db.spans.touch([encode_object(*name) for name, row in objects if not _is_gone(row)])
        self._begun = commit
        try:
            self._accept(commit, wal.append(record))
        except BaseException as error:
            self._append_failed(error, wal)
        return commit

    def _may_one_expire(self, assignments: Assignments) -> bool:
        """Return whether `_may_expire` is true of any object."""
        for name in assignments:  # noqa: SIM110 - `any` would make a generator on each commit
            if self._may_expire(name):
                return True
        return False

    def _may_expire(self, name: Name) -> bool:
        """Return whether a layer, or a commit not yet visible, may state an expiry of an object."""
        view = self._db.view
        if name in view.active.expiring:
            return True
        if not view.expiring:
            return False
        if any(name in table.expiring for table in view.frozen):
            return True
        version = view.version
        if not version.expiring:
            return False
        encoded = encode_object(*name)
        barrier = barrier_digest(object_digest(encoded, version.seed))
        return any(
            segment.properties.expiring and segment.may_hold(barrier)
            for segment in version.segments_for(encoded)
        )

    def _below(self, name: Name) -> Below:
        """Return what all commits before this one together state of an object."""
        db = self._db
        pieces = read.collect(db.view, name, unpublished=db.unpublished)
        if not pieces:
            return NOTHING
        return Below(
            expires_at_of(pieces[0].row),
            lambda now: (state_key for state_key, _, _ in read.live_entries(pieces, "", now)),
        )

    def _check_expected(self, expect: Mapping[Name, int] | HeldObject, now: int) -> None:
        """Raise VersionConflict if an object does not have the version expected of it.

        All commits before this one count, also those that are logged and not yet visible.
        """
        db = self._db
        if isinstance(expect, HeldObject):
            held = expect
            if held.is_current():
                return
            expect = {held.name: held.version}
        for name, version in expect.items():
            found: read.Summary | Resolved | None
            known = db.memo.known.get(name) if not db.unpublished else None
            if known is not None:
                found = known if known.soonest is None else known.at(now)
            else:
                pieces = read.collect(db.view, object_name(*name), unpublished=db.unpublished)
                found = read.summary(pieces, now)
            actual = found.version if found is not None else 0
            if actual != version:
                raise VersionConflict(*object_name(*name), version, actual)

    # --- steps 2 and 3, and what happens if they are interrupted

    def _append_failed(self, error: BaseException, wal: WalWriter) -> NoReturn:
        """Clean up after an exception between append and publish, and raise it again.

        An I/O error becomes WriteFailed and stops writes. After any other, the commit is finished
        or forgotten.
        """
        if not is_io_error(error):
            self.finish_interrupted()
            raise error
        self._begun = None
        wal.discard()
        self._db.fail(error)
        raise WriteFailed(f"writing {wal.path} failed: {error}") from error

    def _accept(self, commit: Commit, end: int) -> None:
        """Give a commit whose record is in the log its place in the order of commits.

        Publish it, or add it to the pending ones if it must wait.
        """
        db = self._db
        commit.end = end
        db.last_stamp = commit.stamp
        if commit.waiter is not None:
            db.unpublished.update(commit.states)
            db.pending.append(commit)
        else:
            self._publish(commit)
        self._begun = None

    def finish_interrupted(self) -> None:
        """Finish or forget a commit that was interrupted in `_log`. Call under the commit lock."""
        db = self._db
        if self._begun is None or db.wal is None:
            return
        commit = self._begun
        try:
            db.wal.finish_interrupted_append()
        except OSError as error:
            self._begun = None
            db.fail(error)
            return
        if db.wal.end > commit.start and not commit.published and commit not in db.pending:
            db.spans.clear()  # a walk that began after the interrupt was not told of the commit
            self._accept(commit, db.wal.end)
        self._begun = None

    def _finish_and_sync(self) -> None:
        """Make what is in the log durable and visible, after an interrupt."""
        with self._db.commit_lock:
            self.finish_interrupted()
        if self._db.pending and self._db.failed is None:
            self.sync()

    def _publish(self, commit: Commit) -> None:
        """Make a commit visible. Call under the commit lock."""
        db = self._db
        memo = db.memo
        touched: list[tuple[Name, Resolved, bytes]] = []
        if memo.known:
            if TOMBSTONES in commit.states:
                memo.clear()
            for name, row in commit.objects:
                before = memo.known.pop(name, None)
                if before is not None:
                    memo.bytes -= before.size
                    touched.append((name, before, row))
        snapshots = db.snapshots
        commit.memtable.publish(commit.states, snapshots.newest, snapshots.oldest)
        db.published = commit.stamp
        commit.published = True
        if commit.waiter is not None:
            commit.wake()
        db.counters.commits += 1
        for name, before, row in touched:
            # What has expired by then stays out: it could come back once a compaction dropped it.
            if before.soonest is None or before.soonest > commit.now:
                entries = commit.assignments[name] if commit.assignments is not None else None
                if entries is not None and before.soonest is None and None not in entries.values():
                    memo.change(name, before, commit.stamp, entries)
                else:
                    memo.replace(name, extend(before, decode(row)))

    # --- step 4

    def sync(self, commit: Commit | None = None) -> None:
        """Sync the log and publish all commits that waited for it, or only until ``commit`` is.

        One thread leads and syncs for all commits logged before. The others wait for
        their own commit, not for the lock, so that those that a sync has published do
        not queue behind the next one. A leader that is interrupted wakes nobody, so
        nobody waits longer than `LEADER_POLL_SECONDS` without looking again.
        """
        db = self._db
        while commit is not None and not commit.published and db.sync_lock.locked():
            if db.failed is not None:
                break
            commit.wait(LEADER_POLL_SECONDS)
        if commit is not None and commit.published:
            return
        with db.sync_lock:
            if commit is None or not commit.published:
                self._lead()
        with suppress(IndexError):
            db.pending[0].wake()  # the next to lead

    def _lead(self) -> None:
        """Sync once, and publish what that made durable. Call under the sync lock."""
        db = self._db
        if db.failed is not None:
            db.check_writable()
        wal = db.wal
        if wal is None:
            return
        db.syncing = get_ident()
        try:
            wal.sync()
        except OSError as error:
            if not is_io_error(error):
                raise
            self._sync_failed(error)
            raise WriteFailed(f"syncing {wal.path} failed: {error}") from error
        finally:
            db.syncing = 0
        db.counters.syncs += 1
        with db.commit_lock:
            self.publish_synced(wal)

    def publish_synced(self, wal: WalWriter) -> None:
        """Publish pending commits below the synced end of the log. Call under the commit lock."""
        db = self._db
        if self._begun is not None:
            self.finish_interrupted()
        while db.pending and db.pending[0].end <= wal.synced:
            if not db.pending[0].published:
                self._publish(db.pending[0])
            if len(db.pending) == 1:  # before the commit is removed, in case of an interrupt
                db.unpublished.clear()
            del db.pending[0]

    def _sync_failed(self, error: OSError) -> None:
        """Stop writes after a failed sync: only a reopen can tell which commits are on disk."""
        db = self._db
        db.fail(error)
        with db.commit_lock:
            db.pending.clear()
            db.unpublished.clear()


def _after(stamp: int) -> int:
    """Return the next stamp. KVEngineError if there is none: the last one on disk is no time."""
    if stamp >= _LAST_STAMP:
        raise KVEngineError("the last commit has the largest stamp there is: nothing can follow it")
    return stamp + 1


def _assignments_of(operations: Sequence[Operation]) -> Assignments | None:
    """Return what a commit sets and clears, None if it does anything else or has a ttl."""
    found: Assignments = {}
    for operation in operations:
        value: bytes | None
        if operation.__class__ is Set and operation.ttl is None:
            value = operation.value
        elif operation.__class__ is Clear:
            value = None
        elif operation.__class__ is ClearAll:
            found[operation.name] = None
            continue
        else:
            return None
        entries = found.get(operation.name)
        if entries is None:
            if operation.name in found:  # it was cleared as a whole
                return None
            found[operation.name] = {operation.state_key: value}
        else:
            entries[operation.state_key] = value
    return found or None


def _operations_of(assignments: Assignments) -> Iterator[Operation]:
    """Yield the operations that assignments stand for."""
    for name, entries in assignments.items():
        if entries is None:
            yield ClearAll(name)
            continue
        for state_key, value in entries.items():
            if value is None:
                yield Clear(name, state_key)
            else:
                yield Set(name, state_key, value, None)


def _is_gone(row: bytes) -> bool:
    """Return whether a row only clears its object, so that nothing comes to life."""
    return row[1] == CLEARED and not entry_count(row)
