"""SQLite through the standard library: one clustered table, write-ahead log."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable
from itertools import repeat
from typing import Any

from benchmarks.peers.base import AMPLE, Entries, Memory, counted, reviewed
from benchmarks.workload import STATE_KEYS

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    service TEXT NOT NULL, key TEXT NOT NULL, state_key TEXT NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (service, key, state_key)
) WITHOUT ROWID
"""
_PUT = "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)"
_GET = "SELECT value FROM entries WHERE service = ? AND key = ? AND state_key = ?"
_GET_ALL = "SELECT state_key, value FROM entries WHERE service = ? AND key = ?"
_STATE_KEYS = "SELECT state_key FROM entries WHERE service = ? AND key = ?"
_SCAN = (
    "SELECT key, state_key, value FROM entries WHERE service = ? AND key >= ?"
    " ORDER BY key, state_key"
)
_CLEAR_ALL = "DELETE FROM entries WHERE service = ? AND key = ?"


class SQLite:
    """Statements go through the connection, which keeps the compiled ones.

    A session is one transaction, which costs no more than two that commit by themselves. Threads
    take turns on the one connection by a lock, since SQLite has one writer at a time anyway.
    """

    def __init__(self, directory: str, durable: bool, memory: Memory = AMPLE) -> None:
        self._lock = threading.Lock()
        self._db = self._connect(os.path.join(directory, "state.db"))
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
        self._db.execute(f"PRAGMA cache_size={-(memory.cache >> 10)}")
        self._db.execute(f"PRAGMA mmap_size={memory.cache}")
        self._db.execute(_SCHEMA)

    @staticmethod
    def _connect(path: str) -> Any:
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    @staticmethod
    def version() -> str:
        return f"SQLite {sqlite3.sqlite_version}"

    @staticmethod
    def settings(memory: Memory = AMPLE) -> str:
        return (
            f"WITHOUT ROWID, WAL, cache and mmap {memory.cache / (1 << 20):.3g} MiB; "
            "synchronous OFF (synced: FULL)"
        )

    def load_object(self, service: str, key: str, entries: Entries) -> None:
        rows = [(service, key, state_key, value) for state_key, value in entries.items()]
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany(_PUT, rows)
        self._db.execute("COMMIT")

    commit = load_object

    def commit_shared(self, service: str, key: str, entries: Entries) -> None:
        with self._lock:
            self.commit(service, key, entries)

    def get(self, service: str, key: str, state_key: str) -> bytes | None:
        row = self._db.execute(_GET, (service, key, state_key)).fetchone()
        return None if row is None else row[0]

    def get_all(self, service: str, key: str) -> Entries:
        return dict(self._db.execute(_GET_ALL, (service, key)))

    def state_keys(self, service: str, key: str) -> list[str]:
        return [row[0] for row in self._db.execute(_STATE_KEYS, (service, key))]

    def set(self, service: str, key: str, state_key: str, value: bytes) -> None:
        self._db.execute(_PUT, (service, key, state_key, value))

    def clear_all(self, service: str, key: str) -> None:
        self._db.execute(_CLEAR_ALL, (service, key))

    def session(self, service: str, key: str, state_key: str, value: bytes) -> None:
        execute = self._db.execute
        execute("BEGIN IMMEDIATE")
        dict(execute(_GET_ALL, (service, key))).get(state_key)
        execute(_PUT, (service, key, state_key, value))
        execute("COMMIT")

    def lazy_session(self, service: str, key: str, state_key: str, value: bytes) -> None:
        execute = self._db.execute
        execute("BEGIN IMMEDIATE")
        execute(_GET, (service, key, state_key)).fetchone()
        execute(_PUT, (service, key, state_key, value))
        execute("COMMIT")

    def count(self, service: str, key: str) -> None:
        execute = self._db.execute
        execute("BEGIN IMMEDIATE")
        value = counted(dict(execute(_GET_ALL, (service, key))))
        execute(_PUT, (service, key, "count", value))
        execute("COMMIT")

    def review(self, service: str, key: str) -> None:
        execute = self._db.execute
        execute("BEGIN IMMEDIATE")
        value = reviewed(dict(execute(_GET_ALL, (service, key))))
        execute(_PUT, (service, key, "count", value))
        execute("COMMIT")

    def scan(self) -> int:
        return _count(self._db.execute("SELECT service, key, state_key, value FROM entries"))

    def scan_loop(self, objects: int) -> int:
        return _count(repeat(("", "", "", b""), objects * len(STATE_KEYS)))

    def scan_objects(self, service: str, start: str, count: int) -> dict[str, Entries]:
        objects: dict[str, Entries] = {}
        for key, state_key, value in self._db.execute(_SCAN, (service, start)):
            entries = objects.get(key)
            if entries is None:
                if len(objects) == count:
                    break
                entries = objects[key] = {}
            entries[state_key] = value
        return objects

    def compact(self) -> None:
        self._db.execute("VACUUM")
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    rewrite = compact

    def settle(self) -> float:
        """Return at once: nothing runs in the background."""
        return 0.0

    def close(self) -> None:
        self._db.close()


def _count(rows: Iterable[tuple[str, str, str, bytes]]) -> int:
    count = 0
    for _service, _key, _state_key, _value in rows:
        count += 1
    return count


PEER = SQLite
