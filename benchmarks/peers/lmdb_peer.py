"""LMDB through py-lmdb."""

from __future__ import annotations

import os
import tempfile
from itertools import repeat

import lmdb

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

MAP_SIZE = 16 << 30  # bytes; the file is sparse


class LMDB:
    """Every read opens a transaction of its own, since a kept one would read the past.

    A session is one write transaction: a tenth faster than a read one and then a write one.
    """

    def __init__(self, directory: str, durable: bool, memory: Memory = AMPLE) -> None:
        self._directory = directory
        self._durable = durable
        self._open()

    def _open(self) -> None:
        self._env = lmdb.open(
            self._directory,
            map_size=MAP_SIZE,
            writemap=True,
            sync=self._durable,
            metasync=self._durable,
            map_async=not self._durable,
        )

    @staticmethod
    def version() -> str:
        library = ".".join(str(part) for part in lmdb.version())
        return f"lmdb {lmdb.__version__}, LMDB {library}"

    @staticmethod
    def settings(memory: Memory = AMPLE) -> str:
        return f"writemap, map {MAP_SIZE >> 30} GiB; sync=False (synced: sync=True, metasync)"

    def load_object(self, service: str, key: str, entries: Entries) -> None:
        prefix = object_prefix(service, key)
        with self._env.begin(write=True) as transaction:
            for state_key, value in entries.items():
                transaction.put(prefix + state_key.encode(), value)

    commit = load_object
    commit_shared = load_object

    def get(self, service: str, key: str, state_key: str) -> bytes | None:
        with self._env.begin() as transaction:
            value: bytes | None = transaction.get(flat_key(service, key, state_key))
            return value

    def get_all(self, service: str, key: str) -> Entries:
        with self._env.begin() as transaction:
            return _entries(transaction, object_prefix(service, key))

    def state_keys(self, service: str, key: str) -> list[str]:
        prefix = object_prefix(service, key)
        cut = len(prefix)
        names = []
        with self._env.begin() as transaction, transaction.cursor() as cursor:
            cursor.set_range(prefix)
            for name in cursor.iternext(values=False):
                if not name.startswith(prefix):
                    break
                names.append(name[cut:].decode())
        return names

    def set(self, service: str, key: str, state_key: str, value: bytes) -> None:
        with self._env.begin(write=True) as transaction:
            transaction.put(flat_key(service, key, state_key), value)

    def clear_all(self, service: str, key: str) -> None:
        prefix = object_prefix(service, key)
        with self._env.begin(write=True) as transaction, transaction.cursor() as cursor:
            found = cursor.set_range(prefix)
            while found and cursor.key().startswith(prefix):
                found = cursor.delete()

    def session(self, service: str, key: str, state_key: str, value: bytes) -> None:
        prefix = object_prefix(service, key)
        with self._env.begin(write=True) as transaction:
            _entries(transaction, prefix).get(state_key)
            transaction.put(prefix + state_key.encode(), value)

    def lazy_session(self, service: str, key: str, state_key: str, value: bytes) -> None:
        name = flat_key(service, key, state_key)
        with self._env.begin(write=True) as transaction:
            transaction.get(name)
            transaction.put(name, value)

    def count(self, service: str, key: str) -> None:
        prefix = object_prefix(service, key)
        with self._env.begin(write=True) as transaction:
            transaction.put(prefix + b"count", counted(_entries(transaction, prefix)))

    def review(self, service: str, key: str) -> None:
        prefix = object_prefix(service, key)
        with self._env.begin(write=True) as transaction:
            transaction.put(prefix + b"count", reviewed(_entries(transaction, prefix)))

    def scan(self) -> int:
        with self._env.begin() as transaction, transaction.cursor() as cursor:
            return count_pairs(cursor)

    def scan_loop(self, objects: int) -> int:
        return count_pairs(repeat((b"", b""), objects * len(STATE_KEYS)))

    def scan_objects(self, service: str, start: str, count: int) -> dict[bytes, Entries]:
        with self._env.begin() as transaction, transaction.cursor() as cursor:
            cursor.set_range(object_prefix(service, start))
            return group_objects(cursor, count)

    def compact(self) -> None:
        """Replace the data by a compacted copy, which is the only compaction LMDB has."""
        with tempfile.TemporaryDirectory(dir=self._directory) as scratch:
            self._env.copy(scratch, compact=True)
            self._env.close()
            os.replace(f"{scratch}/data.mdb", f"{self._directory}/data.mdb")
        self._open()

    rewrite = compact

    def settle(self) -> float:
        """Return at once: nothing runs in the background."""
        return 0.0

    def close(self) -> None:
        self._env.close()


def _entries(transaction: lmdb.Transaction, prefix: bytes) -> Entries:
    """All entries of an object; the transaction closes the cursor."""
    cut = len(prefix)
    entries = {}
    cursor = transaction.cursor()
    cursor.set_range(prefix)
    for name, value in cursor:
        if not name.startswith(prefix):
            break
        entries[name[cut:].decode()] = value
    return entries


PEER = LMDB
