"""kvengine itself, with its default options."""

from __future__ import annotations

from importlib import metadata

import kvengine
from benchmarks.peers.base import Entries

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
        return sum(len(stored.entries) for stored in self._store.scan())


PEER = KvenginePeer
