"""RocksDB through rocksdict, in raw mode (bytes to bytes)."""

from __future__ import annotations

import time
from importlib import metadata
from itertools import repeat
from typing import Any

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteOptions,
)

from benchmarks.peers.base import (
    AMPLE,
    Entries,
    Memory,
    after_prefix,
    count_pairs,
    counted,
    flat_key,
    group_objects,
    object_prefix,
    reviewed,
)
from benchmarks.workload import STATE_KEYS

BACKGROUND = (
    "rocksdb.num-running-compactions",
    "rocksdb.num-running-flushes",
    "rocksdb.compaction-pending",
    "rocksdb.mem-table-flush-pending",
)


def _options(memory: Memory) -> Options:
    table = BlockBasedOptions()
    table.set_bloom_filter(10, False)
    table.set_block_cache(Cache(memory.cache))
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(table)
    options.set_write_buffer_size(memory.write_buffer)
    options.set_compression_type(DBCompressionType.none())
    return options


def _only(prefix: bytes) -> ReadOptions:
    """Iterate over one object: faster than a test of each name.

    The caller keeps the options until its iteration ends: rocksdict's iterator does not, and
    the bound would dangle.
    """
    options = ReadOptions()
    options.set_iterate_upper_bound(after_prefix(prefix))
    return options


class RocksDB:
    """Objects are ranges of keys; clear_all is one range tombstone."""

    def __init__(self, directory: str, durable: bool, memory: Memory = AMPLE) -> None:
        self._db = Rdict(directory, _options(memory))
        self._write_options = WriteOptions()
        self._write_options.sync = durable
        self._db.set_write_options(self._write_options)

    @staticmethod
    def version() -> str:
        return f"rocksdict {metadata.version('rocksdict')}"

    @staticmethod
    def settings(memory: Memory = AMPLE) -> str:
        return f"raw mode, {memory}, bloom 10 bits, no compression; sync=False (synced: sync=True)"

    def load_object(self, service: str, key: str, entries: Entries) -> None:
        prefix = object_prefix(service, key)
        batch = WriteBatch(raw_mode=True)
        for state_key, value in entries.items():
            batch.put(prefix + state_key.encode(), value)
        self._db.write(batch)

    commit = load_object
    commit_shared = load_object

    def get(self, service: str, key: str, state_key: str) -> bytes | None:
        value: bytes | None = self._db.get(flat_key(service, key, state_key))
        return value

    def get_all(self, service: str, key: str) -> Entries:
        prefix = object_prefix(service, key)
        cut = len(prefix)
        only = _only(prefix)
        items: Any = self._db.items(from_key=prefix, read_opt=only)
        return {name[cut:].decode(): value for name, value in items}

    def state_keys(self, service: str, key: str) -> list[str]:
        prefix = object_prefix(service, key)
        cut = len(prefix)
        only = _only(prefix)
        names: Any = self._db.keys(from_key=prefix, read_opt=only)
        return [name[cut:].decode() for name in names]

    def set(self, service: str, key: str, state_key: str, value: bytes) -> None:
        self._db.put(flat_key(service, key, state_key), value)

    def clear_all(self, service: str, key: str) -> None:
        prefix = object_prefix(service, key)
        self._db.delete_range(prefix, after_prefix(prefix))

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
        return count_pairs(self._db.items())

    def scan_loop(self, objects: int) -> int:
        return count_pairs(repeat((b"", b""), objects * len(STATE_KEYS)))

    def scan_objects(self, service: str, start: str, count: int) -> dict[bytes, Entries]:
        within = ReadOptions()
        within.set_iterate_upper_bound(f"{service}\1".encode())
        items: Any = self._db.items(from_key=object_prefix(service, start), read_opt=within)
        return group_objects(items, count)

    def compact(self) -> None:
        self._db.flush()
        self.rewrite()
        self.settle()

    def rewrite(self) -> None:
        self._db.compact_range(None, None)

    def settle(self) -> float:
        while any(self._db.property_int_value(name) for name in BACKGROUND):
            time.sleep(0.01)
        return 0.0

    def close(self) -> None:
        self._db.close()


PEER = RocksDB
