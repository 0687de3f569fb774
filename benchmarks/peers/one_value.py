"""An object as one value, for stores that know no ranges of keys: their users keep a dict there."""

from __future__ import annotations

from itertools import repeat
from typing import Any

from benchmarks.peers.base import Entries, counted, reviewed
from benchmarks.workload import STATE_KEYS


class OneValue:
    """The verbs of a peer on a mapping of names of objects to dicts, which the store pickles.

    A read loads the whole dict. A write replaces it, within a transaction with the read where there
    is one. So these are for the record: what they write for a set is ten times as large, and none
    of them has a commit of several objects beside reads that do not wait for it.
    """

    _db: Any  # a mapping, None where a name is absent
    _transaction: Any  # returns a context manager, in which what is read and written is one commit

    def load_object(self, service: str, key: str, entries: Entries) -> None:
        with self._transaction():
            self._db[f"{service}/{key}"] = entries

    def get(self, service: str, key: str, state_key: str) -> bytes | None:
        return self.get_all(service, key).get(state_key)

    def get_all(self, service: str, key: str) -> Entries:
        entries: Entries = self._db.get(f"{service}/{key}") or {}
        return entries

    def state_keys(self, service: str, key: str) -> list[str]:
        return sorted(self.get_all(service, key))

    def set(self, service: str, key: str, state_key: str, value: bytes) -> None:
        self.commit(service, key, {state_key: value})

    def commit(self, service: str, key: str, entries: Entries) -> None:
        name = f"{service}/{key}"
        with self._transaction():
            self._db[name] = (self._db.get(name) or {}) | entries

    def commit_shared(self, service: str, key: str, entries: Entries) -> None:
        self.commit(service, key, entries)

    def clear_all(self, service: str, key: str) -> None:
        with self._transaction():
            del self._db[f"{service}/{key}"]

    def session(self, service: str, key: str, state_key: str, value: bytes) -> None:
        self.commit(service, key, {state_key: value})

    lazy_session = session

    def count(self, service: str, key: str) -> None:
        name = f"{service}/{key}"
        with self._transaction():
            entries = self._db[name]
            self._db[name] = entries | {"count": counted(entries)}

    def review(self, service: str, key: str) -> None:
        name = f"{service}/{key}"
        with self._transaction():
            entries = self._db[name]
            self._db[name] = entries | {"count": reviewed(entries)}

    def scan(self) -> int:
        return _count(self._db[name] for name in self._db)

    def scan_loop(self, objects: int) -> int:
        return _count(repeat(dict.fromkeys(STATE_KEYS, b""), objects))

    def scan_objects(self, service: str, start: str, count: int) -> None:
        raise NotImplementedError("no range of keys")

    def compact(self) -> None:
        """Do nothing: there is no such call."""

    rewrite = compact

    def settle(self) -> float:
        """Return at once: nothing runs in the background."""
        return 0.0

    def close(self) -> None:
        self._db.close()


def _count(objects: Any) -> int:
    count = 0
    for entries in objects:
        for _state_key, _value in entries.items():
            count += 1
    return count
