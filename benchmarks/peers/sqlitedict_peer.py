"""sqlitedict: pickled values in SQLite, written by a thread of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlitedict import SqliteDict, __version__

from benchmarks.peers.base import AMPLE, Memory
from benchmarks.peers.one_value import OneValue


class NeverSyncs(NotImplementedError):
    """What is to be synced cannot be asked of this store."""


class SQLiteDict(OneValue):
    """Commits wait until the writing thread has committed. It sets synchronous=OFF for good."""

    def __init__(self, directory: str, durable: bool, memory: Memory = AMPLE) -> None:
        if durable:
            raise NeverSyncs("sqlitedict sets synchronous=OFF")
        self._db = SqliteDict(
            os.path.join(directory, "state.db"), journal_mode="WAL", outer_stack=False
        )
        self._lock = threading.Lock()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            yield
            self._db.commit()

    @staticmethod
    def version() -> str:
        return f"sqlitedict {__version__}"

    @staticmethod
    def settings(memory: Memory = AMPLE) -> str:
        return "an object is one pickled dict; WAL, default cache; synchronous OFF, never synced"


PEER = SQLiteDict
