"""Waiting for blocking work without stopping the loop: reads, and commits that go on anyway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from kvengine.engine import Engine
from kvengine.errors import KVEngineError
from kvengine.names import Name
from kvengine.options import Durability
from kvengine.store import Reads

T = TypeVar("T")

THREADS = 8
"""Threads that wait for the disk on behalf of one database."""


class Waits:
    """Reads and commits of one open engine, waited for by one event loop."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="kvengine-aio")

    def run(self, work: Callable[..., T], *args: Any, **kwargs: Any) -> asyncio.Future[T]:
        """Start ``work`` in a thread. Once closed, at once: then all it does is say so."""
        if self._closed:
            return self._done(work, *args, **kwargs)
        return self.bind().run_in_executor(self._pool, partial(work, *args, **kwargs))

    async def read(
        self,
        source: Reads,
        name: Name,
        work: Callable[..., T],
        *args: Any,
        **kwargs: Any,
    ) -> T:
        """What ``work`` reads of one object: at once where ``source`` has it in memory."""
        if source.in_memory(*name):
            self.bind()
            return work(*args, **kwargs)
        return await self.run(work, *args, **kwargs)

    def write(
        self,
        work: Callable[..., T],
        *args: Any,
        durability: Durability | None = None,
        **kwargs: Any,
    ) -> asyncio.Future[T]:
        """Begin a commit: its result to come, or what it raised. At once where nothing waits."""
        if self.engine.may_wait(durability):
            return self.run(work, *args, **kwargs)
        return self._done(work, *args, **kwargs)

    def _done(self, work: Callable[..., T], *args: Any, **kwargs: Any) -> asyncio.Future[T]:
        """``work`` done here and now, as something to await."""
        done: asyncio.Future[T] = self.bind().create_future()
        try:
            done.set_result(work(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done

    def bind(self) -> asyncio.AbstractEventLoop:
        """The running loop, which must be the one that was here first."""
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise KVEngineError(
                "this database belongs to another event loop: open it in the loop that uses it, or"
                " share one kvengine.open() by kvengine.aio.wrap() in each"
            )
        return loop

    def close(self) -> None:
        """No more work begins; what has begun goes on."""
        self._closed = True
        self._pool.shutdown(wait=False)


async def settled(work: asyncio.Future[T]) -> T:
    """The result of work that goes on whatever happens here.

    A cancellation counts once the work is done: what comes after it must find
    the work done or undone, and nothing in between.
    """
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait((work,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not work.cancelled():
            work.exception()  # seen
        raise cancelled
    return work.result()
