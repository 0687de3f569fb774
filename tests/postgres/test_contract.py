"""The contract of a Store, held by a PostgreSQL database: directly, awaited, behind a pooler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

import kvengine
import kvengine.aio
from kvengine.testing import StoreContract, blocking
from tests.postgres.servers import PgBouncer

Another = Callable[[], kvengine.Store]


class OnPostgres(StoreContract):
    """What the homes below have in common. ``url``: of the database."""

    programs = 15
    session_programs = 15

    @pytest.fixture
    def url(self, empty_database: str) -> str:
        return empty_database

    def connected(self, url: str, stack: ExitStack) -> kvengine.Store:
        return stack.enter_context(kvengine.connect(url))

    @pytest.fixture
    def store(self, url: str) -> Iterator[kvengine.Store]:
        with ExitStack() as stack:
            yield self.connected(url, stack)

    @pytest.fixture
    def another(self, url: str, store: kvengine.Store) -> Iterator[Another]:
        """A client with connections of its own."""
        with ExitStack() as stack:
            yield lambda: self.connected(url, stack)


class TestThreads(OnPostgres):
    """The store for threads."""


class TestTasks(OnPostgres):
    """The store for asyncio, whose verbs a thread awaits."""

    def connected(self, url: str, stack: ExitStack) -> kvengine.Store:
        return stack.enter_context(blocking(kvengine.aio.connect(url)))


class TestPooled(OnPostgres):
    """The store for threads, behind pgbouncer, which hands out servers by transaction."""

    @pytest.fixture
    def url(self, empty_database: str, pgbouncer: PgBouncer) -> str:
        return pgbouncer.url + empty_database[empty_database.index("?") :]
