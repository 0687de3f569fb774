"""`update`, `increment` and `pop`: an entry by what it was, as one commit, or within a session."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import kvengine
import kvengine.aio
from kvengine.storage.clock import ManualClock
from tests.api.refusals import refuses
from tests.sessions.ways import WAYS, Way


@pytest.fixture(params=WAYS.values(), ids=WAYS.keys())
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


def append(item: str) -> Callable[[list[str]], list[str]]:
    def change(items: list[str]) -> list[str]:
        items.append(item)
        return items

    return change


def test_what_fails_writes_nothing(obj: kvengine.VirtualObject) -> None:
    """The function's error, a value that does not encode, a name that is none."""
    obj.set("n", 1)
    before = obj.version()
    with pytest.raises(ZeroDivisionError):
        obj.update("n", lambda n: n / 0)
    with refuses(kvengine.SerdeError, "does not encode"):
        obj.update("n", lambda _: object())
    with refuses(TypeError, "state_key"):
        obj.update(1, lambda n: n)  # type: ignore[arg-type]
    assert obj.version() == before


def test_a_ttl_is_kept(obj: kvengine.VirtualObject, clock: ManualClock) -> None:
    """A rate limit of a minute counted for ever: each addition had ended its ttl."""
    obj.set("hits", 1, ttl=60)
    ends = obj.expires_at("hits")
    clock.advance(30)
    assert obj.increment("hits") == 2
    assert obj.expires_at("hits") == ends == clock.wall() / 1e6 + 30
    clock.advance(30)
    assert obj.expires_at("hits") is None and obj.increment("hits") == 1
    assert obj.expires_at("hits") is None


@pytest.mark.parametrize("verb", ["update", "increment", "awaited"])
def test_a_ttl_that_passes_meanwhile_is_not_forgotten(
    db: kvengine.Engine, clock: ManualClock, verb: str
) -> None:
    """The value was read, then its expiry: one that expired in between was set anew, for good."""
    obj = db.object("S", "o")
    obj.set("kept", 1)
    obj.set("n", 100, ttl=10)
    store = obj._host.store
    get = store.get

    class Late:
        """The store, whose clock goes on as soon as the value was read."""

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def get(self, *names: str) -> bytes | None:
            found = get(*names)
            clock.advance(20)
            return found

    obj._host.store = Late()
    try:
        if verb == "awaited":
            face = kvengine.aio.wrap(db)

            async def add() -> None:
                handle = face.object("S", "o")
                assert await handle.increment("n") == 101
                await face.close()

            asyncio.run(add())
        elif verb == "update":
            assert obj.update("n", lambda value: value + 1) == 101
        else:
            assert obj.increment("n") == 101
    finally:
        obj._host.store = store
    assert obj.get("n") is None, "101 expired with 100"


def test_a_conflict_that_the_function_meets_is_raised(obj: kvengine.VirtualObject) -> None:
    """It was taken for one of the update itself, and the function was called for ever."""
    calls: list[int] = []

    def fails(value: int | None) -> int:
        calls.append(1)
        raise kvengine.VersionConflict("Other", "o", 1, 2)

    with pytest.raises(kvengine.VersionConflict, match="Other"):
        obj.update("n", fails)
    assert calls == [1]


def test_an_entry_is_set_to_expire_at_a_time(
    db: kvengine.Engine, obj: kvengine.VirtualObject, clock: ManualClock
) -> None:
    """`set` of a handle takes what that of the store takes; so does asyncio's."""
    at = datetime.fromtimestamp(clock.now(), UTC) + timedelta(seconds=10)
    obj.set("n", 1, expires_at=at)
    assert obj.expires_at("n") == at.timestamp()

    async def awaited() -> None:
        face = kvengine.aio.wrap(db)
        await face.object(obj.service, obj.key).set("m", 1, expires_at=at)
        await face.close()

    asyncio.run(awaited())
    clock.advance(11)
    assert obj.get("n") is obj.get("m") is None


def test_a_conflict_runs_it_again(obj: kvengine.VirtualObject) -> None:
    """What somebody else commits between look and write is not lost."""
    obj.set("n", 1)
    calls = []

    def change(value: int) -> int:
        calls.append(value)
        if len(calls) == 1:
            obj.set("n", 10)
        return value + 1

    assert obj.update("n", change) == 11 and calls == [1, 10]


def test_a_session_that_is_open(obj: kvengine.VirtualObject) -> None:
    """It is a commit of its own, as every verb of a handle: the session that writes conflicts."""
    with obj.session() as reader:
        assert obj.increment("n") == 1 and reader.get("n") is None
    with pytest.raises(kvengine.VersionConflict):
        with obj.session() as state:
            obj.increment("n")
            state.increment("n")
    assert obj.get("n") == 2


