"""A session that is entered in one thread and left in another, as web frameworks do it."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

import kvengine
import kvengine.aio


@pytest.fixture
def db(tmp_path: Path) -> Iterator[kvengine.Engine]:
    with kvengine.open(tmp_path / "db", durability="os") as found:
        yield found


def submit(pool: ThreadPoolExecutor, work: Callable[..., Any], *args: Any) -> Future[Any]:
    """Run work in a pool, in a context of its own, as asyncio.to_thread and anyio do."""
    return pool.submit(contextvars.copy_context().run, work, *args)


def test_the_next_request_in_the_first_thread_waits(db: kvengine.Engine) -> None:
    """A dependency entered its session in a thread of a pool, and left it in another one.

    The next request came to the first thread meanwhile, and was refused as nested. It waits.
    """
    obj = db.object("Cart", "c")
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        for number in range(20):
            block = obj.session()
            state = submit(first, block.__enter__).result(10)
            later = obj.session(timeout=10)
            waiting = submit(first, later.__enter__)
            while db._host.turns.claims(("Cart", "c")) < 2 and not waiting.done():
                pass
            assert not waiting.done()
            submit(second, state.set, "n", 2 * number).result(10)
            submit(second, block.__exit__, None, None, None).result(10)
            assert waiting.result(10).get("n") == 2 * number
            submit(second, later.__exit__, None, None, None).result(10)
    assert len(db._host.turns) == 0


def test_the_main_thread_had_a_session_before(db: kvengine.Engine) -> None:
    """What contexts inherit from whoever made them does not make two requests one."""
    obj = db.object("Cart", "c")
    with obj.session(), db.object("Cart", "other").session():
        pass
    with ThreadPoolExecutor(1) as pool:
        block = obj.session()
        submit(pool, block.__enter__).result(10)
        with pytest.raises(kvengine.SessionTimeout):
            submit(pool, obj.session(timeout=0.01).__enter__).result(10)
        block.__exit__(None, None, None)


def test_what_is_nested_is_refused(db: kvengine.Engine) -> None:
    """In one flow of calls it would wait for itself: by helpers, stacks and contexts, too."""
    obj = db.object("Cart", "c")

    @contextmanager
    def helper() -> Iterator[kvengine.Session]:
        with obj.session() as state:
            yield state

    def nested() -> None:
        with pytest.raises(kvengine.SessionError, match="this thread or task"):
            with obj.session(timeout=10):
                pytest.fail("nested")

    def all_ways() -> None:
        with helper():
            nested()
            contextvars.copy_context().run(nested)
        with ExitStack() as stack:
            stack.enter_context(obj.session())
            nested()
        with obj.session():
            contextvars.copy_context().run(contextvars.copy_context().run, nested)

    all_ways()
    contextvars.copy_context().run(all_ways)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(all_ways).result(10)
        submit(pool, all_ways).result(10)
    with asyncio.Runner() as runner:
        runner.run(asyncio.sleep(0))
        with obj.session():
            runner.run(asyncio.to_thread(all_ways_elsewhere, db))

            async def enter() -> None:
                async with kvengine.aio.wrap(db).object("Cart", "c").session():
                    pytest.fail("the session around the loop cannot end")

            with pytest.raises(kvengine.SessionError, match="this thread or task"):
                runner.run(enter())


def all_ways_elsewhere(db: kvengine.Engine) -> None:
    """Another thread that was given the context of a session waits as any other thread."""
    with pytest.raises(kvengine.SessionTimeout):
        with db.object("Cart", "c").session(timeout=0.01):
            pytest.fail("two have it")


def test_a_pool_without_contexts(db: kvengine.Engine) -> None:
    """A bare pool runs all in one context: nobody can tell, and the error says the remedy."""
    obj = db.object("Cart", "c")
    with ThreadPoolExecutor(1) as pool:
        block = obj.session()
        pool.submit(block.__enter__).result(10)
        with pytest.raises(kvengine.SessionError, match=r"contextvars\.copy_context"):
            pool.submit(obj.session().__enter__).result(10)
        block.__exit__(None, None, None)
        pool.submit(obj.session(timeout=0).__enter__).result(10)


def test_a_thread_that_ends_first(db: kvengine.Engine) -> None:
    """The thread that entered a session may end before it is left; a new one has its number."""
    obj = db.object("Cart", "c")
    failed: list[type[BaseException]] = []

    def enter() -> None:
        try:
            with obj.session(timeout=0.01):
                pytest.fail("two have it")
        except kvengine.KVEngineError as error:
            failed.append(type(error))

    for number in range(20):
        block = obj.session()
        for work in (block.__enter__, enter):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        assert failed == [kvengine.SessionTimeout] * (number + 1)
        block.__exit__(None, None, None)


def test_dependencies_of_starlette(db: kvengine.Engine) -> None:
    """Requests one after the other in the thread pool of starlette: each has its turn."""
    anyio = pytest.importorskip("anyio")
    concurrency = pytest.importorskip("starlette.concurrency")
    obj = db.object("Counter", "c")

    async def request(number: int) -> None:
        await anyio.sleep(0.001 * number)
        block = obj.session(timeout=30)
        state = await concurrency.run_in_threadpool(block.__enter__)
        await anyio.sleep(0.003)  # the thread takes another request meanwhile
        count = await concurrency.run_in_threadpool(state.get, "n", 0)
        state.set("n", count + 1)
        await anyio.to_thread.run_sync(
            block.__exit__, None, None, None, limiter=anyio.CapacityLimiter(1)
        )

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for number in range(30):
                group.start_soon(request, number)

    anyio.run(main)
    assert obj.get("n") == 30 and len(db._host.turns) == 0


def test_dependencies_of_fastapi(db: kvengine.Engine) -> None:
    """A `def` dependency with `yield` enters, works and leaves in three threads."""
    fastapi = pytest.importorskip("fastapi")
    httpx = pytest.importorskip("httpx")
    app = fastapi.FastAPI()

    def state_of(key: str) -> Iterator[kvengine.Session]:
        with db.object("Counter", key).session(timeout=30) as state:
            yield state

    # Annotations that FastAPI evaluates cannot name what is local to this test.
    async def count(state: Any = fastapi.Depends(state_of)) -> int:  # noqa: B008 - so it is used
        await asyncio.sleep(0.003)  # the thread takes another request meanwhile
        found: int = state.get("n", 0) + 1
        state.set("n", found)
        return found

    app.get("/{key}")(count)

    async def main() -> list[int]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:

            async def request(number: int) -> int:
                await asyncio.sleep(0.001 * number)
                found: int = (await client.get("/a")).json()
                return found

            return sorted(await asyncio.gather(*map(request, range(30))))

    assert asyncio.run(main()) == list(range(1, 31))
    assert len(db._host.turns) == 0
