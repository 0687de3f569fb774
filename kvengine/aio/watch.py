"""Watches, awaited: what a store tells of its commits as they become visible."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from kvengine.aio.home import Home
from kvengine.closing import Awaited
from kvengine.errors import DatabaseClosed
from kvengine.storage.feed import Queue
from kvengine.store import Change


class Watch(Awaited):
    """Changes to the objects of a service, one by one: an asynchronous iterator.

    Made by ``db.watch()``. It ends when it or the database is closed; ``async with`` closes it.
    """

    def __init__(self, waits: Home, begin: Callable[[Callable[[], object]], Queue]) -> None:
        """``begin``: begins a queue, given a bell."""
        self._bell = Bell(waits.bind())
        self._waits = waits  # so that the store is not forgotten while this is not
        self._feed = begin(self._bell.ring)
        waits.feeds.add(self._feed)

    def close(self) -> None:
        """End the watch. Tasks that wait for it are woken. May be called again."""
        self._feed.end()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        try:
            while (change := self._feed.take()) is None:
                self._bell.clear()
                if self._feed.is_idle():  # else it rang before the bell was cleared
                    await self._bell.heard.wait()
        except DatabaseClosed:
            raise StopAsyncIteration from None
        return change

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_feed"):
            self._feed.is_over = True


class Bell:
    """Wakes the task that waits for it, from any thread. It knows no watch, so one that is dropped
    goes.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.heard: asyncio.Event = asyncio.Event()
        self._loop = loop
        self._rings = False

    def ring(self) -> None:
        if not self._rings:  # one call waits in the loop at most, however many commits come
            self._rings = True
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(self.heard.set)

    def clear(self) -> None:
        self.heard.clear()
        self._rings = False
