"""Databases for the tests of the public verbs: in memory, small blocks, a clock that tests move."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

import kvengine
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage.clock import ManualClock

START = 1_700_000_000.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def fs() -> MemoryFileSystem:
    return MemoryFileSystem()


@pytest.fixture
def reopen(fs: MemoryFileSystem, clock: ManualClock) -> Iterator[Callable[..., kvengine.Engine]]:
    """Open the database anew, closing it first where it is open."""
    opened: list[kvengine.Engine] = []

    def run(**options: object) -> kvengine.Engine:
        for one in opened:
            one.close()
        settings: dict[str, object] = {
            "fs": fs,
            "clock": clock,
            "background": "none",
            "block_size": 512,
            "chunk_size": 1024,
        }
        opened.append(kvengine.open("/db", **(settings | options)))
        return opened[-1]

    yield run
    for one in opened:
        one.close()


@pytest.fixture
def db(reopen: Callable[..., kvengine.Engine]) -> kvengine.Engine:
    return reopen()


LAYERS = ("memtable", "segment", "reopened", "compacted")


@pytest.fixture(params=LAYERS)
def settle(
    request: pytest.FixtureRequest, reopen: Callable[..., kvengine.Engine]
) -> Callable[[kvengine.Engine], kvengine.Engine]:
    """Move everything written so far to where a test wants to read it; the database to go on with.

    A verb answers the same from the memtable, a segment, a replayed log, a compacted level.
    """

    def move(db: kvengine.Engine) -> kvengine.Engine:
        if request.param == "segment":
            db.flush()
        elif request.param == "reopened":
            return reopen()
        elif request.param == "compacted":
            db.compact()
        return db

    return move
