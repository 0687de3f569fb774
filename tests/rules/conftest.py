"""A database in memory without background work, and a clock that stands still."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import kvengine
from kvengine.fs import MemoryFileSystem
from kvengine.storage.clock import ManualClock
from tests.rules.place import opened


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def fs() -> MemoryFileSystem:
    return MemoryFileSystem()


@pytest.fixture
def db(fs: MemoryFileSystem, clock: ManualClock) -> Iterator[kvengine.Engine]:
    with opened(fs, clock) as found:
        yield found
