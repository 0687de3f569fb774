"""One small file per store, all with the interface of `base.Peer`.

A store that cannot be imported is reported as unavailable, with the reason, and left out. Some are
for the record: they are asked only with KVENGINE_BENCH_PEERS=all, since they take minutes, and do
not count as the best peer where a commit of theirs promises less, or is of something else.
"""

from __future__ import annotations

import importlib
import os

from benchmarks.peers.base import Peer

KVENGINE = "kvengine"
MODULES = {
    KVENGINE: "benchmarks.peers.kvengine_peer",
    "LevelDB": "benchmarks.peers.leveldb",
    "LMDB": "benchmarks.peers.lmdb_peer",
    "RocksDB": "benchmarks.peers.rocksdb",
    "SQLite": "benchmarks.peers.sqlite",
    "apsw": "benchmarks.peers.apsw_peer",
    "diskcache": "benchmarks.peers.diskcache_peer",
    "sqlitedict": "benchmarks.peers.sqlitedict_peer",
}
FOR_THE_RECORD = ("apsw", "diskcache", "sqlitedict")
OTHERS = [name for name in MODULES if name not in (KVENGINE, *FOR_THE_RECORD)]
COUNTED = [*OTHERS, "apsw"]  # SQLite by another package: the same promises


class Unavailable(Exception):
    """The store is not installed; the message says what is missing."""


def asked() -> list[str]:
    """Return the names of the stores to measure, kvengine first."""
    wanted = os.environ.get("KVENGINE_BENCH_PEERS", "")
    if wanted not in ("", "all"):
        raise ValueError(f"KVENGINE_BENCH_PEERS={wanted}: only 'all' can be asked for")
    return list(MODULES) if wanted else [KVENGINE, *OTHERS]


def find(name: str) -> type[Peer]:
    """The class of the store of that name, or Unavailable."""
    try:
        peer: type[Peer] = importlib.import_module(MODULES[name]).PEER
    except ImportError as error:
        raise Unavailable(f"{name}: {error}") from error
    return peer
