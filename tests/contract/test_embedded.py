"""The contract of a Store, held by the embedded engine in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import kvengine
from kvengine.testing import MemoryDatabase, StoreContract


class TestThreads(StoreContract):
    """The engine itself, on a clock that the tests move."""

    @pytest.fixture
    def store(self) -> Iterator[kvengine.Store]:
        with MemoryDatabase() as kv:
            self.clock = kv.clock
            yield kv.db

    def sleep(self, store: kvengine.Store, seconds: float) -> None:
        self.clock.advance(seconds)
