"""The contract of a Store, held by a client of a shared directory and by its owner."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import kvengine
from kvengine.options import Options
from kvengine.share.awaited import AsyncSharedStore
from kvengine.share.opening import join, share
from kvengine.share.store import SharedStore
from kvengine.testing import ManualClock, StoreContract, blocking

LIMITS = {"max_value_size": 1 << 20, "max_commit_size": 4 << 20}
"""So that a test can afford to reach them."""


def client(path: str) -> SharedStore:
    return join(path, durability="sync", serde="json", serdes=None, retention=None, timeout=30)


class Shared(StoreContract):
    """A directory whose owner has a clock that the tests move."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Iterator[str]:
        """Give a directory that somebody owns."""
        self.clock = ManualClock()
        with kvengine.open(tmp_path / "db", clock=self.clock, **LIMITS) as owner:
            yield owner.path

    def sleep(self, store: kvengine.Store, seconds: float) -> None:
        self.clock.advance(seconds)


class TestClients(Shared):
    """Clients of an owner, each with a connection of its own."""

    @pytest.fixture
    def store(self, path: str) -> Iterator[kvengine.Store]:
        with client(path) as store:
            yield store

    @pytest.fixture
    def another(self, path: str) -> Iterator[Callable[[], kvengine.Store]]:
        with ExitStack() as opened:
            yield lambda: opened.enter_context(client(path))


class TestTasks(Shared):
    """A client, awaited."""

    @pytest.fixture
    def store(self, path: str) -> Iterator[kvengine.Store]:
        with blocking(AsyncSharedStore(client(path))) as store:
            yield store

    @pytest.fixture
    def another(self, path: str) -> Iterator[Callable[[], kvengine.Store]]:
        with ExitStack() as opened:
            yield lambda: opened.enter_context(blocking(AsyncSharedStore(client(path))))


class TestOwners(Shared):
    """The owner itself, and another one of its process."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[kvengine.Store]:
        self.clock = ManualClock()
        with self.owner(tmp_path) as store:
            yield store

    @pytest.fixture
    def another(self, tmp_path: Path) -> Iterator[Callable[[], kvengine.Store]]:
        with ExitStack() as opened:
            yield lambda: opened.enter_context(self.owner(tmp_path))

    def owner(self, path: Path) -> SharedStore:
        return share(str(path / "db"), Options(clock=self.clock, **LIMITS))
