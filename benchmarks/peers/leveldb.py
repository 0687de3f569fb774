"""LevelDB through plyvel."""

from __future__ import annotations

import time
from itertools import repeat

import plyvel

from benchmarks.peers.base import (
    AMPLE,
    Entries,
    Memory,
    count_pairs,
    counted,
    flat_key,
    group_objects,
    object_prefix,
    reviewed,
)
from benchmarks.workload import STATE_KEYS

QUIET_SECONDS = 0.5  # without a finished compaction, after which none is taken to run


class LevelDB:
    """Objects are ranges of keys: read with a prefix iterator, written with a WriteBatch."""

    def __init__(self, directory: str, durable: bool, memory: Memory = AMPLE) -> None:
        self._durable = durable
        self._db = plyvel.DB(
            directory,
            create_if_missing=True,
            write_buffer_size=memory.write_buffer,
            lru_cache_size=memory.cache,
            bloom_filter_bits=10,
            compression=None,
        )

    @staticmethod
    def version() -> str:
        return f"plyvel {plyvel.__version__}, LevelDB {plyvel.__leveldb_version__}"

    @staticmethod
    def settings(memory: Memory = AMPLE) -> str:
        return f"{memory}, bloom 10 bits, no compression; sync=False (synced: sync=True)"

    def load_object(self, service: str, key: str, entries: Entries) -> None:
        prefix = object_prefix(service, key)
        with self._db.write_batch(sync=self._durable) as batch:
            for state_key, value in entries.items():
                batch.put(prefix + state_key.encode(), value)

    commit = load_object
    commit_shared = load_object

    def get(self, service: str, key: str, state_key: str) -> bytes | None:
        value: bytes | None = self._db.get(flat_key(service, key, state_key))
        return value

    def get_all(self, service: str, key: str) -> Entries:
        prefix = object_prefix(service, key)
        cut = len(prefix)
        return {name[cut:].decode(): value for name, value in self._db.iterator(prefix=prefix)}

    def state_keys(self, service: str, key: str) -> list[str]:
        prefix = object_prefix(service, key)
        cut = len(prefix)
        names = self._db.iterator(prefix=prefix, include_value=False)
        return [name[cut:].decode() for name in names]

    def set(self, service: str, key: str, state_key: str, value: bytes) -> None:
        self._db.put(flat_key(service, key, state_key), value, sync=self._durable)

    def clear_all(self, service: str, key: str) -> None:
        names = self._db.iterator(prefix=object_prefix(service, key), include_value=False)
        with self._db.write_batch(sync=self._durable) as batch:
            for name in names:
                batch.delete(name)

    def session(self, service: str, key: str, state_key: str, value: bytes) -> None:
        self.get_all(service, key).get(state_key)
        self.set(service, key, state_key, value)

    def lazy_session(self, service: str, key: str, state_key: str, value: bytes) -> None:
        self.get(service, key, state_key)
        self.set(service, key, state_key, value)

    def count(self, service: str, key: str) -> None:
        self.set(service, key, "count", counted(self.get_all(service, key)))

    def review(self, service: str, key: str) -> None:
        self.set(service, key, "count", reviewed(self.get_all(service, key)))

    def scan(self) -> int:
        return count_pairs(self._db.iterator())

    def scan_loop(self, objects: int) -> int:
        return count_pairs(repeat((b"", b""), objects * len(STATE_KEYS)))

    def scan_objects(self, service: str, start: str, count: int) -> dict[bytes, Entries]:
        names = self._db.iterator(start=object_prefix(service, start), stop=f"{service}\1".encode())
        return group_objects(names, count)

    def compact(self) -> None:
        self.rewrite()
        self.settle()

    def rewrite(self) -> None:
        self._db.compact_range()

    def settle(self) -> float:
        before = None
        while before != (before := self._db.get_property(b"leveldb.stats")):
            time.sleep(QUIET_SECONDS)
        return QUIET_SECONDS

    def close(self) -> None:
        self._db.close()


PEER = LevelDB
