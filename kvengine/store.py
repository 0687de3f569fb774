"""What every back end of kvengine is: the Store protocol and the records it returns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import NamedTuple, Protocol

import msgspec

from kvengine.options import Durability
from kvengine.storage.batch import Batch
from kvengine.storage.names import Name


class StoredObject(msgspec.Struct, frozen=True, gc=False):
    """An object as of one moment.

    ``entries`` in key order; ``complete`` is False where ``max_bytes`` cut them
    (those present are the first in key order). ``expires_at`` in seconds since
    the epoch, None for never. ``expiries``: the same of those entries that have
    a ttl of their own, by state key; None where none has.
    """

    service: str
    key: str
    version: int
    expires_at: float | None
    entries: dict[str, bytes]
    complete: bool = True
    expiries: dict[str, float] | None = None


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
    """About how much a range of objects holds, from indexes alone.

    ``objects`` are those of the layer that holds most: too few where layers hold different
    ones. ``bytes`` is all on disk or in the WAL, dead data included. Of a range smaller than a
    block both may be far off.
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

    levels: tuple[LevelStats, ...]
    segments: int
    bytes_on_disk: int
    wal_bytes: int
    estimated_objects: int
    memtable_bytes: int
    memtable_objects: int
    frozen_memtables: int
    cache_bytes: int
    cache_objects: int
    open_snapshots: int
    pending_compaction: int
    flushes: int
    compactions: int
    dropped_segments: int
    stalls: int
    stall_seconds: float
    stalled: str
    write_amplification: float
    space_amplification: float
    commits: int
    syncs: int
    last_stamp: int
    background: str
    background_errors: int
    last_background_error: str
    recovery: tuple[str, ...]
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
        """The value of an entry; None where there is none. ``b""`` is a value."""
        ...

    def get_many(self, service: str, key: str, state_keys: Iterable[str]) -> dict[str, bytes]:
        """Those of the entries that exist, in the order asked for."""
        ...

    def get_all(self, service: str, key: str) -> dict[str, bytes]:
        """All entries of an object (an eager load), in key order; empty where it is absent."""
        ...

    def load(self, service: str, key: str, *, max_bytes: int | None = None) -> StoredObject | None:
        """An object of one moment, at most ``max_bytes`` of names and values; None if absent."""
        ...

    def state_keys(
        self, service: str, key: str, *, prefix: str = "", start: str = "", limit: int | None = None
    ) -> list[str]:
        """State keys of an object in byte order, from ``start`` on."""
        ...

    def expires_at(self, service: str, key: str) -> float | None:
        """When an object expires, seconds since the epoch; None for never or absent."""
        ...

    def version(self, service: str, key: str) -> int:
        """The stamp of the last commit that touched an object; 0 where it is absent."""
        ...

    def in_memory(self, service: str, key: str) -> bool:
        """Whether the verbs on this object would answer without waiting for a disk or a server."""
        ...

    def services(self, *, start: str = "", limit: int | None = None) -> list[str]:
        """Services that hold at least one object, in order, from ``start`` on."""
        ...

    def object_keys(
        self,
        service: str,
        *,
        prefix: str = "",
        start: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[str]:
        """Keys of the objects of a service in order, all of one moment.

        ``start`` is the first key to return, in the direction of the walk.
        """
        ...

    def scan(self, service: str | None = None, *, prefix: str = "") -> Iterator[StoredObject]:
        """Every object of one moment, in order; ``prefix`` of the key needs a service."""
        ...


class Writes(Protocol):
    """The write verbs. Each is one atomic commit and returns its stamp."""

    def set(
        self,
        service: str,
        key: str,
        state_key: str,
        value: bytes,
        *,
        ttl: float | timedelta | None = None,
    ) -> int: ...

    def clear(self, service: str, key: str, state_key: str) -> int: ...

    def clear_all(self, service: str, key: str) -> int: ...

    def clear_service(self, service: str) -> int: ...

    def clear_range(self, service: str, start: str, stop: str | None) -> int: ...

    def expire(
        self,
        service: str,
        key: str,
        *,
        at: float | None = None,
        ttl: float | timedelta | None = None,
    ) -> bool: ...

    def batch(self) -> Batch: ...

    def write(
        self,
        batch: Batch,
        *,
        expect: Mapping[Name, int] | None = None,
        durability: Durability | None = None,
    ) -> int: ...


class Snapshot(Reads, Protocol):
    """Every read verb, as of one moment."""

    def close(self) -> None: ...


class Store(Reads, Writes, Protocol):
    """Durable state of objects. Thread-safe."""

    def snapshot(self) -> Snapshot:
        """All read verbs as of now."""
        ...

    def stats(self) -> Stats: ...

    def close(self) -> None: ...
