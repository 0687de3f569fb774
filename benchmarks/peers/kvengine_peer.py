"""kvengine itself, with its default options."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from itertools import islice, repeat
from typing import Any, ClassVar

import kvengine
from benchmarks.peers.base import AMPLE, OURS, Entries, Memory

if not hasattr(kvengine, "open"):
    raise ImportError("kvengine.open is missing: the engine is not there yet")


class Profile(kvengine.State):
    """The fields of workload.FIELDS."""

    city: str
    count: int
    country: str
    credit: int
    email: str
    language: str
    level: int
    name: str
    points: int
    since: int


PATIENCE_SECONDS = 900.0  # background work that takes longer than this is reported as an error
QUIET_SECONDS = 0.2  # after which no further work follows from that which has ended


class KvenginePeer:
    """The verbs are the store's own: no wrapper between the caller and kvengine.

    With memory AMPLE, which is what peers have where nothing else is said, kvengine has its default
    options all the same, which are a quarter of it.
    """

    _options: ClassVar[dict[str, Any]] = {}

    def __init__(self, directory: str, durable: bool, memory: Memory = AMPLE) -> None:
        options = self._options
        if memory != AMPLE:
            options = options | {"cache_size": memory.cache, "memtable_size": memory.write_buffer}
        self._store = kvengine.open(directory, durability="sync" if durable else "os", **options)
        self.get = self._store.get
        self.get_all = self._store.get_all
        self.state_keys = self._store.state_keys
        self.set = self._store.set
        self.clear_all = self._store.clear_all
        self.close = self._store.close

    @staticmethod
    def version() -> str:
        try:
            return f"kvengine {metadata.version('kvengine')}"
        except metadata.PackageNotFoundError:
            return f"kvengine {getattr(kvengine, '__version__', '(not installed)')}"

    @staticmethod
    def settings(memory: Memory = AMPLE) -> str:
        options = "default options" if memory in (AMPLE, OURS) else str(memory)
        return f"{build()}, {options}; durability os (synced: sync)"

    def load_object(self, service: str, key: str, entries: Entries) -> None:
        with self._store.batch() as batch:
            for state_key, value in entries.items():
                batch.set(service, key, state_key, value)

    def expire_in_a_day(self, service: str, key: str) -> None:
        """Let an object expire, long after the benchmark."""
        self._store.expire(service, key, ttl=86_400)

    commit = load_object
    commit_shared = load_object

    def session(self, service: str, key: str, state_key: str, value: bytes) -> None:
        with self._store.object(service, key, serde="bytes").session() as state:
            state.get(state_key)
            state.set(state_key, value)

    def lazy_session(self, service: str, key: str, state_key: str, value: bytes) -> None:
        with self._store.object(service, key, serde="bytes").session(preload=False) as state:
            state.get(state_key)
            state.set(state_key, value)

    def load_and_write(self, service: str, key: str, state_key: str, value: bytes) -> None:
        """What `session` stands on, by the verbs of the store."""
        stored = self._store.load(service, key)
        stored.entries.get(state_key)
        batch = kvengine.Batch()
        batch.set(service, key, state_key, value)
        self._store.write(batch, expect={(service, key): stored.version})

    def count(self, service: str, key: str) -> None:
        with self._store.object(service, key).session(Profile) as state:
            state.count += 1

    def review(self, service: str, key: str) -> None:
        with self._store.object(service, key).session(Profile) as state:
            _ = (
                *(state.city, state.country, state.credit, state.email, state.language),
                *(state.level, state.name, state.points, state.since),
            )
            state.count += 1

    def scan(self) -> int:
        return _count(self._store.scan())

    def scan_loop(self, objects: int) -> int:
        (stored,) = islice(self._store.scan(), 1)
        return _count(repeat(stored, objects))

    def scan_objects(self, service: str, start: str, count: int) -> list[Entries]:
        """`scan` begins at the start of a service; `object_keys` where one likes."""
        keys = self._store.object_keys(service, start=start, limit=count)
        return [self.get_all(service, key) for key in keys]

    def compact(self) -> None:
        self.rewrite()
        self.settle()

    def rewrite(self) -> None:
        self._store.flush()
        self._store.compact()

    def settle(self) -> float:
        return settle(self._store)


class MappedPeer(KvenginePeer):
    """The same, with segments mapped to memory."""

    _options: ClassVar[dict[str, Any]] = {"mapped_reads": True}


def settle(store: Any) -> float:
    """Wait until no flush or compaction is awaited or runs; RuntimeError if one never ends.

    Return for how many seconds none has, which it took to be sure.
    """
    begin = busy_at = time.monotonic()
    while (now := time.monotonic()) - busy_at < QUIET_SECONDS:
        if _busy(stats := store.stats()):
            busy_at = now
        if now - begin > PATIENCE_SECONDS:
            raise RuntimeError(f"background work does not end: {stats}")
        time.sleep(0.01)
    return now - busy_at


def _count(objects: Iterable[kvengine.StoredObject]) -> int:
    """Walk all names and values, as the peers do; return how many there are."""
    count = 0
    for stored in objects:
        for _state_key, _value in stored.entries.items():
            count += 1
    return count


def _busy(stats: kvengine.Stats) -> bool:
    return bool(stats.running or stats.frozen_memtables)


@cache
def build() -> str:
    """Return "compiled" or "plain Python": what the hot modules of this installation are."""
    with tempfile.TemporaryDirectory() as directory, kvengine.open(directory) as store:
        compiled = getattr(store.stats(), "compiled", False)  # release 0.1.0 has no such field
    return "compiled" if compiled else "plain Python"


PEER = KvenginePeer
