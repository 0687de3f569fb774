"""The contract of a Store, held by a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import kvengine
import kvengine.aio
from kvengine.testing import StoreContract, blocking


class TestThreads(StoreContract):
    """The store for threads, and a second client of the same database."""

    @pytest.fixture
    def store(self, database: str) -> Iterator[kvengine.Store]:
        self.url = database
        with kvengine.connect(database) as store:
            yield store


class TestTasks(StoreContract):
    """The store for asyncio, whose verbs a thread awaits."""

    @pytest.fixture
    def store(self, database: str) -> Iterator[kvengine.Store]:
        with blocking(kvengine.aio.connect(database)) as store:
            yield store
