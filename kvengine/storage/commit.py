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
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, NoReturn

from kvengine.errors import (
    KVEngineError,
    OutcomeUnknown,
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
    Expire,
    Operation,
    batch_of,
    check_expect,
    object_name,
    operations_of,
    set_operation,
)
from kvengine.storage.database import Database
from kvengine.storage.feed import tell
from kvengine.storage.held import Expected, HeldObject
from kvengine.storage.memtable import states_of
from kvengine.storage.names import Name, are_ascii_names, check_name, encode_object
from kvengine.storage.packed import pack, pack_entries
from kvengine.storage.record import HEADER_SIZE
from kvengine.storage.resolve import NOTHING, Below, Resolution
from kvengine.storage.row import (
    CLEARED,
    LEAST_VERSION,
    Entry,
    completed_at_of,
    decode,
    entry_count,
    expires_at_of,
    extend,
)
from kvengine.storage.serial import Serial
from kvengine.storage.state import NO_ROW, Change, Commit, change_of, new_commit
from kvengine.storage.tokens import AlreadyCommitted, Once
from kvengine.storage.version import View
from kvengine.storage.wal.encode import encode_record
from kvengine.storage.wal.file import WalWriter

_NO_ENTRIES: dict[str, Entry] = {}
_LAST_STAMP = (1 << 63) - 1

LEADER_POLL_SECONDS = 0.05
"""How long a commit waits at most before it checks whether some thread still syncs."""


