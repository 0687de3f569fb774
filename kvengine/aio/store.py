"""The verbs of a Store, awaited, which every home has: what a home adds is in its own module."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

import kvengine.store
from kvengine.aio.home import Home
from kvengine.aio.objects import VirtualObject, Workflow
from kvengine.aio.reads import Reads
from kvengine.closing import adopt_docstrings, public_names
from kvengine.objects.verbs import ObjectVerbs
from kvengine.options import Durability
from kvengine.serdes.registry import SerdeChoice
from kvengine.storage.batch import Batch, batch_of
from kvengine.storage.names import Name
from kvengine.store import Limits


class Store(Reads):
    """Durable state of objects, awaited. Each verb is documented at `kvengine.Store`."""

    def __init__(self, source: Any, home: Home, handles: ObjectVerbs) -> None:
        """``source``: whose verbs are awaited. ``handles``: gives the handles beneath objects."""
        super().__init__(source, home)
        self._handles = handles

    # --- objects

    def object(self, service: str, key: str, *, serde: SerdeChoice | None = None) -> VirtualObject:
        """A handle on an object, which need not exist. ``serde``: of its values."""
        return VirtualObject(self._waits, self._handles.object(service, key, serde=serde))

    def workflow(
        self,
        service: str,
        key: str,
        *,
        retention: float | timedelta | None = None,
        serde: SerdeChoice | None = None,
    ) -> Workflow:
        """Return a handle on a workflow; see `kvengine.Engine.workflow`."""
        handle = self._handles.workflow(service, key, retention=retention, serde=serde)
        return Workflow(self._waits, handle)

    # --- writing

    @property
    def limits(self) -> Limits:
        """Return the largest names, values and commits that this store takes."""
        raise NotImplementedError

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
        found: bytes | None = await self._waits.call(self._source.pop, service, key, state_key)
        return found

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
        found: bool = await self._waits.call(self._source.expire, service, key, at=at, ttl=ttl)
        return found

    @asynccontextmanager
    async def batch(self) -> AsyncIterator[Batch]:
        """Writes that commit as one when the ``async with`` block ends."""
        batch = batch_of(limit=self.limits.value)
        yield batch
        await self.write(batch)

    async def write(
        self,
        batch: Batch,
        *,
        expect: Mapping[Name, int] | None = None,
        durability: Durability | None = None,
    ) -> int:
        return await self._waits.write(batch, expect=expect, durability=durability)

    async def set_retention(self, service: str, retention: float | timedelta) -> None:
        await self._waits.run(self._source.set_retention, service, retention)

    # --- the whole

    async def close(self) -> None:
        """End the use of the store in this loop. May be called again."""
        raise NotImplementedError

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


adopt_docstrings(Store, kvengine.store.Store)
