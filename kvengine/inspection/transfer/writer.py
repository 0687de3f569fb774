"""Writing objects that come from elsewhere: in batches, each object in the way of a mode.

    replace  the object becomes exactly what came; what has expired by now is absent
    merge    entries that came are set, others stay; an expiry that came is set, none changes none
    skip     an object that exists is left as it is
    new      an object that exists is an error (ObjectExists), and its batch is not written

A batch is one commit: all of its objects or none. Between batches other writers may come; that
an object is absent still holds when a batch of "skip" or "new" is written, or it is not. Only an
object that is too large for one commit is written in several, with mode "replace".

Every expiry is kept to the microsecond.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Literal, NamedTuple, Protocol, get_args

from kvengine.errors import KVEngineError, ValueTooLarge, VersionConflict
from kvengine.inspection.transfer.walk import microseconds
from kvengine.options import Durability
from kvengine.storage.batch import Batch, ClearAll, Complete, Expire, Operation, Set
from kvengine.storage.names import Name
from kvengine.store import StoredObject

Mode = Literal["replace", "merge", "skip", "new"]

_ABSENT = frozenset({"skip", "new"})
"""Modes that write no object that exists."""

BATCH_OBJECTS = 1000
BATCH_BYTES = 1024 * 1024


class ObjectExists(KVEngineError):
    """With mode "new": an object is there already; nothing of its batch was written.

    ``line``: of the input, ``applied``: the last line whose objects are all written; both 0
    where there are no lines.
    """

    def __init__(self, service: str, key: str, line: int = 0, applied: int = 0) -> None:
        super().__init__(service, key, line, applied)
        self.service = service
        self.key = key
        self.line = line
        self.applied = applied

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        behind = f"; lines up to {self.applied} are written" if self.line else ""
        return (
            f"{where}object ({self.service!r}, {self.key!r}) exists already{behind}: clear it,"
            ' or choose mode "skip", "merge" or "replace"'
        )


class Incoming(NamedTuple):
    """An object to write. Times in microseconds since the epoch; ``line`` of the input, or 0.

    One with ``completed_at``, which is a completed workflow, has ``expires_at`` too.
    """

    name: Name
    expires_at: int | None
    entries: dict[str, bytes]
    expiries: dict[str, int]
    line: int = 0
    completed_at: int | None = None


def incoming(found: StoredObject) -> Incoming:
    """An object that was read as one to write."""
    at, done = found.expires_at, found.completed_at
    expiries = {name: microseconds(end) for name, end in (found.expiries or {}).items()}
    return Incoming(
        (found.service, found.key),
        None if at is None else microseconds(at),
        found.entries,
        expiries,
        completed_at=None if done is None else microseconds(done),
    )


class Written(NamedTuple):
    """What became of the objects so far. ``bytes`` are those of values.

    ``skipped``: existing objects left alone, because of the mode or because they are equal.
    ``expired_objects``: had expired as a whole, in all of their entries too; ``expired_entries``:
    those of other objects. ``line``: the last line of the input up to which everything is written;
    0 where there are no lines.
    """

    objects: int = 0
    entries: int = 0
    bytes: int = 0
    skipped: int = 0
    expired_objects: int = 0
    expired_entries: int = 0
    line: int = 0


class Target(Protocol):
    """What of a Store is written to."""

    def version(self, service: str, key: str) -> int: ...

    def load_many(self, service: str, keys: Iterable[str]) -> dict[str, StoredObject]: ...

    def write(
        self,
        batch: Batch,
        *,
        expect: Mapping[Name, int] | None = None,
        durability: Durability | None = None,
    ) -> int: ...


class TooLargeForStore(ValueError):
    """An object that the store refuses for its size; ``one`` is it, the cause says why."""

    def __init__(self, one: Incoming, reason: ValueTooLarge) -> None:
        super().__init__(f"object ({one.name[0]!r}, {one.name[1]!r}): {reason}")
        self.one = one


class Writer:
    """Collects objects and writes them batch by batch; `flush` writes what is left.

    ``now``: the time against which expiries are held, seconds since the epoch. ``dry_run``:
    count, and look what exists, but write nothing. ``compares``: with mode "replace", objects that
    are there and equal are left alone.
    """

    def __init__(
        self,
        store: Target,
        mode: Mode,
        *,
        now: Callable[[], float],
        durability: Durability | None = None,
        batch_objects: int = BATCH_OBJECTS,
        batch_bytes: int = BATCH_BYTES,
        dry_run: bool = False,
        compares: bool = False,
        progress: Callable[[Written], object] | None = None,
    ) -> None:
        if mode not in get_args(Mode):
            raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}, not {mode!r}")
        if batch_objects < 1 or batch_bytes < 1:
            raise ValueError("batch_objects and batch_bytes must be above zero")
        self.written: Written = Written()
        self._store, self._mode, self._now = store, mode, now
        self._durability = durability
        self._limits = batch_objects, batch_bytes
        self._dry_run = dry_run
        self._compares = compares
        self._progress = progress
        self._pending: dict[Name, Incoming] = {}
        self._size = 0

    def add(self, one: Incoming) -> None:
        """Take one object; write the batch that is full with it. What `flush` raises."""
        if one.name in self._pending:
            self.flush()  # a later one of the same name meets what the earlier one wrote
        self._pending[one.name] = one
        self._size += sum(len(name) + len(value) for name, value in one.entries.items())
        if len(self._pending) >= self._limits[0] or self._size >= self._limits[1]:
            self.flush()

    def flush(self) -> None:
        """Write what was collected. ObjectExists, TooLargeForStore, or what `write` raises."""
        pending, self._pending, self._size = list(self._pending.values()), {}, 0
        if not pending:
            return
        try:
            self._commit(pending)
        except ValueTooLarge as reason:
            if len(pending) > 1:
                for one in pending:  # which of them is it?
                    self._pending = {one.name: one}
                    self.flush()
                return
            self._commit_in_parts(pending[0], reason)
        if self._progress is not None:
            self._progress(self.written)

    def reached(self, line: int) -> None:
        """Everything up to a line of the input is written, or was nothing to write."""
        self.written = self.written._replace(line=max(line, self.written.line))

    def _commit_in_parts(self, one: Incoming, reason: ValueTooLarge) -> None:
        """Write an object that is too large for a commit: its entries, then the rest."""
        if self._mode != "replace" or len(one.entries) < 2:
            raise TooLargeForStore(one, reason) from reason
        whole = Batch()
        written = self._put(whole, one, microseconds(self._now()), self.written)
        written = written._replace(line=one.line)
        try:
            for operations in _slices(whole.operations, *self._limits):
                batch = Batch()
                batch.operations.extend(operations)
                self._store.write(batch, durability=self._durability)
        except ValueTooLarge as error:
            raise TooLargeForStore(one, error) from error
        self.written = written

    def _commit(self, pending: list[Incoming]) -> None:
        """One batch. The objects that come to be meanwhile are known by the versions expected."""
        if self._compares:
            equal = self._equal(pending)
            kept = [one for one in pending if one.name not in equal]
        else:
            kept = [one for one in pending if self._is_wanted(one)]
        while True:
            batch = Batch()
            now = microseconds(self._now())
            written = self.written._replace(
                skipped=self.written.skipped + len(pending) - len(kept), line=pending[-1].line
            )
            for one in kept:
                written = self._put(batch, one, now, written)
            try:
                if batch.operations and not self._dry_run:
                    self._store.write(
                        batch, expect=self._expected(batch), durability=self._durability
                    )
            except VersionConflict as conflict:
                kept = [one for one in kept if self._remains(one, conflict)]
                continue
            self.written = written
            return

    def _equal(self, pending: list[Incoming]) -> set[Name]:
        """The objects that are there as they are to be."""
        equal = set()
        for service, group in groupby(pending, lambda one: one.name[0]):
            wanted = {one.name[1]: one for one in group}
            for key, found in self._store.load_many(service, wanted).items():
                if incoming(found) == wanted[key]._replace(line=0):
                    equal.add((service, key))
        return equal

    def _expected(self, batch: Batch) -> dict[Name, int] | None:
        """With "skip" and "new": what is written was absent."""
        if self._mode not in _ABSENT:
            return None
        return {one.name: 0 for one in batch.operations if isinstance(one, Set)}

    def _is_wanted(self, one: Incoming) -> bool:
        """Whether an object is to be written; ObjectExists where it must not be there."""
        if self._mode not in _ABSENT or not self._store.version(*one.name):
            return True
        if self._mode == "new":
            raise ObjectExists(*one.name, one.line, self.written.line)
        return False

    def _remains(self, one: Incoming, conflict: VersionConflict) -> bool:
        if one.name != (conflict.service, conflict.key):
            return True
        if self._mode == "new":
            raise ObjectExists(*one.name, one.line, self.written.line) from conflict
        return False

    def _put(self, batch: Batch, one: Incoming, now: int, written: Written) -> Written:
        """The operations that write one object, and the counts behind it."""
        live = {name: value for name, value in one.entries.items() if not _is_over(one, name, now)}
        gone = one.expires_at is not None and one.expires_at <= now
        if self._mode == "replace":
            batch.operations.append(ClearAll(one.name))
        if gone or (one.entries and not live and one.completed_at is None):
            return written._replace(expired_objects=written.expired_objects + 1)
        for name, value in live.items():
            batch.operations.append(Set(one.name, name, value, at=one.expiries.get(name)))
        if one.expires_at is not None and one.completed_at is not None:
            retention = one.expires_at - one.completed_at
            batch.operations.append(Complete(one.name, retention, one.completed_at))
        if one.expires_at is not None:
            batch.operations.append(Expire(one.name, one.expires_at, None))
        return written._replace(
            objects=written.objects + 1,
            entries=written.entries + len(live),
            bytes=written.bytes + sum(map(len, live.values())),
            expired_entries=written.expired_entries + len(one.entries) - len(live),
        )


def _is_over(one: Incoming, name: str, now: int) -> bool:
    return one.expiries.get(name, now + 1) <= now


def _slices(
    operations: list[Operation], most_operations: int, most_bytes: int
) -> Iterator[list[Operation]]:
    """Operations in order, so many at a time; one at least."""
    taken: list[Operation] = []
    size = 0
    for each in operations:
        taken.append(each)
        size += len(each.value) if isinstance(each, Set) else 0
        if len(taken) >= most_operations or size >= most_bytes:
            yield taken
            taken, size = [], 0
    if taken:
        yield taken
