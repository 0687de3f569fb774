"""Without the cycle collector nothing grows: what a session leaves behind goes by references."""

from __future__ import annotations

import asyncio
import contextvars
import gc
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

import kvengine
import kvengine.aio
from kvengine.options import Durability

pytestmark = pytest.mark.slow

ROUNDS = 10_000


class Basket(kvengine.State):
    count: int = 0
    tags: list[str] = []


@pytest.fixture
def db(tmp_path: Path) -> Iterator[kvengine.Engine]:
    with kvengine.open(tmp_path / "db", durability="os", background="none") as found:
        yield found


def left_behind(work: Callable[[int], object], rounds: int = ROUNDS) -> dict[str, int]:
    """Run work so many times without the collector; what there is more of then, by type."""
    for number in range(100):
        work(number)
    gc.collect()
    gc.disable()
    try:
        before = Counter(type(each).__name__ for each in gc.get_objects())
        for number in range(rounds):
            work(number)
        after = Counter(type(each).__name__ for each in gc.get_objects())
    finally:
        gc.enable()
    return {name: count for name, count in (after - before).items() if count > rounds // 20}


def test_sessions(db: kvengine.Engine) -> None:
    """Of each kind: eager, lazy, typed, read-only, and those that end in an error or a conflict."""
    obj = db.object("S", "k")

    def work(number: int) -> None:
        with obj.session() as state:
            state.set("n", number)
        with obj.session(preload=False) as state:
            state.increment("n")
        with obj.session(Basket) as typed:
            typed.count += 1
            typed.tags = ["a"]
        with obj.session(Basket, read_only=True) as typed:
            assert typed.tags == ["a"]
        with suppress(KeyError), obj.session(Basket) as typed:
            typed.tags.append("b")
            raise KeyError(number)
        with suppress(kvengine.VersionConflict), obj.session(Basket) as typed:
            obj.set("n", 0)
            typed.count += 1
        with obj.session(), suppress(kvengine.SessionTimeout), obj.session(timeout=0):
            pass
        obj.update("n", lambda value: value + 1)

    assert left_behind(work) == {}


def test_sessions_across_threads(db: kvengine.Engine) -> None:
    """Entered in one thread, left in another, each time in a context of its own."""
    obj = db.object("S", "k")
    with ThreadPoolExecutor(1) as pool:

        def work(number: int) -> None:
            block = obj.session(Basket)
            state = pool.submit(contextvars.copy_context().run, block.__enter__).result()
            state.count = number
            block.__exit__(None, None, None)

        assert left_behind(work, ROUNDS // 10) == {}


def test_retries(db: kvengine.Engine) -> None:
    """A conflict that runs again, and one that is raised in the end."""
    obj = db.object("S", "k")

    def work(number: int) -> None:
        for attempt in kvengine.retry(times=2):
            with attempt, obj.session(Basket) as state:
                if attempt.number == 1:
                    obj.set("n", number)
                state.count += 1

    assert left_behind(work, ROUNDS // 20) == {}


@pytest.mark.parametrize("durability", ["os", "sync"])
def test_sessions_of_tasks(db: kvengine.Engine, durability: Durability) -> None:
    """Of asyncio, typed ones and conflicts included."""

    async def main() -> dict[str, int]:
        obj = kvengine.aio.wrap(db).object("S", "k")

        async def round_of(number: int) -> None:
            async with obj.session(durability=durability) as state:
                await state.increment("n")
            async with obj.session(Basket, preload=False, durability=durability) as typed:
                typed.tags = [str(number)]
            with suppress(kvengine.VersionConflict):
                async with obj.session(Basket, durability=durability) as typed:
                    db.set("S", "k", "n", b"0")
                    typed.count += 1
            with suppress(KeyError):
                async with obj.session(Basket) as typed:
                    raise KeyError(number)
            with suppress(kvengine.SessionTimeout):
                async with obj.session(), obj.session(timeout=0):
                    pass

        for number in range(100):
            await round_of(number)
        gc.collect()
        gc.disable()
        rounds = ROUNDS if durability == "os" else ROUNDS // 10
        try:
            before = Counter(type(each).__name__ for each in gc.get_objects())
            for number in range(rounds):
                await round_of(number)
            after = Counter(type(each).__name__ for each in gc.get_objects())
        finally:
            gc.enable()
        return {name: count for name, count in (after - before).items() if count > rounds // 20}

    assert asyncio.run(main()) == {}
