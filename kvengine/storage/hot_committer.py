"""The commit verbs, with the shortest way for plain sets into one object in use.

Most commits set a few entries of one object that somebody has just read. What
is known of such an object in whole (`State.full`, or the cache where no memtable
holds it) settles all that `Committer` would look up: that it lives, its version,
and, where nothing of it expires, its row in full. So the commit is two dict
look-ups, one merge, one record and one dict update. Whatever is not so plain is
left to `Committer`; the steps and what an interrupt leaves are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from threading import get_ident

from kvengine.errors import KVEngineError
from kvengine.options import Durability
from kvengine.storage.batch import Batch, Set, plain_sets, set_operation
from kvengine.storage.cache import footprint
from kvengine.storage.commit import Committer
from kvengine.storage.database import Database
from kvengine.storage.memtable import SMALL_ROW, Memtable, whole
from kvengine.storage.names import Name, check_name
from kvengine.storage.record import HEADER_SIZE
from kvengine.storage.row import Resolved, in_order
from kvengine.storage.wal.file import WalWriter
from kvengine.storage.wal.format import record_of_sets

_NO_VERSION = -1
"""Expected of no object: the long way says what is wrong with an expectation."""


class HotCommitter(Committer):
    """Commits batches to one database; plain sets into one object in use at once."""

    def __init__(self, db: Database, maintain: Callable[[], None]) -> None:
        super().__init__(db, maintain)
        options = db.options
        self._durability = options.durability
        self._max_value = options.max_value_size
        self._max_commit = options.max_commit_size
        self._memtable_size = options.memtable_size

    def set(
        self,
        service: str,
        key: str,
        state_key: str,
        value: bytes,
        *,
        ttl: float | timedelta | None = None,
    ) -> int:
        if (
            ttl is None
            and self._durability == "os"
            and value.__class__ is bytes
            and len(value) <= self._max_value
            and service.__class__ is str
            and key.__class__ is str
            and state_key.__class__ is str
        ):
            name = (service, key)
            stamp = self.commit_sets(name, {state_key: value}) if self._in_use(name) else 0
            if stamp:
                return stamp
        operation = set_operation(service, key, state_key, value, ttl, self._max_value)
        return self.commit((operation,))[0]

    def write(
        self,
        batch: Batch,
        *,
        expect: Mapping[Name, int] | None = None,
        durability: Durability | None = None,
    ) -> int:
        if batch.__class__ is Batch and (durability or self._durability) == "os":
            first = batch.operations[0] if batch.operations else None
            in_use = first.__class__ is Set and self._in_use(first.name)
            sets = plain_sets(batch, self._max_value) if in_use else None
            if sets is not None:
                name, entries = sets
                expected = None
                if expect is not None:
                    one = expect.__class__ is dict and len(expect) == 1
                    expected = expect.get(name, _NO_VERSION) if one else _NO_VERSION
                stamp = self.commit_sets(name, entries, expected)
                if stamp:
                    batch.close(stamp)
                    return stamp
        return super().write(batch, expect=expect, durability=durability)

    def _in_use(self, name: Name) -> bool:
        """Whether the shortest way may well do: asked before the lock, for what does not."""
        return name in self._db.view.active.states or self._below(name) is not None

    def commit_sets(
        self, name: Name, entries: dict[str, bytes], expected: int | None = None
    ) -> int:
        """Set entries of an object in use, if it has the version expected; the stamp.

        0, and nothing done, where that is not for the shortest way: `commit` says what
        is to be said. The caller has checked all types, and the sizes of the values; the
        names that stand already are sound.
        """
        db = self._db
        me = get_ident()
        if db.stalled or me in (db.committing, db.syncing):
            return 0
        try:
            with db.commit_lock:
                db.committing = me
                try:
                    active, wal = db.view.active, db.wal
                    if wal is None:
                        return 0
                    stamp = self._log_sets(name, entries, expected, active, wal)
                finally:
                    db.committing = 0
        except KVEngineError:
            raise
        except BaseException:
            self._complete()
            raise
        if stamp and (wal.end >= self._memtable_size or (active.timed and not active.announced)):
            self._ask(active, wal.end)
        return stamp

    def _log_sets(
        self,
        name: Name,
        entries: dict[str, bytes],
        expected: int | None,
        active: Memtable,
        wal: WalWriter,
    ) -> int:
        """The steps of a commit (see operations/commit.py). Under the commit lock.

        In one frame: at this size each call costs as much as a step. Nothing has
        happened where it returns 0.
        """
        db = self._db
        if db.pending or db.failed is not None or self._begun is not None or active.has_tombstones:
            return 0
        current = active.states.get(name)
        known = current.full if current is not None else self._below(name)
        if known is None or known.soonest is not None:
            return 0
        if expected is not None and (known.version != expected or expected.__class__ is not int):
            return 0
        size = len(known.entries)
        if size > SMALL_ROW:
            return 0
        together = known.entries | entries
        if len(together) != size:
            for state_key in entries:
                check_name("state_key", state_key)
            together = in_order(together)
        now = db.clock.now()
        stamp = now if now > db.last_stamp else db.last_stamp + 1
        service, key = name
        late = 0 if stamp == now else now
        record = record_of_sets(stamp, service, key, entries, late, wal.salt, wal.mark, wal.synced)
        if len(record) - HEADER_SIZE > self._max_commit:
            return 0
        if current is None:
            active.memo_bytes += footprint(known)
        state = whole(Resolved(stamp, None, together, None, None), current)
        self._begun = name, state, active, wal.end
        try:
            wal.put(record)
            db.last_stamp = stamp
            snapshots = db.snapshots
            if snapshots.newest < 0 and current is not None:
                state.prev = None
                active.states[name] = state
            else:
                active.publish({name: state}, snapshots.newest, snapshots.oldest)
            db.published = stamp
            db.counters.commits += 1
            self._begun = None
        except BaseException as error:
            self._broken_off(error, wal)
        return stamp
