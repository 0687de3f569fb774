"""An awaited store with blocking verbs, so that one suite of tests holds for both."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Any, Self, cast

from kvengine.arguments import timeout_of
from kvengine.errors import DatabaseClosed
from kvengine.objects.sessions.mapping import StateMapping
from kvengine.objects.store import Store
from kvengine.store import Change

_END = object()

Call = Callable[..., Any]
"""Calls a function with arguments within an event loop, and returns what it gives or awaits."""


@contextmanager
def blocking(store: Any) -> Iterator[Store]:
    """Give the verbs of a store for asyncio as blocking ones, of which any thread may call any.

    ``store``: the store, or something to await for it, such as ``kvengine.aio.open(path)``. It
    runs on an event loop in a thread of its own, and both end with the ``with`` block. ``in``,
    ``mapping()`` and ``poll()`` work as on a blocking store, and ``completed`` is an attribute.
    """
    with LoopThread() as loop:
        verbs = Blocking(loop.call, loop.call(lambda: store))
        try:
            yield cast(Store, verbs)
        finally:
            verbs.close()


async def outcome(function: Call, *arguments: Any, **keywords: Any) -> Any:
    """Call a function and return what it returns, awaited if that is something to await."""
    found = function(*arguments, **keywords)
    return await found if inspect.isawaitable(found) else found


class LoopThread:
    """An event loop in a thread of its own, ended with the ``with`` block.

    Each thread that calls has one task there, which does what it asks for one after the other. So
    a session that a thread begins within another one is known as nested.
    """

    def __init__(self) -> None:
        self._tasks = threading.local()
        self._is_ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="blocking verbs", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._is_ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def call(self, function: Call, *arguments: Any, **keywords: Any) -> Any:
        """Call a function in the loop; return what it returns, or what that gives when awaited."""
        queue = getattr(self._tasks, "queue", None)
        if queue is None:
            queue = self._tasks.queue = asyncio.Queue()
            self._loop.call_soon_threadsafe(self._begin, queue)
        promised: Future[Any] = Future()
        work = partial(outcome, function, *arguments, **keywords)
        self._loop.call_soon_threadsafe(queue.put_nowait, (work, promised))
        return promised.result()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        self._working: set[asyncio.Task[None]] = set()
        self._is_ready.set()
        await self._end.wait()

    def _begin(self, queue: asyncio.Queue[Any]) -> None:
        self._working.add(self._loop.create_task(_work(queue)))


async def _work(queue: asyncio.Queue[tuple[Callable[[], Awaitable[Any]], Future[Any]]]) -> None:
    """Do what one thread asks for, until the loop ends: then whoever waits is told."""
    me = asyncio.current_task()
    assert me is not None
    while not me.cancelling():
        work, promised = await queue.get()
        try:
            promised.set_result(await work())
        except BaseException as error:
            promised.set_exception(error)
        del work, promised


class Blocking:
    """Something of asyncio, with blocking verbs: a store, handle, session, snapshot, walk, watch.

    ``call`` calls its verbs in their loop. What a verb returns is wrapped too, if it has verbs.
    """

    def __init__(self, call: Call, awaited: Any) -> None:
        self._call = call
        self._awaited = awaited

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._awaited, name)
        if name == "completed":
            return self._call(found)
        return partial(self._verb, found) if callable(found) else found

    def _verb(self, verb: Call, *arguments: Any, **keywords: Any) -> Any:
        return self._wrapped(self._call(verb, *arguments, **keywords))

    def _wrapped(self, found: Any) -> Any:
        if found is self._awaited:
            return self
        verbs = ("__aenter__", "__anext__", "state_keys")
        return Blocking(self._call, found) if any(hasattr(found, v) for v in verbs) else found

    def snapshot(self) -> Any:
        """Return a snapshot as of now, which for asyncio is that of entering it."""
        return self._verb(self._awaited.snapshot).__enter__()

    def update(self, name: str, function: Callable[[Any], Any], *rest: Any, **keywords: Any) -> Any:
        """Call the verb with a function that runs in a thread, and so may call blocking verbs."""

        async def in_thread(value: Any) -> Any:
            return await asyncio.to_thread(function, value)

        return self._call(self._awaited.update, name, in_thread, *rest, **keywords)

    def mapping(self) -> StateMapping:
        return StateMapping(self)

    def close(self) -> None:
        self._call(getattr(self._awaited, "aclose", None) or self._awaited.close)

    def poll(self, timeout: float | timedelta | None = 0.0) -> Change | None:
        """Return the next change of a watch, or None if none arrives in time."""
        seconds = timeout_of(timeout)

        async def arriving() -> Change | None:
            try:
                async with asyncio.timeout(seconds):
                    return cast(Change, await anext(self._awaited))
            except TimeoutError:
                return None
            except StopAsyncIteration:
                raise DatabaseClosed("this watch is closed") from None

        found: Change | None = self._call(arriving)
        return found

    def __contains__(self, name: str) -> bool:
        return bool(self._call(self._awaited.contains, name))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        found = self._call(anext, self._awaited, _END)
        if found is _END:
            raise StopIteration
        return found

    def __enter__(self) -> Any:
        return self._verb(self._awaited.__aenter__)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        left: bool | None = self._call(self._awaited.__aexit__, kind, error, traceback)
        return left

    def __repr__(self) -> str:
        return f"Blocking({self._awaited!r})"
