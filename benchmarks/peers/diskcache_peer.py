"""diskcache: pickled values in SQLite, large ones in files of their own."""

from __future__ import annotations

import diskcache

from benchmarks.peers.base import AMPLE, Memory
from benchmarks.peers.one_value import OneValue

PAGE = 4096  # bytes; SQLite's


class DiskCache(OneValue):
    """A cache that evicts nothing, as those have it who keep state in it."""

    def __init__(self, directory: str, durable: bool, memory: Memory = AMPLE) -> None:
        self._db = diskcache.Cache(
            directory,
            eviction_policy="none",
            size_limit=1 << 40,
            cull_limit=0,
            sqlite_cache_size=memory.cache // PAGE,
            sqlite_mmap_size=memory.cache,
            sqlite_synchronous=2 if durable else 0,
        )
        self._transaction = self._db.transact

    @staticmethod
    def version() -> str:
        return f"diskcache {diskcache.__version__}"

    @staticmethod
    def settings(memory: Memory = AMPLE) -> str:
        return (
            f"an object is one pickled dict; no eviction, cache {memory.cache >> 20} MiB; "
            "synchronous OFF (synced: FULL, but values from 32 KiB on are files that are not)"
        )


PEER = DiskCache
