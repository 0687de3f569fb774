"""What every back end of kvengine is: the Store protocol and the records it returns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import NamedTuple, Protocol, Self

import msgspec

from kvengine.options import Durability
from kvengine.storage.batch import Batch
from kvengine.storage.names import Name


class StoredObject(msgspec.Struct, frozen=True, gc=False):
    """An object as of one moment.

    ``entries`` are in key order. ``expires_at``: in seconds since the epoch, None for never.
    ``expiries``: the same of those entries that have a ttl of their own, by state key; None if
    none has. ``partial``: whether ``max_bytes`` left entries out, so that only the first ones in
    key order are here. ``completed_at``: when a workflow was completed, in seconds since the epoch;
    such a one may have no entries.
    """

    service: str
    key: str
    version: int
    expires_at: float | None
    entries: dict[str, bytes]
    expiries: dict[str, float] | None = None
    partial: bool = False
    completed_at: float | None = None


class Change(NamedTuple):
    """What a watch tells of a commit: its stamp, and which object of the service it touched.

    ``key`` is None if a range of objects was cleared. ``gap``: the reader was too slow, and changes
    up to this stamp were dropped: look at everything again.
    """

    service: str
    key: str | None
    stamp: int
    gap: bool = False


class StoredWorkflow(NamedTuple):
    """A workflow as of one moment. Times in seconds since the epoch.

    ``completed_at``: None while it is not completed. ``expires_at``: when its retention is over,
    None for never.
    """

    service: str
    key: str
    version: int
    completed_at: float | None
    expires_at: float | None


class Limits(NamedTuple):
    """The most that a store takes, in bytes: past it a write raises ValueTooLarge.

    ``name``: of one name, as UTF-8. ``names``: of service, key and state key together. ``value``:
    of one value. ``commit``: of all names and values of one commit.
    """

    name: int
    names: int
    value: int
    commit: int


class LevelStats(NamedTuple):
    """One level of segments. ``objects`` counts rows: an object counts once in each level."""

    level: int
    segments: int
    bytes: int
    objects: int
    tombstones: int


class SegmentStats(NamedTuple):
    """One segment. ``start``, ``stop``: its objects lie in ``[start, stop)``, encoded (names.py).

    ``size`` in bytes. ``objects`` counts rows, ``expiring`` those that state an expiry; the
    stamps are of its rows.
    """

    number: int
    level: int
    size: int
    objects: int
    entries: int
    tombstones: int
    expiring: int
    first_stamp: int
    last_stamp: int
    start: bytes
    stop: bytes


class Estimate(NamedTuple):
    """About how much a range of objects holds, dead data included. Never exact: show it with "~".

    Right after `compact()` both are within 20 % of what the segments hold, for a service or a
    prefix of any size, whatever else lies in its blocks. They may be further off where a service
    begins or ends in the middle of a segment and has long runs of small objects beside long runs
    of objects of nearly a block (4 KiB): of such a segment a sample of blocks is read.

    Before that, ``objects`` are those of the layer that holds most (memtables count as one): too
    few where layers hold different objects, too many where they are cleared or have expired.
    ``bytes`` is all on disk or in the WAL; of the WAL, a range gets its share by objects, not
    by bytes.
    """

    objects: int
    bytes: int


class Job(NamedTuple):
    """Background work that is being done: ``kind`` "flush" or "compaction", into a level.

    ``inputs``: numbers of the segments, or of the WAL files, that it reads; ``bytes`` of those.
    """

    kind: str
    inputs: tuple[int, ...]
    bytes: int
    level: int


class Stats(NamedTuple):
    """Figures of an open database, of this moment. Sizes in bytes, times in seconds.

    ``write_amplification``: bytes written to WAL and segments over those
    written to the WAL alone, since open. ``space_amplification``: bytes of segments over those
    of the lowest level that holds any. ``stalled``: why writers wait, or "". ``live_access``:
    "on", "off", or why other processes cannot reach this one. ``running``: background work
    of this moment. ``compiled``: whether the hot modules of the owner run compiled.
    """

    levels: tuple[LevelStats, ...] = ()
    segments: int = 0
    bytes_on_disk: int = 0
    wal_bytes: int = 0
    estimated_objects: int = 0
    memtable_bytes: int = 0
    memtable_objects: int = 0
    frozen_memtables: int = 0
    cache_bytes: int = 0
    cache_objects: int = 0
    open_snapshots: int = 0
    pending_compaction: int = 0
    flushes: int = 0
    compactions: int = 0
    dropped_segments: int = 0
    stalls: int = 0
    stall_seconds: float = 0.0
    stalled: str = ""
    write_amplification: float = 0.0
    space_amplification: float = 0.0
    commits: int = 0
    syncs: int = 0
    last_stamp: int = 0
    background: str = ""
    background_errors: int = 0
    last_background_error: str = ""
    recovery: tuple[str, ...] = ()
    live_access: str = "off"
    running: tuple[Job, ...] = ()
    compiled: bool = False


class Reads(Protocol):
    """The read verbs, which a Store and a Snapshot share.

    Every verb raises TypeError for names that are not ``str``, ValueError for
    names without UTF-8, DatabaseClosed after close, CorruptionError where the
    bytes needed are damaged.
    """

    def get(self, service: str, key: str, state_key: str) -> bytes | None:
        """Return the value of an entry, None if there is none. ``b""`` is a value."""
        ...

    def get_many(self, service: str, key: str, state_keys: Iterable[str]) -> dict[str, bytes]:
        """Return the entries that exist among those asked for, in the order of ``state_keys``.

        All are of one moment.
        """
        ...

    def get_all(self, service: str, key: str) -> dict[str, bytes]:
        """Return all entries of an object in key order, an empty dict if it is absent."""
        ...

    def exists(self, service: str, key: str) -> bool:
        """Return whether an object exists: whether it has at least one live entry."""
        ...

    def load(self, service: str, key: str, *, max_bytes: int | None = None) -> StoredObject | None:
        """Return an object as of one moment, None if it is absent.

        ``max_bytes``: of names and values. If given, only the first entries in key order that fit
        are returned.
        """
        ...

    def load_many(self, service: str, keys: Iterable[str]) -> dict[str, StoredObject]:
        """Return those of the objects that exist, by key, all as of one moment.

        They come in the order of ``keys``.
        """
        ...

    def state_keys(
        self,
        service: str,
        key: str,
        *,
        prefix: str = "",
        start: str = "",
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[str]:
        """Return state keys of an object in byte order, or in reverse.

        ``start`` is the first to return, in the direction of the walk.
        """
        ...

    def expires_at(self, service: str, key: str, state_key: str | None = None) -> float | None:
        """Return when an object expires, in seconds since the epoch; None if never or absent.

        With a ``state_key``: when that entry expires by a ttl of its own. It goes with its object
        too, if that expires before.
        """
        ...

    def version(self, service: str, key: str) -> int:
        """Return the stamp of the last commit that touched an object, 0 if it is absent."""
        ...

    def services(self, start: str = "", limit: int | None = None) -> list[str]:
        """Return the services that have an object, in order, from ``start`` on."""
        ...

    def object_keys(
        self,
        service: str,
        *,
        prefix: str = "",
        start: str | None = None,
        stop: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[str]:
        """Yield keys of the objects of a service in order, or in reverse, as of one moment.

        In the direction of the walk, ``start`` is the first key to return, and ``stop`` the first
        one not to: in reverse, ``start`` is above ``stop``.
        """
        ...

    def scan(
        self,
        service: str | None = None,
        *,
        prefix: str = "",
        start: str | None = None,
        stop: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[StoredObject]:
        """Yield the objects of a service, or of all, with their entries, as of one moment.

        ``prefix``, ``start`` and ``stop`` are as in `object_keys` and need a service.
        """
        ...

    def workflows(self, service: str, completed: bool | None = None) -> Iterator[StoredWorkflow]:
        """Yield the workflows of a service in order of their keys, as of one moment.

        ``completed``: True for those that are completed and not over yet, with state or without;
        False for those that are not; None, the default, for both. Costs a walk over the service.
        Each object of the service is taken to be a workflow.
        """
        ...

    def count(self, service: str, *, prefix: str = "") -> int:
        """Return how many objects a service has, exactly. Costs a walk over them."""
        ...


class Writes(Protocol):
    """The write verbs. Each is one atomic commit and returns its stamp, if nothing else is said."""

    def set(
        self,
        service: str,
        key: str,
        state_key: str,
        value: bytes,
        *,
        ttl: float | timedelta | None = None,
        expires_at: float | datetime | None = None,
    ) -> int:
        """Set an entry.

        ``ttl``: seconds or a timedelta after which the entry expires; one of 0 or less clears
        it at once. ``expires_at``: when it expires, in seconds since the epoch or as an aware
        datetime. Without either, an expiry that the entry had before is removed.
        """
        ...

    def clear(self, service: str, key: str, state_key: str) -> int:
        """Clear an entry."""
        ...

    def pop(self, service: str, key: str, state_key: str) -> bytes | None:
        """Clear an entry and return the value that it had, None if there was none.

        No other commit to the object comes between the two. Where there was no entry, nothing is
        written.
        """
        ...

    def clear_all(self, service: str, key: str) -> int:
        """Clear every entry of an object, and its expiry."""
        ...

    def clear_service(self, service: str) -> int:
        """Clear every object of a service."""
        ...

    def clear_range(self, service: str, start: str, stop: str | None) -> int:
        """Clear the objects of a service from key ``start`` to before ``stop`` (None: to the end).

        Where ``start`` is not below ``stop``, nothing is cleared.
        """
        ...

    def expire(
        self,
        service: str,
        key: str,
        *,
        at: float | datetime | None = None,
        ttl: float | timedelta | None = None,
    ) -> bool:
        """Give an object an expiry, or remove the one it has if neither argument is given.

        ``at``: seconds since the epoch, or an aware datetime. ``ttl``: seconds or a timedelta
        from now; one of 0 or less ends the object at once. Return whether the object existed;
        if it did not, nothing is written.
        """
        ...

    def batch(self) -> Batch:
        """Return a batch, whose writes are committed as one when its ``with`` block ends."""
        ...

    def write(
        self,
        batch: Batch,
        *,
        expect: Mapping[Name, int] | None = None,
        durability: Durability | None = None,
    ) -> int:
        """Commit a batch.

        ``expect`` maps objects to the versions that they must have, 0 for an absent one.
        If one has another version, VersionConflict is raised and nothing is written.
        ``durability``: "sync" or "os", by default that of the store.
        """
        ...


class Closing(Protocol):
    """A context manager that gives itself and is closed when the block ends."""

    def close(self) -> None:
        """End all use and let go of what is held. May be called again."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class Snapshot(Reads, Closing, Protocol):
    """Every read verb, as of one moment. A context manager."""


