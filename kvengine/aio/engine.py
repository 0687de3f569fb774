"""The engine for asyncio: each verb is that of `kvengine.Engine`, at once or in a thread."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Self

import kvengine.engine
from kvengine.aio.objects import VirtualObject, Workflow
from kvengine.aio.reads import Reads, Snapshot
from kvengine.aio.waiting import Waits
from kvengine.aio.watch import Watch
from kvengine.closing import adopt_docstrings, public_names
from kvengine.errors import CorruptionError
from kvengine.options import Durability
from kvengine.serdes.registry import SerdeChoice
from kvengine.storage import feed
from kvengine.storage.batch import Batch, batch_of
from kvengine.storage.names import Name
from kvengine.store import Estimate, Limits, SegmentStats, Stats


class Engine(Reads):
    """The embedded engine, awaited. Made by `kvengine.aio.open` or `kvengine.aio.wrap`.

    Each verb is documented at `kvengine.Engine`. ``engine`` is that one beneath, which other
    threads may use beside this: sessions of both take turns with each other.
    """

    def __init__(self, engine: kvengine.engine.Engine, *, owned: bool = False) -> None:
        """``owned``: whether `close` closes ``engine`` too."""
        self.engine = engine
        self._owned = owned
        super().__init__(engine, Waits(engine))

    # --- objects

    def object(self, service: str, key: str, *, serde: SerdeChoice | None = None) -> VirtualObject:
        """A handle on an object, which need not exist. ``serde``: of its values."""
        return VirtualObject(self._waits, self.engine.object(service, key, serde=serde))

    def workflow(
        self,
        service: str,
        key: str,
        *,
        retention: float | timedelta | None = None,
        serde: SerdeChoice | None = None,
    ) -> Workflow:
        """Return a handle on a workflow; see `kvengine.Engine.workflow`."""
        handle = self.engine.workflow(service, key, retention=retention, serde=serde)
        return Workflow(self._waits, handle)

    # --- reading: the verbs are those of `Reads`

    @property
    def limits(self) -> Limits:
        """Return the largest names, values and commits that this store takes."""
        return self.engine.limits

    def snapshot(self) -> Snapshot:
        """Return all read verbs as of now, for ``async with`` or until it is closed."""
        self._waits.check_open()
        return Snapshot(self.engine.snapshot(), self._waits)

    def watch(self, service: str, key: str | None = None, *, prefix: str = "") -> Watch:
        begin = partial(feed.begin, self.engine._db, service, key, prefix)
        return Watch(self._waits, begin)

    # --- writing

    async def set(
        self,
        service: str,
        key: str,
        state_key: str,
        value: bytes,
        *,
        ttl: float | timedelta | None = None,
        expires_at: float | datetime | None = None,
    ) -> int:
        return await self._waits.commit(
            "set", service, key, state_key, value, ttl=ttl, expires_at=expires_at
        )

    async def clear(self, service: str, key: str, state_key: str) -> int:
        return await self._waits.commit("clear", service, key, state_key)

    async def pop(self, service: str, key: str, state_key: str) -> bytes | None:
        return await self._waits.call(self.engine.pop, service, key, state_key)

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
        at: float | datetime | None = None,
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

    def retention(self, service: str) -> timedelta:
        self._waits.check_open()
        return self.engine.retention(service)

    async def set_retention(self, service: str, retention: float | timedelta) -> None:
        await self._waits.run(self.engine.set_retention, service, retention)

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
        """End the use of the database in this loop. May be called again.

        One made by `kvengine.aio.open` makes everything durable and lets go of the directory;
        one made by `kvengine.aio.wrap` leaves the engine beneath open.
        """
        if self._owned and not self._waits.closed:
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

    def __dir__(self) -> list[str]:
        return public_names(self)

    def __repr__(self) -> str:
        return f"<kvengine.aio.Engine {self.engine.path!r}>"


adopt_docstrings(Engine, kvengine.engine.Engine)
