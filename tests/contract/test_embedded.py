"""The contract of a Store, held by the embedded engine in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import kvengine
import kvengine.aio
from kvengine.testing import (
    ManualClock,
    MemoryDatabase,
    MemoryFileSystem,
    StoreContract,
    blocking,
)

LIMITS = {"max_value_size": 1 << 20, "max_commit_size": 4 << 20}
"""So that a test can afford to reach them."""


class TestThreads(StoreContract):
    """The engine itself, on a clock that the tests move."""

    @pytest.fixture
    def store(self) -> Iterator[kvengine.Store]:
        with MemoryDatabase(**LIMITS) as kv:
            self.clock = kv.clock
            yield kv.db

    def sleep(self, store: kvengine.Store, seconds: float) -> None:
        self.clock.advance(seconds)


class TestTasks(StoreContract):
    """The same awaited, on an event loop in another thread."""

    @pytest.fixture
    def store(self) -> Iterator[kvengine.Store]:
        self.clock = ManualClock()
        options = {"fs": MemoryFileSystem(), "clock": self.clock, "background": "none"}
        with blocking(kvengine.aio.open("/db", **options, **LIMITS)) as store:
            yield store

    def sleep(self, store: kvengine.Store, seconds: float) -> None:
        self.clock.advance(seconds)
