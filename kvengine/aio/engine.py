"""The engine for asyncio: each verb is that of `kvengine.Engine`, at once or in a thread."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import islice
from types import TracebackType
from typing import Any, Self, TypeVar

import kvengine.engine
from kvengine.aio.objects import VirtualObject, Workflow
from kvengine.aio.waiting import Waits
from kvengine.errors import CorruptionError
from kvengine.objects.workflow import DAY
from kvengine.options import Durability
from kvengine.serdes.registry import SerdeChoice
from kvengine.snapshot import Snapshot
from kvengine.storage.batch import Batch, batch_of
from kvengine.storage.names import Name
from kvengine.store import Estimate, SegmentStats, Stats, StoredObject

T = TypeVar("T")

_WINDOW = 256
"""Results that an iterator fetches at a time."""


class Engine:
    """The embedded engine, awaited. Made by `kvengine.aio.open` or `kvengine.aio.wrap`.

    Each verb is documented at `kvengine.Engine`. ``engine`` is that one beneath, which other
    threads may use beside this: sessions of both take turns with each other.
    """

    def __init__(self, engine: kvengine.engine.Engine) -> None:
        self.engine = engine
        self._waits = Waits(engine)

    # --- objects

    def object(self, service: str, key: str, *, serde: SerdeChoice | None = None) -> VirtualObject:
        """A handle on an object, which need not exist. ``serde``: of its values."""
        return VirtualObject(self._waits, self.engine.object(service, key, serde=serde))

    def workflow(
        self,
        service: str,
        key: str,
        *,
        retention: float | timedelta = DAY,
        serde: SerdeChoice | None = None,
    ) -> Workflow:
        """A handle on a workflow, which is kept for ``retention`` once it is complete."""
        handle = self.engine.workflow(service, key, retention=retention, serde=serde)
        return Workflow(self._waits, handle)

    # --- reading

    async def get(self, service: str, key: str, state_key: str) -> bytes | None:
        return await self._read(self.engine.get, service, key, state_key)

    async def get_many(self, service: str, key: str, state_keys: Iterable[str]) -> dict[str, bytes]:
        return await self._read(self.engine.get_many, service, key, state_keys)

    async def get_all(self, service: str, key: str) -> dict[str, bytes]:
        return await self._read(self.engine.get_all, service, key)

    async def load(
        self, service: str, key: str, *, max_bytes: int | None = None
    ) -> StoredObject | None:
        return await self._read(self.engine.load, service, key, max_bytes=max_bytes)

    async def state_keys(
        self, service: str, key: str, *, prefix: str = "", start: str = "", limit: int | None = None
    ) -> list[str]:
        return await self._read(
            self.engine.state_keys, service, key, prefix=prefix, start=start, limit=limit
        )

    async def expires_at(self, service: str, key: str) -> float | None:
        return await self._read(self.engine.expires_at, service, key)

    async def version(self, service: str, key: str) -> int:
        return await self._read(self.engine.version, service, key)

    async def services(self, *, start: str = "", limit: int | None = None) -> list[str]:
        return await self._waits.run(lambda: self.engine.services(start=start, limit=limit))

    def object_keys(
        self,
        service: str,
        *,
        prefix: str = "",
        start: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> AsyncIterator[str]:
        walk = self.engine.object_keys(
            service, prefix=prefix, start=start, reverse=reverse, limit=limit
        )
        return self._walk(walk)

    def scan(self, service: str | None = None, *, prefix: str = "") -> AsyncIterator[StoredObject]:
        return self._walk(self.engine.scan(service, prefix=prefix))

    def snapshot(self) -> Snapshot:
        """All read verbs as of now. A snapshot of threads: its verbs are not awaited."""
        return self.engine.snapshot()

    # --- writing

    async def set(
        self,
        service: str,
        key: str,
        state_key: str,
        value: bytes,
        *,
        ttl: float | timedelta | None = None,
    ) -> int:
        return await self._waits.commit("set", service, key, state_key, value, ttl=ttl)

    async def clear(self, service: str, key: str, state_key: str) -> int:
        return await self._waits.commit("clear", service, key, state_key)

    async def clear_all(self, service: str, key: str) -> int:
        return await self._waits.commit("clear_all", service, key)

    async def clear_service(self, service: str) -> int:
        return await self._waits.commit("clear_service", service)

    async def clear_range(self, service: str, start: str, stop: str | None) -> int:
        return await self._waits.commit("clear_range", service, start, stop)

    async def expire(
        self,
        service: str,
        key: str,
        *,
        at: float | None = None,
        ttl: float | timedelta | None = None,
    ) -> bool:
        return await self._waits.call(self.engine.expire, service, key, at=at, ttl=ttl)

    @asynccontextmanager
    async def batch(self) -> AsyncIterator[Batch]:
        """Writes that commit as one when the ``async with`` block ends."""
        batch = batch_of(limit=self.engine.options.max_value_size)
        yield batch
        await self.write(batch)

    async def write(
        self,
        batch: Batch,
        *,
        expect: Mapping[Name, int] | None = None,
        durability: Durability | None = None,
    ) -> int:
        """Commit a batch; see `kvengine.Engine.write`."""
        return await self._waits.write(batch, expect=expect, durability=durability)

    # --- the whole

    async def flush(self) -> None:
        await self._waits.run(self.engine.flush)

    async def compact(self, service: str | None = None) -> None:
        await self._waits.run(self.engine.compact, service)

    async def checkpoint(self, path: str | os.PathLike[str]) -> None:
        await self._waits.run(self.engine.checkpoint, path)

    async def verify(self) -> list[CorruptionError]:
        return await self._waits.run(self.engine.verify)

    async def refresh(self) -> bool:
        return await self._waits.run(self.engine.refresh)

    def stats(self) -> Stats:
        """Figures of this moment."""
        return self.engine.stats()

    def estimate(self, service: str, *, prefix: str = "") -> Estimate:
        return self.engine.estimate(service, prefix=prefix)

    def segments(self) -> tuple[SegmentStats, ...]:
        return self.engine.segments()

    async def close(self) -> None:
        """Make everything durable and let go of the directory. May be called again."""
        await self._waits.run(self.engine.close)
        self._waits.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<kvengine.aio.Engine {self.engine.path!r}>"

    async def _read(
        self, work: Callable[..., T], service: str, key: str, *args: Any, **kw: Any
    ) -> T:
        return await self._waits.read(self.engine, (service, key), work, service, key, *args, **kw)

    async def _walk(self, walk: Iterator[T]) -> AsyncIterator[T]:
        while window := await self._waits.run(lambda: list(islice(walk, _WINDOW))):
            for one in window:
                yield one


for _name, _verb in vars(Engine).items():
    if not _name.startswith("_") and not _verb.__doc__:
        _verb.__doc__ = getattr(kvengine.engine.Engine, _name).__doc__
