"""What runs on the loop; commits that share syncs; cancellation; several loops."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import kvengine
import kvengine.aio
from kvengine.aio.waiting import Waits
from kvengine.fs.memory import MemoryFileSystem
from tests.regressions.disks import HookedDisk


@pytest.fixture
def hops(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what was handed to a thread."""
    found: list[str] = []
    original = Waits.run

    def run(self: Waits, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        found.append(getattr(work, "__name__", str(work)))
        return original(self, work, *args, **kwargs)

    monkeypatch.setattr(Waits, "run", run)
    return found


def test_what_is_in_memory_is_read_on_the_loop(engine: kvengine.Engine, hops: list[str]) -> None:
    """Reads and sessions of objects in use or absent, and `os` commits, start no thread."""

    async def main() -> None:
        db = kvengine.aio.wrap(engine)
        obj = db.object("S", "k")
        await obj.set("a", 1)
        await db.set("S", "k", "b", b"2")
        assert await obj.get("a") == 1
        assert await obj.get_all() == {"a": 1, "b": 2}
        assert await db.load("S", "absent") is None
        for arguments in ({}, {"preload": False}, {"preload": ["a"]}, {"read_only": True}):
            async with obj.session(**arguments) as state:
                assert await state.get("a") == 1
                assert await state.state_keys() == ["a", "b"]
                if not arguments.get("read_only"):
                    state.set("c", 1)
                    await state.commit()
                    state.clear("c")
        assert hops == []

    asyncio.run(main())


def test_what_is_on_disk_is_read_in_a_thread(engine: kvengine.Engine, hops: list[str]) -> None:
    """The first read of an object that lies in a segment is waited for; the next is not."""
    engine.object("S", "k").set("a", 1)
    engine.flush()

    async def main() -> None:
        db = kvengine.aio.wrap(engine)
        assert await db.object("S", "nowhere").get("a") is None
        assert hops == []
        async with db.object("S", "k").session() as state:
            assert len(hops) == 1
            assert await state.get("a") == 1
        assert await db.object("S", "k").get("a") == 1
        assert len(hops) == 1

    asyncio.run(main())


def test_durable_commits_share_syncs(tmp_path: Path) -> None:
    """Commits of many tasks, each durable when it returns, take far fewer syncs than commits."""

    async def main() -> None:
        async with kvengine.aio.open(tmp_path / "db", durability="sync") as db:

            async def work(number: int) -> None:
                async with db.object("S", f"k{number}").session() as state:
                    state.set("n", number)

            before = db.stats()
            await asyncio.gather(*(work(number) for number in range(400)))
            after = db.stats()
            assert after.commits - before.commits == 400
            assert after.syncs - before.syncs <= 20

    asyncio.run(main())
    with kvengine.open(tmp_path / "db") as db:
        assert len(list(db.object_keys("S"))) == 400


@pytest.fixture
def slow() -> Iterator[tuple[HookedDisk, threading.Event, threading.Event]]:
    """A disk whose syncs wait, once armed: ``began`` is set by one that does."""
    disk = HookedDisk()
    began, go_on = threading.Event(), threading.Event()
    yield disk, began, go_on
    go_on.set()


def hold_syncs(disk: HookedDisk, began: threading.Event, go_on: threading.Event) -> None:
    def hook(called: str, path: str) -> None:
        if called == "datasync" and path.endswith(".wal"):
            began.set()
            go_on.wait(10)

    disk.hook = hook


def test_a_commit_that_waits_for_its_sync_when_the_database_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is durable when the close has ended, and its task goes on.

    Its sync was to start after the close, and was refused: the task waited for ever.
    """
    real, begun, go = kvengine.Engine._finish_write, threading.Event(), threading.Event()

    def late(self: kvengine.Engine, commit: Any) -> int:
        if not begun.is_set():
            begun.set()
            assert go.wait(20)
        return real(self, commit)

    monkeypatch.setattr(kvengine.Engine, "_finish_write", late)

    async def main() -> None:
        db = await kvengine.aio.open(tmp_path / "db")
        first = asyncio.create_task(db.set("S", "k", "a", b"1"))
        assert await asyncio.to_thread(begun.wait, 10)
        second = asyncio.create_task(db.set("S", "k", "b", b"1"))
        await asyncio.sleep(0)
        await db.close()
        go.set()
        async with asyncio.timeout(10):
            assert await first < await second

    asyncio.run(main())


def test_a_cancelled_commit_is_in_and_the_turn_is_given_back(
    slow: tuple[HookedDisk, threading.Event, threading.Event],
) -> None:
    """Cancelled while its commit waits for the disk, a session ends when the commit has.

    Who has the object next finds the commit, whole, and no conflict.
    """
    disk, began, go_on = slow

    async def main() -> None:
        async with kvengine.aio.open("/db", fs=disk, background="none") as db:
            obj = db.object("S", "k")
            await obj.set("n", 0)

            async def work() -> None:
                async with obj.session() as state:
                    state.set("n", 1)
                    state.set("m", 1)

            hold_syncs(disk, began, go_on)
            task = asyncio.create_task(work())
            await asyncio.to_thread(began.wait, 10)
            task.cancel()
            await asyncio.sleep(0.02)
            assert not task.done(), "the commit is under way, and the turn is still taken"
            with pytest.raises(kvengine.SessionTimeout):
                async with obj.session(timeout=0):
                    pytest.fail("half way through somebody's commit")
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with obj.session(timeout=0) as state:
                assert await state.get_all() == {"m": 1, "n": 1}
                state.set("n", 2)
            assert await obj.get("n") == 2

    asyncio.run(main())


def test_a_cancelled_commit_in_the_middle_of_a_session(
    slow: tuple[HookedDisk, threading.Event, threading.Event],
) -> None:
    """Cancelled in commit(), a session that goes on all the same goes on from that commit."""
    disk, began, go_on = slow

    async def main() -> None:
        async with kvengine.aio.open("/db", fs=disk, background="none") as db:
            obj = db.object("S", "k")
            await obj.set("n", 0)

            async def work() -> None:
                async with obj.session() as state:
                    state.set("n", 1)
                    try:
                        await state.commit()
                    except asyncio.CancelledError:
                        state.set("cleanup", True)

            hold_syncs(disk, began, go_on)
            task = asyncio.create_task(work())
            await asyncio.to_thread(began.wait, 10)
            task.cancel()
            go_on.set()
            await task
            assert await obj.get_all() == {"cleanup": True, "n": 1}

    asyncio.run(main())


def test_a_cancelled_waiter_leaves_the_queue(engine: kvengine.Engine) -> None:
    """Cancelled while it waits for its turn, a task holds up nobody."""

    async def main() -> None:
        obj = kvengine.aio.wrap(engine).object("S", "k")
        order: list[int] = []

        async def work(number: int) -> None:
            async with obj.session() as state:
                order.append(number)
                await asyncio.sleep(0.01)
                state.set("n", number)

        tasks = [asyncio.create_task(work(number)) for number in range(4)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert order == [0, 2, 3]
        assert len(engine._host.turns) == 0

    asyncio.run(main())


def test_a_timeout_around_a_session(engine: kvengine.Engine) -> None:
    """asyncio.timeout() ends a wait for a turn, and work within a session, as usual."""

    async def main() -> None:
        obj = kvengine.aio.wrap(engine).object("S", "k")
        async with obj.session() as state:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await asyncio.create_task(enter(obj))
            state.set("n", 1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                async with obj.session() as state:
                    state.set("n", 2)
                    await asyncio.sleep(10)
        assert await obj.get("n") == 1

    asyncio.run(main())


async def enter(obj: kvengine.aio.VirtualObject) -> None:
    async with obj.session():
        pytest.fail("it was not our turn")


def test_a_database_belongs_to_its_loop() -> None:
    """Used from another loop it says so; wrap() in each loop shares one database between them."""
    with kvengine.open("/db", fs=MemoryFileSystem(), background="none") as engine:
        db = kvengine.aio.wrap(engine)

        async def one() -> None:
            await db.object("S", "k").set("a", 1)

        async def other() -> None:
            with pytest.raises(kvengine.KVEngineError, match="another event loop"):
                await db.object("S", "k").get("a")
            with pytest.raises(kvengine.KVEngineError, match="another event loop"):
                async with db.object("S", "k").session():
                    pytest.fail("entered")
            assert await kvengine.aio.wrap(engine).object("S", "k").get("a") == 1

        asyncio.run(one())
        asyncio.run(other())


def test_two_loops_take_turns() -> None:
    """Tasks of loops in different threads, on one database, lose no update."""
    with kvengine.open("/db", fs=MemoryFileSystem(), durability="os") as engine:

        async def main() -> None:
            obj = kvengine.aio.wrap(engine).object("S", "k")

            async def work() -> None:
                for _ in range(50):
                    async with obj.session() as state:
                        state.set("n", await state.get("n", 0) + 1)

            await asyncio.gather(*(work() for _ in range(4)))

        threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert engine.object("S", "k").get("n") == 600


def test_opening_that_is_cancelled_leaves_nothing_open(tmp_path: Path) -> None:
    """Cancelled while it opens, a database is closed again: it can be opened."""

    async def main() -> None:
        for delay in (0, 0.001, 0.01):
            task = asyncio.ensure_future(opened(tmp_path / "db"))
            await asyncio.sleep(delay)
            task.cancel()
            found = (await asyncio.gather(task, return_exceptions=True))[0]
            if isinstance(found, kvengine.aio.Engine):
                await found.close()
            async with kvengine.aio.open(tmp_path / "db") as db:
                await db.set("S", "k", "a", b"1")

    asyncio.run(main())


async def opened(path: Path) -> kvengine.aio.Engine:
    return await kvengine.aio.open(path)
