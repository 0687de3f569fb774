"""Databases whose file calls are counted: in memory, without threads, on a clock that ticks."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator

import pytest

import kvengine
from kvengine.fs.memory import MemoryFileSystem
from tests.guards.counting import CountingFileSystem


class TickingClock:
    """A clock that goes on by a microsecond whenever it is read, as if every commit took that."""

    def __init__(self) -> None:
        self._ticks = 0

    def wall(self) -> int:
        self._ticks += 1
        return 1_700_000_000_000_000 + self._ticks

    def monotonic(self) -> int:
        return self._ticks


@pytest.fixture(autouse=True)
def same_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give files and databases the same ids in each run.

    Slots in the memory of reads and seeds of filters come of them. By chance more blocks shared a
    slot than a bound allows for, in one run of seven, or a filter let one more item through.
    """
    chance = random.Random(0)
    monkeypatch.setattr(random, "SystemRandom", lambda: chance)
    monkeypatch.setattr(os, "urandom", chance.randbytes)


@pytest.fixture
def fs() -> CountingFileSystem:
    return CountingFileSystem(MemoryFileSystem())


@pytest.fixture
def opened(fs: CountingFileSystem) -> Iterator[Callable[..., kvengine.Engine]]:
    """Open a database with options of one's own."""
    found: list[kvengine.Engine] = []

    def run(**options: object) -> kvengine.Engine:
        settings: dict[str, object] = {
            "fs": fs,
            "clock": TickingClock(),
            "background": "none",
            "durability": "os",
            "memtable_size": 1 << 30,
        }
        found.append(kvengine.open(f"/db{len(found)}", **(settings | options)))
        return found[-1]

    yield run
    for one in found:
        one.close()


@pytest.fixture
def db(opened: Callable[..., kvengine.Engine]) -> kvengine.Engine:
    return opened()
