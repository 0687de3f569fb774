"""`kvengine.testing.blocking`: what the contract, which runs on it, does not show of it."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

import kvengine
import kvengine.aio
from kvengine.testing import MemoryDatabase, blocking


def test_whoever_waits_at_its_end_is_told() -> None:
    """A thread that waits for an object goes on when the block ends, and the loop ends too."""
    told: list[BaseException] = []

    def wait() -> None:
        try:
            with store.object("S", "k").session():
                pytest.fail("it was not our turn")
        except BaseException as error:
            told.append(error)

    with MemoryDatabase() as kv:
        with blocking(kvengine.aio.wrap(kv.db)) as store:
            held = store.object("S", "k").session()
            held.__enter__()
            waiting = threading.Thread(target=wait, daemon=True)
            waiting.start()
            while kv.db._host.turns.claims(("S", "k")) < 2:
                time.sleep(0.001)
        waiting.join(60)
        assert not waiting.is_alive() and isinstance(told[0], asyncio.CancelledError)


def test_a_store_that_does_not_open() -> None:
    """What opening raises is raised, and no thread is left."""
    before = threading.active_count()
    with pytest.raises(kvengine.NotADatabase):
        with blocking(kvengine.aio.open("/nowhere/at/all", create=False)):
            pytest.fail("opened")
    assert threading.active_count() == before


def test_functions_may_call_blocking_verbs() -> None:
    """What update calls runs in a thread: in the loop it would wait for itself."""
    with MemoryDatabase() as kv, blocking(kvengine.aio.wrap(kv.db)) as store:
        obj = store.object("S", "k")
        obj.set("a", 20)
        assert obj.update("b", lambda value: value + obj.get("a"), 1) == 21
