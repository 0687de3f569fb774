"""Databases for the tests of sessions, and every way to run one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

import kvengine
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage.clock import ManualClock
from tests.sessions.ways import WAYS, Way

START = 1_700_000_000.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def db(clock: ManualClock) -> Iterator[kvengine.Engine]:
    """A database whose clock stands still until the test moves it."""
    options = {"background": "none", "block_size": 512, "chunk_size": 1024}
    with kvengine.open("/db", fs=MemoryFileSystem(), clock=clock, **options) as found:
        yield found


@pytest.fixture(params=["at hand", "memory", "disk"])
def place(request: pytest.FixtureRequest) -> Callable[[kvengine.Engine], None]:
    """Where the object lies when the session begins: in the memtable, or in a segment.

    "at hand": in the memtable, and the session may share what is known of it in whole.
    """

    def settle(db: kvengine.Engine) -> None:
        if request.param != "at hand":
            db._host.reader = None
        if request.param == "disk":
            db.flush()

    return settle


@pytest.fixture(params=WAYS.values(), ids=WAYS.keys())
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found