@pytest.mark.parametrize("durability", ["os", "sync"])
def test_no_addition_is_lost(tmp_path: Path, durability: Any) -> None:
    """Threads, tasks and sessions that add to one entry at a time."""
    rounds = 50 if durability == "os" else 5
    with kvengine.open(tmp_path / "db", durability=durability) as db:
        obj = db.object("S", "k")

        def add() -> None:
            for _ in range(rounds):
                obj.increment("n")

        @kvengine.retry(times=1000)
        def add_in_a_session() -> None:
            with obj.session() as state:
                state.increment("n")

        async def tasks() -> None:
            awaited = kvengine.aio.wrap(db).object("S", "k")

            async def work() -> None:
                for _ in range(rounds):
                    await awaited.increment("n")

            await asyncio.gather(work(), work())

        threads = [threading.Thread(target=add) for _ in range(3)]
        threads.append(threading.Thread(target=lambda: asyncio.run(tasks())))
        threads.append(threading.Thread(target=lambda: [add_in_a_session() for _ in range(rounds)]))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert obj.get("n") == 6 * rounds


def test_in_asyncio(db: kvengine.Engine, clock: ManualClock) -> None:
    """The same verbs, awaited; the function may be a coroutine function."""

    async def main() -> None:
        obj = kvengine.aio.wrap(db).object("S", "k")

        async def change(items: list[str]) -> list[str]:
            await asyncio.sleep(0)
            return [*items, "tea"]

        assert await obj.update("items", change, []) == ["tea"]
        assert await obj.update("items", append("milk")) == ["tea", "milk"]
        await obj.set("n", 1, ttl=timedelta(seconds=10))
        assert await obj.increment("n", 2) == 3
        assert await obj.expires_at("n") == clock.wall() / 1e6 + 10
        assert await obj.pop("n") == 3 and await obj.pop("n", 0) == 0
        with pytest.raises(TypeError, match="not a number"):
            await obj.increment("items")
        async with obj.session() as state:
            assert await state.update("items", change) == ["tea", "milk", "tea"]

    asyncio.run(main())


def test_in_a_session(db: kvengine.Engine, clock: ManualClock, way: Way) -> None:
    """The same verbs are part of its commit; a ttl is kept, however the entry was loaded."""
    obj = db.object("S", "k")
    now = clock.wall() / 1e6
    obj.set("hits", 1, ttl=60)
    obj.mapping().update(items=["tea"], kept=1)
    with way.session(db) as state:
        assert state.expires_at("hits") == now + 60
        assert state.expires_at("items") is None and state.expires_at("absent") is None
        assert state.increment("hits") == 2 and state.increment("hits") == 3
        assert state.expires_at("hits") == now + 60
        assert state.update("items", append("milk")) == ["tea", "milk"]
        assert state.pop("kept") == 1 and state.pop("kept", 0) == 0
        assert state.increment("new", 2) == 2
        state.set("fresh", 1, ttl=5)
        assert state.increment("fresh") == 2 and state.expires_at("fresh") is None
        assert obj.get("hits") == 1
    assert obj.get_all() == {"fresh": 2, "hits": 3, "items": ["tea", "milk"], "new": 2}
    assert (obj.expires_at("hits"), obj.expires_at("fresh")) == (now + 60, now + 5)
    assert obj.expires_at("new") is None


def test_expiries_after_a_commit_in_the_middle(
    db: kvengine.Engine, clock: ManualClock, way: Way
) -> None:
    """What the session has committed itself counts from that commit, not from its beginning."""
    obj = db.object("S", "k")
    now = clock.wall() / 1e6
    obj.set("a", 1, ttl=60)
    obj.set("b", 1, ttl=60)
    with way.session(db) as state:
        state.set("a", 2)
        state.set("c", 1, ttl=5)
        clock.advance(1)
        state.commit()
        assert [state.expires_at(name) for name in "abc"] == [None, now + 60, now + 6]
        state.increment("c")
        state.increment("b")
    assert [obj.expires_at(name) for name in "abc"] == [None, now + 60, now + 6]


def test_a_read_only_session(obj: kvengine.VirtualObject) -> None:
    """It refuses all of them, and calls nothing."""
    obj.set("n", 1)
    with obj.session(read_only=True) as state:
        for write in (
            lambda: state.update("n", lambda _: pytest.fail("called")),
            lambda: state.increment("n"),
            lambda: state.pop("n"),
        ):
            with refuses(kvengine.ReadOnly, "read-only"):
                write()
        assert state.expires_at("n") is None
