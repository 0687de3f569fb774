"""kvengine itself, with its default options."""

from __future__ import annotations

from importlib import metadata

import kvengine
from benchmarks.peers.base import Entries

if not hasattr(kvengine, "open"):
    raise ImportError("kvengine.open is missing: the engine is not there yet")


class KvenginePeer:
    """The verbs are the store's own: no wrapper between the caller and kvengine."""

    def __init__(self, directory: str, durable: bool) -> None:
        self._store = kvengine.open(directory, durability="sync" if durable else "os")
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
    def settings() -> str:
        return "defaults; durability os (fsynced: sync)"

    def load_object(self, service: str, key: str, entries: Entries) -> None:
        with self._store.batch() as batch:
            for state_key, value in entries.items():
                batch.set(service, key, state_key, value)

    commit = load_object

    def scan(self) -> int:
        return sum(len(stored.entries) for stored in self._store.scan())


PEER = KvenginePeer
