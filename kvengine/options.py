"""Options of the embedded engine, in one frozen dataclass. Behaviour before tuning."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any, Literal

from kvengine.arguments import timeout_of, warn_deprecated
from kvengine.storage.clock import Clock, SystemClock
from kvengine.storage.names import check_name
from kvengine.storage.times import retention_time

Durability = Literal["sync", "os"]
Background = Literal["process", "thread", "none"]

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a database behaves while it is open. Sizes in bytes, times in seconds.

    Nothing here is stored but ``retention`` and what shapes the format (``block_size``,
    ``chunk_size``: read back from the database when it exists).

    Behaviour:

    durability
        ``"sync"``: a returned commit survives power loss; concurrent commits
        share one fdatasync. ``"os"``: it survives kill -9, and power loss may
        take the last commits. A write may choose for itself.
    create
        Make the database if the directory is absent or empty.
    read_only
        Read what another process owns, as of now. Takes no lock, writes nothing.
    lock_timeout
        Seconds or a timedelta for which `open` waits for another owner to leave the directory, as
        one does in a rolling restart. 0: DatabaseLocked at once. Not for ``read_only``.
    live_access
        Serve a socket in the directory (``LIVE``, for this user alone), through which the
        tools of kvengine read and edit while this process owns it. None: yes, but for
        ``background="none"``, which starts no thread that stays.
    background
        Where flush and compaction run: in threads of this process (``"thread"``), or with
        ``"none"`` inside the commit that makes them due (for tests and short scripts).
        ``"process"``, of kvengine 0.1, means ``"thread"``.
    max_value_size, max_commit_size
        Past these a write raises ValueTooLarge before anything is written.
    max_clock_step
        A step of the wall clock beyond this is not believed while open.
    clock
        The source of time, the system's by default. `kvengine.testing.ManualClock` is for tests.
    expiry_grace
        How long after its expiry data may be dropped from disk. Reads see it as
        absent at once.
    serde
        How objects encode their values: ``"json"``, ``"msgpack"``, ``"bytes"``,
        ``"pydantic"`` or a serde of one's own (kvengine.serdes). Reads and writes of
        bytes (`Store`) pass it by.
    serdes
        The serdes of services that have another one, by name of the service.
    retention
        How long workflows are kept once they are complete, by name of the service; one day for
        others. Stored with the database: opening with a different value raises ValueError.
    tombstone_age
        A deletion this old is compacted into the data beneath it even when
        nothing else calls for it, so that its space comes back.

    Tuning:

    memtable_size
        Bytes of WAL after which the memtable is frozen and flushed. More: fewer,
        larger segments, more memory, longer recovery.
    cache_size
        Bytes of memory for what is read again: three quarters for blocks of segments, a quarter
        for objects that are kept decoded.
    mapped_reads
        Map segments to memory and read blocks there, not by system calls: faster where the data
        is much larger than ``cache_size`` and mostly in the page cache. The price: a disk that
        fails to read a page ends the process (SIGBUS), as with LMDB.
    block_size, chunk_size
        Soft size of a block of rows, and of one chunk of an object larger than
        that. Smaller: cheaper single reads, a larger index.
    segment_size
        Where a compaction starts a new segment, between objects.
    level_base, level_ratio
        Bytes that level 1 aims at, and how much larger each further level is.
    l0_compact, l0_slow, l0_stop
        Segments in level 0 that start a compaction, slow writers, stop them.
    frozen_stop
        Frozen memtables that await their flush before writers stop.
    """

    durability: Durability = "sync"
    create: bool = True
    read_only: bool = False
    lock_timeout: float | timedelta = 0.0
    live_access: bool | None = None
    background: Background = "thread"
    max_value_size: int = 256 * MIB
    max_commit_size: int = 512 * MIB
    max_clock_step: float = 60.0
    expiry_grace: float = 15.0
    tombstone_age: float = 30.0
    serde: Any = "json"
    serdes: Mapping[str, Any] = field(default_factory=dict)
    retention: Mapping[str, float | timedelta] = field(default_factory=dict)
    memtable_size: int = 16 * MIB
    cache_size: int = 64 * MIB
    mapped_reads: bool = False
    block_size: int = 4 * KIB
    chunk_size: int = 64 * KIB
    segment_size: int = 16 * MIB
    level_base: int = 64 * MIB
    level_ratio: int = 8
    l0_compact: int = 4
    l0_slow: int = 10
    l0_stop: int = 20
    frozen_stop: int = 4
    clock: Clock = field(default_factory=SystemClock)

    def __post_init__(self) -> None:
        """ValueError or TypeError for an option that makes no sense, naming it."""
        if self.durability not in ("sync", "os"):
            raise ValueError(f"durability must be 'sync' or 'os', not {self.durability!r}")
        if self.background == "process":
            warn_deprecated(
                "background='process' means 'thread' since kvengine 0.2, which has no helper"
                " processes: leave the option out"
            )
            object.__setattr__(self, "background", "thread")
        if self.background not in ("thread", "none"):
            raise ValueError(f"background must be 'thread' or 'none', not {self.background!r}")
        self._check_services()
        self._check_types()
        lock_seconds(self.lock_timeout, self.read_only)
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above zero, not {getattr(self, name)!r}")
        for name in ("max_clock_step", "expiry_grace", "tombstone_age", "cache_size"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(
                    f"{name} must be finite and not negative, not {getattr(self, name)!r}"
                )
        if not self.l0_compact <= self.l0_slow <= self.l0_stop:
            raise ValueError(
                "l0_compact, l0_slow and l0_stop must not fall: writers would wait for a"
                f" compaction that is not due ({self.l0_compact}, {self.l0_slow}, {self.l0_stop})"
            )
        if self.level_ratio < 2:
            raise ValueError(f"level_ratio must be at least 2, not {self.level_ratio}")
        if self.max_value_size > self.max_commit_size:
            raise ValueError("max_value_size must not be above max_commit_size")

    def _check_services(self) -> None:
        if not isinstance(self.serdes, Mapping):
            raise TypeError(f"serdes must map services to serdes, not {self.serdes!r}")
        if not isinstance(self.retention, Mapping):
            raise TypeError(
                "retention must map services to seconds or timedeltas, not"
                f" {type(self.retention).__name__}"
            )
        for service, kept in self.retention.items():
            check_name("service", service)
            retention_time(kept)

    def _check_types(self) -> None:
        clock: object = self.clock
        if not isinstance(clock, Clock):
            kind = type(clock).__name__
            raise TypeError(f"clock must have wall() and monotonic(), as SystemClock, not {kind}")
        for one in fields(self):
            value, wanted = getattr(self, one.name), _TYPES.get(str(one.type))
            if wanted is None:
                continue
            if not isinstance(value, wanted) or (
                isinstance(value, bool) and "bool" not in str(one.type)
            ):
                raise TypeError(f"{one.name} must be {one.type}, not {type(value).__name__}")


def lock_seconds(lock_timeout: float | timedelta, read_only: bool) -> float:
    """Return ``lock_timeout`` in seconds; TypeError or ValueError if it makes no sense."""
    seconds = timeout_of(lock_timeout, "lock_timeout")
    if seconds is None:
        raise TypeError("lock_timeout must be seconds or a timedelta, not None")
    if seconds and read_only:
        raise ValueError("lock_timeout is for owners: leave it out with read_only=True")
    return seconds


_TYPES: dict[str, type | tuple[type, ...]] = {
    "bool": bool,
    "bool | None": (bool, type(None)),
    "int": int,
    "float": (int, float),
}
"""What fields annotated so take."""


_POSITIVE = (
    "max_value_size",
    "max_commit_size",
    "memtable_size",
    "block_size",
    "chunk_size",
    "segment_size",
    "level_base",
    "level_ratio",
    "l0_compact",
    "l0_slow",
    "l0_stop",
    "frozen_stop",
)
