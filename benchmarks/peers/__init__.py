"""One small file per store, all with the interface of `base.Peer`.

A store that cannot be imported is reported as unavailable, with the reason, and left out.
"""

from __future__ import annotations

import importlib

from benchmarks.peers.base import Peer

KVENGINE = "kvengine"
MODULES = {
    KVENGINE: "benchmarks.peers.kvengine_peer",
    "LevelDB": "benchmarks.peers.leveldb",
    "LMDB": "benchmarks.peers.lmdb_peer",
    "RocksDB": "benchmarks.peers.rocksdb",
    "SQLite": "benchmarks.peers.sqlite",
}
OTHERS = [name for name in MODULES if name != KVENGINE]


class Unavailable(Exception):
    """The store is not installed; the message says what is missing."""


def find(name: str) -> type[Peer]:
    """The class of the store of that name, or Unavailable."""
    try:
        peer: type[Peer] = importlib.import_module(MODULES[name]).PEER
    except ImportError as error:
        raise Unavailable(f"{name}: {error}") from error
    return peer
