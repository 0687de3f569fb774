"""The awaited verbs are those of threads: the same names, arguments and answers."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import kvengine
import kvengine.aio

SYNC_ONLY = {
    "options",
    "path",
}
"""Of the engine beneath (``db.engine``): nothing there waits."""


def public(what: type) -> set[str]:
    return {name for name in dir(what) if not name.startswith("_")}


def arguments(verb: Any) -> list[str]:
    return list(inspect.signature(verb).parameters)


@pytest.mark.parametrize(
    ("sync", "awaited", "apart"),
    [
        (kvengine.Engine, kvengine.aio.Engine, SYNC_ONLY | {"engine"}),
        (kvengine.VirtualObject, kvengine.aio.VirtualObject, {"mapping", "contains"}),
        (kvengine.Workflow, kvengine.aio.Workflow, {"mapping", "contains"}),
        (kvengine.Session, kvengine.aio.Session, {"mapping", "contains"}),
    ],
)
def test_the_same_verbs(sync: type, awaited: type, apart: set[str]) -> None:
    """What one has the other has, with the same arguments; `contains` stands in for `in`."""
    assert public(sync) ^ public(awaited) <= apart
    for name in public(sync) & public(awaited):
        one, other = getattr(sync, name), getattr(awaited, name)
        if callable(one):
            assert arguments(one) == arguments(other), name
            assert other.__doc__ or not one.__doc__, name


def test_every_verb_of_the_store(engine: kvengine.Engine) -> None:
    """Each verb of bytes does what it says."""

    async def main() -> None:
        db = kvengine.aio.wrap(engine)
        stamp = await db.set("S", "k", "a", b"1", ttl=timedelta(seconds=50))
        assert await db.version("S", "k") == stamp
        assert await db.get("S", "k", "a") == b"1"
        assert await db.get("S", "k", "nothing") is None
        async with db.batch() as batch:
            batch.set("S", "k", "b", b"2")
            batch.set("S", "l", "c", b"3")
        assert await db.get_many("S", "k", ["b", "x"]) == {"b": b"2"}
        assert await db.get_all("S", "k") == {"a": b"1", "b": b"2"}
        found = await db.load("S", "k", max_bytes=2)
        assert found is not None and found.partial and found.entries == {"a": b"1"}
        assert await db.state_keys("S", "k", start="b") == ["b"]
        assert await db.services() == ["S"]
        assert [key async for key in db.object_keys("S", reverse=True)] == ["l", "k"]
        assert [one.key async for one in db.scan("S", prefix="l")] == ["l"]
        assert await db.expire("S", "k", ttl=100)
        assert await db.expires_at("S", "k") is not None
        assert list(await db.load_many("S", ["l", "k"])) == ["l", "k"]
        assert await db.exists("S", "k") and await db.count("S") == 2
        assert db.limits == engine.limits
        async with db.snapshot() as snapshot:
            assert await db.pop("S", "k", "a") == b"1" and await db.pop("S", "k", "a") is None
            assert await snapshot.get("S", "k", "a") == b"1"
            assert [one.key async for one in snapshot.scan("S", reverse=True, limit=1)] == ["l"]
            assert snapshot.stamp == engine.stats().last_stamp - 1
        with pytest.raises(kvengine.DatabaseClosed):
            await snapshot.get("S", "k", "a")
        await db.set("S", "k", "a", b"1", expires_at=4e9)
        assert await db.expires_at("S", "k", "a") == 4e9
        await db.clear_all("S", "k")
        await db.clear_range("S", "l", "m")
        assert await db.services() == []
        await db.set("T", "k", "a", b"1")
        await db.clear_service("T")
        change = kvengine.Batch()
        change.set("S", "k", "a", b"1")
        with pytest.raises(kvengine.VersionConflict):
            await db.write(change, expect={("S", "k"): 1}, durability="sync")
        await db.write(change, expect={("S", "k"): 0}, durability="sync")
        await db.flush()
        await db.compact()
        await db.compact("S")
        assert await db.verify() == []
        assert db.stats().segments == 1
        await db.checkpoint("/copy")
        assert db.engine is engine

    asyncio.run(main())


def test_a_walk_that_is_left_lets_go_of_its_moment(engine: kvengine.Engine) -> None:
    """By `aclosing`, at once. A walk that was left kept its moment until it was collected."""
    with engine.batch() as batch:
        for number in range(1000):
            batch.set("S", f"k{number:04}", "a", b"1")

    async def main() -> None:
        db = kvengine.aio.wrap(engine)
        async with aclosing(db.scan("S")) as walk:
            async for _ in walk:
                break
        async with aclosing(db.object_keys("S")):
            pass  # not begun
        assert engine.stats().open_snapshots == 0

    asyncio.run(main())


def test_closing_what_wrap_gave_leaves_the_engine_open(engine: kvengine.Engine) -> None:
    """Each request of a web server wrapped the engine in `async with`: the first one closed it
    for all others. Now that ends its use in this loop, and a second loop may wrap it too.
    """

    async def main() -> None:
        async with kvengine.aio.wrap(engine) as db:
            await db.set("S", "k", "a", b"1")
        for use in (
            lambda: db.get("S", "k", "a"),
            lambda: db.set("S", "k", "a", b"2"),
            lambda: db.object("S", "k").set("a", 2),
            db.flush,
            lambda: anext(db.scan()),
        ):
            with pytest.raises(kvengine.DatabaseClosed, match="this database is closed"):
                await use()
        await db.close()

    asyncio.run(main())
    asyncio.run(main())
    assert engine.get("S", "k", "a") == b"1"


def test_the_wrong_kind_of_with_says_which_is_right(engine: kvengine.Engine) -> None:
    """Python says "does not support the context manager protocol", which names neither the fault
    nor the cure.
    """
    db = kvengine.aio.wrap(engine)
    past = db.snapshot()
    for awaited in (db, past, kvengine.aio.open("/nowhere")):
        with pytest.raises(TypeError, match="takes `async with`, not `with`"):
            with awaited:
                pytest.fail("entered")
    asyncio.run(past.close())

    async def main(plain: Any) -> None:
        async with plain:
            pytest.fail("entered")

    with engine.snapshot() as snapshot:
        for plain in (engine, snapshot):
            with pytest.raises(TypeError, match="takes `with`, not `async with`"):
                asyncio.run(main(plain))


class Greeter(kvengine.State):
    name: str = "world"
    count: int = 0
    tags: list[str] = []


@pytest.mark.parametrize("loading", [{}, {"preload": False}, {"preload_limit": 1}])
def test_typed_state(engine: kvengine.Engine, loading: dict[str, Any]) -> None:
    """Attributes are read without awaiting: a typed session loads its fields whatever else it does.

    Entries that no field names stay lazy, and are awaited.
    """
    engine.object("Greeter", "k").set("other", "kept")
    engine.object("Greeter", "k").set("name", "alice")

    async def main() -> None:
        handle = kvengine.aio.wrap(engine).object("Greeter", "k")
        async with handle.session(Greeter, **loading) as state:
            assert state.name == "alice"
            state.count += 1
            state.tags.append("x")
            session = kvengine.aio.session_of(state)
            assert await session.get("other") == "kept"
        assert await handle.get_all() == {
            "count": 1,
            "name": "alice",
            "other": "kept",
            "tags": ["x"],
        }

    asyncio.run(main())


def test_open_and_close(tmp_path: Path) -> None:
    """`async with open()`, or await it; options and errors are those of kvengine.open."""

    async def main() -> None:
        async with kvengine.aio.open(tmp_path / "db", durability="os") as db:
            await db.object("S", "k").set("a", 1)
            assert str(tmp_path) in repr(db)
            with pytest.raises(kvengine.DatabaseLocked):
                await kvengine.aio.open(tmp_path / "db")
        with pytest.raises(kvengine.DatabaseClosed):
            await db.get("S", "k", "a")
        with pytest.raises(kvengine.DatabaseClosed):
            await db.services()
        await db.close()
        again = await kvengine.aio.open(tmp_path / "db")
        assert await again.object("S", "k").get("a") == 1
        await again.close()
        with pytest.raises(TypeError, match="nonsense"):
            await kvengine.aio.open(tmp_path / "db", nonsense=1)
        with pytest.raises(kvengine.NotADatabase):
            async with kvengine.aio.open(tmp_path / "no", create=False):
                pytest.fail("opened")

    asyncio.run(main())
