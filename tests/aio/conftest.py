"""A database in memory, and a loop to await it in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import kvengine
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def engine(clock: ManualClock) -> Iterator[kvengine.Engine]:
    """The engine beneath, for what is not awaited."""
    options = {"clock": clock, "durability": "os", "background": "thread"}
    with kvengine.open("/db", fs=MemoryFileSystem(), **options) as found:
        yield found