class Committer(Serial):
    """Commits batches to one database. ``maintain`` is called when there may be background work."""

    def __init__(self, db: Database, maintain: Callable[[], None]) -> None:
        self._db = db
        self._maintain = maintain
        self._begun: Commit | None = None
        """The commit whose record is being written."""
        self._pressure = BackPressure(db, maintain)
        options = db.options
        self._synced: bool = options.durability == "sync"
        self._max_value = min(options.max_value_size, sys.maxsize)
        self._max_record = min(options.max_commit_size, sys.maxsize - HEADER_SIZE) + HEADER_SIZE
        self._least: int = LEAST_VERSION
        self._memtable_size = min(options.memtable_size, sys.maxsize)

    def set(
        self,
        service: str,
        key: str,
        state_key: str,
        value: bytes,
        ttl: float | timedelta | None = None,
        expires_at: float | datetime | None = None,
    ) -> int:
        """Commit one entry, as `Store.set`. Return the stamp."""
        if (
            ttl is None
            and expires_at is None
            and type(value) is bytes
            and len(value) <= self._max_value
            and are_ascii_names(service, key, state_key)
        ):
            changes = [change_of((service, key), {state_key: value}, NO_ROW)]
            return self._commit(changes, (), None, self._synced)
        operation = set_operation(service, key, state_key, value, ttl, expires_at, self._max_value)
        return self.commit_operations((operation,))

    def clear(self, service: str, key: str, state_key: str) -> int:
        """Commit the end of one entry, as `Store.clear`. Return the stamp."""
        name = object_name(service, key)
        changes = [change_of(name, {check_name("state_key", state_key): None}, NO_ROW)]
        return self._commit(changes, (), None, self._synced)

    def clear_all(self, service: str, key: str) -> int:
        """Commit the end of all entries of an object, as `Store.clear_all`. Return the stamp."""
        name = (service, key) if are_ascii_names(service, key) else object_name(service, key)
        return self._commit([change_of(name, None, NO_ROW)], (), None, self._synced)

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
        expect: Expected
        if type(held) is HeldObject and held.version == version:
            expect = held
        else:
            expect = (name, version)
        changes = [change_of(name, entries, NO_ROW)]
        synced = self._synced if durability is None else durability == "sync"
        return self._commit(changes, (), expect, synced)

    def batch(self) -> Batch:
        """Return a batch that `write` commits, as `Store.batch`."""
        db = self._db
        if db.failed is not None or db.wal is None or db.gone:
            db.check_writable()
        return batch_of(self, self._max_value, db.owner())

    def write(
        self,
        batch: Batch,
        expect: Mapping[Name, int] | None = None,
        durability: Durability | None = None,
    ) -> int:
        """Commit a batch, as `Store.write`, and mark it as written. Return the stamp."""
        self._write(batch, expect, durability, None)
        return batch.stamp or 0

    def write_once(
        self,
        batch: Batch,
        expect: Mapping[Name, int] | None,
        durability: Durability | None,
        token: bytes,
        since: int | None,
    ) -> int | None:
        """Commit a batch, as `write`, at most once for each token. Return the stamp.

        Return None if there is nothing to write. If the commit with this token was made before,
        by whomever, wait until it is as durable as is asked, and return its stamp; nothing is
        expected of any object then. ``since``: None at the first attempt; at a later one, a stamp
        that the client knew before the first. Raise OutcomeUnknown, and write nothing, if the
        first may have been made and this owner cannot know.
        """
        written = self._write(batch, expect, durability, Once(token, since))
        return batch.stamp if written else None

    def _write(
        self,
        batch: Batch,
        expect: Mapping[Name, int] | None,
        durability: Durability | None,
        once: Once | None,
    ) -> bool:
        """Commit a batch, and mark it as written. Return False if there was nothing to write."""
        content = self._check(batch, expect)
        synced = self._synced if durability is None else _is_sync(durability)
        content.close()  # what is being committed must not change
        try:
            changes = _changes_of(content)
            operations = () if changes else content.operations
            try:
                commit = self._do_all_steps(changes, operations, expect, synced, once)
            except AlreadyCommitted as known:
                self.confirm(known.stamp, durability)
                content.close(known.stamp)
                return True
        except BaseException:
            content._reopen()
            raise
        content.close(commit.stamp if commit is not None else self._db.published)
        return commit is not None

    def confirm(self, stamp: int, durability: Durability | None = "sync") -> None:
        """Wait until a commit that is in the log is visible, and with "sync" durable.

        Raise WriteFailed if that failed: the commit is there after the next open, or it is not.
        """
        db = self._db
        db.refuse_nested()
        synced = self._synced if durability is None else _is_sync(durability)
        with db.commit_lock:
            self.finish_interrupted()
            pending = [commit for commit in db.pending if commit.stamp == stamp]
        if pending:
            self.sync(pending[0])
            return
        wal = db.wal
        if stamp > db.published or wal is None:
            db.check_writable()
        elif synced and wal.synced < wal.end:
            self.sync()

    def begin(
        self,
        batch: Batch,
        expect: Mapping[Name, int] | None,
        token: bytes = b"",
        since: int | None = None,
    ) -> Commit | None:
        """Log a batch with durability "sync", and return its commit without waiting for the sync.

        Return None if there is nothing to write. The place of the commit in the order of commits
        is fixed. It becomes durable and visible by `sync`. The caller must make sure that some
        thread calls `sync`: the commits that follow wait for this one.

        ``token`` and ``since``: as for `write_once`, empty for a commit without one. Raise
        `AlreadyCommitted` if the commit was made before; the batch is then marked as written, and
        some thread waits by `confirm` until the commit is durable.
        """
        content = self._check(batch, expect)
        once = Once(token, since) if token else None
        content.close()
        try:
            changes = _changes_of(content)
            operations = () if changes else content.operations
            commit = self._do_all_steps(changes, operations, expect, True, once, wait=False)
        except AlreadyCommitted as known:
            content.close(known.stamp)
            raise
        except BaseException:
            content._reopen()
            raise
        content.close(commit.stamp if commit is not None else self._db.published)
        return commit

    def _check(self, batch: Batch, expect: Mapping[Name, int] | None) -> Batch:
        """Return the batch, if it is one and can be written."""
        if not isinstance(batch, Batch):
            raise TypeError(f"batch must be a kvengine.Batch, not {type(batch).__name__}")
        if expect is not None:
            check_expect(expect)
        content = batch
        content.check_open()
        content.check_values(self._max_value)
        return content

    def commit_operations(self, operations: Sequence[Operation]) -> int:
        """Commit operations. Return the stamp, the last visible one if there was nothing to do."""
        return self._commit([], operations, None, self._synced)

    def expire(self, operation: Expire) -> bool:
        """Commit one `expire`. Return whether its object was found: else nothing is written."""
        return self._do_all_steps([], (operation,), None, self._synced) is not None

    def _commit(
        self,
        changes: list[Change],
        operations: Sequence[Operation],
        expect: Expected | None,
        synced: bool,
    ) -> int:
        """Commit. Return the stamp, the last visible one if there was nothing to write."""
        commit = self._do_all_steps(changes, operations, expect, synced)
        return commit.stamp if commit is not None else self._db.published

    def _do_all_steps(
        self,
        changes: list[Change],
        operations: Sequence[Operation],
        expect: Expected | None,
        synced: bool,
        once: Once | None = None,
        wait: bool = True,
    ) -> Commit | None:
        """Do all steps of a commit, and return it, None if there is nothing to write.

        ``operations`` count only if there are no ``changes``. ``once``: its token, if it has one:
        AlreadyCommitted or OutcomeUnknown is raised if it must not be made now. ``wait``: for
        background work that is behind, and for the sync; else the commit waits among the pending
        ones for `sync`.
        """
        db = self._db
        if db.commit_lock.mine() or db.sync_lock.mine():
            db.refuse_nested()
        if wait and db.stalled:
            self._pressure.wait()
        try:
            commit = self._log_alone(changes, operations, expect, synced, once)
            if commit is None:
                return None
            if wait and not commit.published:
                self.sync(commit)
        except VersionConflict:
            self._show_pending()
            raise
        except AlreadyCommitted:
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
            or commit.marks is not None
        ):
            memtable.announced = memtable.timed
            self._maintain()
            self._pressure.note(commit.end)

    # --- steps 1 to 3: prepare, append, publish

    def _log(  # noqa: C901, PLR0912, PLR0915 - one path, to be read from top to bottom
        self,
        changes: list[Change],
        operations: Sequence[Operation],
        expect: Expected | None,
        synced: bool,
        once: Once | None,
    ) -> Commit | None:
        """Do steps 1 to 3, under the commit lock. Return None if there is nothing to write."""
        db = self._db
        if self._begun is not None:
            self.finish_interrupted()
        wal = db.wal
        if db.failed is not None or wal is None or db.gone:
            db.check_writable()
        assert wal is not None
        epoch, token = 0, b""
        if once is not None:
            self._check_once(once)
            epoch, token = wal.epoch, once.token
        view = db.view
        active = view.active
        now = db.clock.now()
        if expect is not None:
            self._check_expected(expect, now)
        stamp = now if now > db.last_stamp else _after(db.last_stamp)
        if stamp < self._least:  # noqa: PLR1730 - a clock in 1970; no call of max on each commit
            stamp = self._least
        ranges: Sequence[tuple[bytes, bytes]] = ()
        if changes and (not (active.expiring or view.expiring) or not _may_expire(view, changes)):
            for change in changes:
                if change.entries is None:
                    change.row = pack(CLEARED, stamp, None, _NO_ENTRIES)
                else:
                    change.row = pack_entries(stamp, change.entries)
        else:
            if changes:
                operations = list(operations_of([(one.name, one.entries) for one in changes]))
            resolution = Resolution(now, view, self._below)
            resolution.apply(operations)
            changes, ranges = resolution.changes(stamp), resolution.ranges()
            if not changes and not ranges:
                return None
        ahead = now if stamp > now else 0
        record = encode_record(
            stamp, changes, ranges, ahead, wal.salt, wal.mark, wal.synced, epoch, token
        )
        if len(record) > self._max_record:
            raise ValueTooLarge(
                f"commit is {len(record) - HEADER_SIZE:,} bytes,"
                f" over max_commit_size {self._max_record - HEADER_SIZE:,}"
            )
        marks = active.prepare_states(db.unpublished, changes, ranges, stamp, now)
        commit = new_commit()
        commit.stamp, commit.now = stamp, now
        commit.changes, commit.marks = changes, marks
        commit.memtable, commit.start, commit.end = active, wal.end, 0
        commit.published, commit.token, commit.waiter = False, token, None
        if synced or db.pending:
            commit.defer()
        if db.spans.watching:
            db.spans.touch([encode_object(*one.name) for one in changes if not _is_gone(one.row)])
        self._begun = commit
        try:
            self._accept(commit, wal.append(record))
        except BaseException as error:
            self._append_failed(error, wal)
        return commit

    def _check_once(self, once: Once) -> None:
        """Raise AlreadyCommitted if a commit has this token, also one that is not visible yet.

        Raise OutcomeUnknown if one may have had it that is no longer in the log.
        """
        tokens = self._db.tokens
        stamp = tokens.find(once.token)
        if stamp is not None:
            raise AlreadyCommitted(stamp)
        if once.since is not None and once.since < tokens.since:
            raise OutcomeUnknown(
                "a commit was sent again, and its first attempt may have been made: this owner can"
                f" tell only of commits after stamp {tokens.since}, and that one may be as old as"
                f" {once.since}. Nothing was written now; read the objects again before you repeat"
                " the commit"
            )

    def _below(self, name: Name) -> Below:
        """Return what all commits before this one together state of an object."""
        db = self._db
        pieces = read.collect(db.view, name, unpublished=db.unpublished)
        if not pieces:
            return NOTHING
        newest = pieces[0].row
        return Below(
            expires_at_of(newest),
            completed_at_of(newest),
            lambda now: (state_key for state_key, _, _ in read.live_entries(pieces, "", now)),
        )

    def _check_expected(self, expect: Expected, now: int) -> None:
        """Raise VersionConflict if an object does not have the version expected of it.

        All commits before this one count, also those that are logged and not yet visible.
        """
        db = self._db
        pairs: Iterable[tuple[Name, int]]
        if isinstance(expect, HeldObject):
            held = expect
            if held.is_current():
                return
            pairs = ((held.name, held.version),)
        else:
            pairs = (expect,) if isinstance(expect, tuple) else expect.items()
        for name, version in pairs:
            known = db.memo.known.get(name) if not db.unpublished else None
            if known is not None and known.soonest is not None:
                known = known.at(now)
                actual = known.version if known is not None else 0
            elif known is not None:
                actual = known.version
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
        if commit.token:
            db.tokens.note(commit.token, commit.stamp)
        if commit.waiter is not None:
            db.unpublished.update(states_of(commit.changes, commit.marks))
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
        touched = False
        if memo.known:
            if commit.marks is not None:
                memo.clear()
            for change in commit.changes:
                change.known = memo.known.pop(change.name, None)
                if change.known is not None:
                    memo.bytes -= change.known.size
                    touched = True
        if db.feeds:
            tell(db, commit)
        snapshots = db.snapshots
        memtable = commit.memtable
        memtable.publish(commit.changes, commit.marks, snapshots.newest, snapshots.oldest)
        db.published = commit.stamp
        commit.published = True
        if commit.waiter is not None:
            commit.wake()
        db.counters.commits += 1
        if touched:
            self._change_memo(commit)

    def _change_memo(self, commit: Commit) -> None:
        """Put objects that were in the memo back into it, with what a commit has changed."""
        memo = self._db.memo
        for change in commit.changes:
            before, entries = change.known, change.entries
            if before is None:
                continue
            change.known = None  # the memo may change in place what nobody else has
            # What has expired by then stays out: it could come back once a compaction dropped it.
            if before.soonest is None or before.soonest > commit.now:
                values = entries if before.soonest is None else None
                if not values or not memo.change(change.name, before, commit.stamp, values):
                    memo.replace(change.name, extend(before, decode(change.row)))

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
            if sys.is_finalizing():  # the leader has ended where it was, with its lock
                raise WriteFailed("the interpreter ended in the midst of a sync: reopen shows more")
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
        try:
            wal.sync()
        except OSError as error:
            if not is_io_error(error):
                raise
            self._sync_failed(error)
            raise WriteFailed(f"syncing {wal.path} failed: {error}") from error
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


def _is_sync(durability: Durability) -> bool:
    if durability not in ("sync", "os"):
        raise ValueError(f"durability must be 'sync' or 'os', not {durability!r}")
    return durability == "sync"


def _may_expire(view: View, changes: list[Change]) -> bool:
    """Return whether a layer may state an expiry of one of the objects."""
    for change in changes:  # noqa: SIM110 - `any` would make a generator on each commit
        if view.may_expire(change.name):
            return True
    return False


def _changes_of(batch: Batch) -> list[Change]:
    """Return the changes that a batch comes to, an empty list if only operations tell."""
    changes = []
    if batch._changes is not None:
        for name, entries in batch._changes.items():
            changes.append(change_of(name, entries, NO_ROW))
    return changes


def _is_gone(row: bytes) -> bool:
    """Return whether a row only clears its object, so that nothing comes to life."""
    return row[1] == CLEARED and not entry_count(row)
