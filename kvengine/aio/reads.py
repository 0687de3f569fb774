"""The read verbs, awaited: of an engine as of now, or of one of its snapshots."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import kvengine.snapshot
from kvengine.aio.home import Home
from kvengine.closing import Awaited, adopt_docstrings
from kvengine.store import StoredObject, StoredWorkflow

T = TypeVar("T")

_WINDOW = 256
"""Results that a walk fetches at a time."""


class Reads(Awaited):
    """The read verbs, each documented at `kvengine.Engine`.

    What is in memory is read at once, on the event loop; the rest in threads. A walk that is left
    before its end holds its moment until it is closed: leave it by `contextlib.aclosing`.
    """

    def __init__(self, source: Any, home: Home) -> None:
        """``source``: whose verbs are awaited: an engine, a snapshot, or what makes scripts."""
        self._source = source
        self._waits = home

    async def get(self, service: str, key: str, state_key: str) -> bytes | None:
        return await self._read(self._source.get, service, key, state_key)

    async def get_many(self, service: str, key: str, state_keys: Iterable[str]) -> dict[str, bytes]:
        return await self._read(self._source.get_many, service, key, state_keys)

    async def get_all(self, service: str, key: str) -> dict[str, bytes]:
        return await self._read(self._source.get_all, service, key)

    async def exists(self, service: str, key: str) -> bool:
        return await self._read(self._source.exists, service, key)

    async def load(
        self, service: str, key: str, *, max_bytes: int | None = None
    ) -> StoredObject | None:
        return await self._read(self._source.load, service, key, max_bytes=max_bytes)

    async def load_many(self, service: str, keys: Iterable[str]) -> dict[str, StoredObject]:
        return await self._waits.run(self._source.load_many, service, keys)

    async def state_keys(
        self,
        service: str,
        key: str,
        *,
        prefix: str = "",
        start: str = "",
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[str]:
        bounds = {"prefix": prefix, "start": start}
        return await self._read(
            self._source.state_keys, service, key, **bounds, reverse=reverse, limit=limit
        )

    async def expires_at(
        self, service: str, key: str, state_key: str | None = None
    ) -> float | None:
        return await self._read(self._source.expires_at, service, key, state_key)

    async def version(self, service: str, key: str) -> int:
        return await self._read(self._source.version, service, key)

    async def services(self, start: str = "", limit: int | None = None) -> list[str]:
        return await self._waits.run(self._source.services, start, limit)

    def object_keys(
        self,
        service: str,
        *,
        prefix: str = "",
        start: str | None = None,
        stop: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Walk[str]:
        self._waits.check_open()
        walk = self._source.object_keys(
            service, prefix=prefix, start=start, stop=stop, reverse=reverse, limit=limit
        )
        return Walk(self._waits, walk)

    def scan(
        self,
        service: str | None = None,
        *,
        prefix: str = "",
        start: str | None = None,
        stop: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Walk[StoredObject]:
        self._waits.check_open()
        walk = self._source.scan(
            service, prefix=prefix, start=start, stop=stop, reverse=reverse, limit=limit
        )
        return Walk(self._waits, walk)

    def workflows(self, service: str, completed: bool | None = None) -> Walk[StoredWorkflow]:
        self._waits.check_open()
        return Walk(self._waits, self._source.workflows(service, completed))

    async def count(self, service: str, *, prefix: str = "") -> int:
        return await self._waits.run(self._source.count, service, prefix=prefix)

    async def _read(
        self, work: Callable[..., T], service: str, key: str, *args: Any, **kw: Any
    ) -> T:
        return await self._waits.read(self._source, (service, key), work, service, key, *args, **kw)


class Walk(Generic[T]):
    """What a walk finds, one by one: an asynchronous iterator, which `aclose` ends at any time.

    No generator: one that was never begun would not let go of the walk when it is closed.
    """

    def __init__(self, waits: Home, walk: Any) -> None:
        self._waits = waits
        self._walk = walk
        self._window: deque[T] = deque()
        self._fetching: asyncio.Future[list[T]] | None = None
        """A window to come. It stays here if the task that waits for it is cancelled."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while not self._window:
            if self._fetching is None:
                self._fetching = self._waits.window(self._walk, _WINDOW)
            fetching = self._fetching
            await asyncio.wait((fetching,))
            if self._fetching is fetching:
                self._fetching = None
                self._window.extend(fetching.result())
            if not fetching.result():
                raise StopAsyncIteration
        return self._window.popleft()

    async def aclose(self) -> None:
        """End the walk. May be called again."""
        self._walk.close()
        self._window.clear()
        if self._fetching is not None:
            self._fetching.add_done_callback(_seen)


def _seen(fetching: asyncio.Future[list[Any]]) -> None:
    """Ask for an error that nobody waits for, so that asyncio does not report it."""
    if not fetching.cancelled():
        fetching.exception()


class Snapshot(Reads):
    """Every read verb, awaited, as of one moment. Made by ``db.snapshot()``.

    Leave it by ``async with``, or close it: until then it holds the files that it names.
    """

    _source: kvengine.snapshot.Snapshot

    @property
    def stamp(self) -> int:
        """Return the stamp of the last commit that the snapshot sees."""
        return self._source.stamp

    async def close(self) -> None:
        """Release the files and memory that the snapshot holds. May be called again."""
        self._source.close()

    async def __aenter__(self) -> Self:
        self._source.__enter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


adopt_docstrings(Reads, kvengine.snapshot.Snapshot)