class Watch(Iterator[Change], Closing, Protocol):
    """Changes to come, one by one: an iterator that waits for each until it is closed."""

    def poll(self, timeout: float | timedelta | None = 0.0) -> Change | None:
        """Return the next change, or None if none arrives within ``timeout``.

        ``timeout``: seconds or a timedelta; None waits for ever. Raise DatabaseClosed after the
        watch or its store is closed and the remaining changes have been taken.
        """
        ...


class Store(Reads, Writes, Closing, Protocol):
    """Durable state of objects. Thread-safe. A context manager."""

    @property
    def limits(self) -> Limits:
        """Return the largest names, values and commits that this store takes."""
        ...

    def snapshot(self) -> Snapshot:
        """Return all read verbs as of now."""
        ...

    def watch(self, service: str, key: str | None = None, *, prefix: str = "") -> Watch:
        """Return the changes to come, as they become visible: an iterator that waits for each.

        Of all objects of a service, of those whose key starts with ``prefix``, or of one ``key``.
        Bounded: a reader who is too slow gets a change with ``gap=True``. Writers never wait.
        """
        ...

    def retention(self, service: str) -> timedelta:
        """Return how long workflows of a service are kept once they are complete.

        This is the value stored with the data, or one day if none is set.
        """
        ...

    def retentions(self) -> dict[str, timedelta]:
        """Return the retentions that are stored with the database, by service."""
        ...

    def set_retention(self, service: str, retention: float | timedelta) -> None:
        """Store how long workflows of a service are kept once they are complete.

        ``retention``: seconds or a timedelta. It counts for handles made from now on. Workflows
        that are already complete keep the retention they completed with.
        """
        ...

    def stats(self) -> Stats:
        """Return the figures of this moment."""
        ...
