"""Virtual objects and workflows whose verbs are awaited: those of kvengine.objects, waited for."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar, overload
from weakref import ref

from kvengine.aio.context import SessionContext
from kvengine.aio.home import Home
from kvengine.aio.session import Session
from kvengine.attempts import Attempts
from kvengine.objects.sessions.adding import adding
from kvengine.objects.sessions.settings import Preload, check
from kvengine.objects.state.base import State
from kvengine.objects.virtual_object import VirtualObject as Handle
from kvengine.objects.workflow import Workflow as WorkflowHandle
from kvengine.options import Durability
from kvengine.serdes.codec import absent
from kvengine.serdes.registry import SerdeChoice
from kvengine.storage.batch import Batch
from kvengine.storage.names import check_name

T = TypeVar("T")
D = TypeVar("D")
S = TypeVar("S", bound=State)


class VirtualObject:
    """An object, made by ``db.object(service, key)``; see `kvengine.VirtualObject`."""

    __slots__ = ("_handle", "_waits")

    def __init__(self, waits: Home, handle: Handle) -> None:
        self._waits = waits
        self._handle = handle

    @property
    def service(self) -> str:
        return self._handle.service

    @property
    def key(self) -> str:
        return self._handle.key

    @overload
    async def get(
        self, name: str, *, type: type[T], serde: SerdeChoice | None = None
    ) -> T | None: ...

    @overload
    async def get(
        self, name: str, default: D, *, type: type[T], serde: SerdeChoice | None = None
    ) -> T | D: ...

    @overload
    async def get(
        self, name: str, default: Any = None, *, type: Any = None, serde: SerdeChoice | None = None
    ) -> Any: ...

    async def get(
        self, name: str, default: Any = None, *, type: Any = None, serde: SerdeChoice | None = None
    ) -> Any:
        """The value of an entry; ``default`` where there is none. None may be a value."""
        data: bytes | None = await self._read("get", name)
        return absent(default, serde) if data is None else self._decode(name, data, type, serde)

    async def get_all(self, *, type: Any = None) -> dict[str, Any]:
        """The values of all entries, of one moment, in key order."""
        found = await self._read("get_all")
        return {name: self._decode(name, data, type) for name, data in found.items()}

    async def state_keys(
        self,
        *,
        prefix: str = "",
        start: str = "",
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[str]:
        """Return state keys in byte order, or in reverse.

        ``start`` is the first to return, in the direction of the walk.
        """
        bounds = {"prefix": prefix, "start": start}
        found: list[str] = await self._read("state_keys", **bounds, reverse=reverse, limit=limit)
        return found

    async def contains(self, name: str) -> bool:
        """Whether there is such an entry."""
        return await self._read("get", name) is not None

    async def version(self) -> int:
        """The stamp of the last commit that touched the object; 0 where it is absent."""
        found: int = await self._read("version")
        return found

    async def expires_at(self, name: str | None = None) -> float | None:
        """When the object expires, seconds since the epoch; None for never or absent."""
        found: float | None = await self._read("expires_at", name)
        return found

    async def set(
        self,
        name: str,
        value: Any,
        *,
        ttl: float | timedelta | None = None,
        expires_at: float | datetime | None = None,
        serde: SerdeChoice | None = None,
    ) -> int:
        """Set an entry; see `kvengine.VirtualObject.set`."""
        data = self._handle._encode(check_name("state_key", name), value, serde)
        return await self._waits.commit(
            "set", *self._handle._name, name, data, ttl=ttl, expires_at=expires_at
        )

    async def update(
        self,
        name: str,
        function: Callable[[Any], T | Awaitable[T]],
        default: Any = None,
        *,
        type: Any = None,
        serde: SerdeChoice | None = None,
    ) -> T:
        """Set an entry to what ``function`` makes of it; see `kvengine.VirtualObject.update`.

        ``function`` may be a coroutine function.
        """
        check_name("state_key", name)
        handle, named = self._handle, self._handle._name
        async for attempt in Attempts():
            version = await self.version()  # first: a later commit is a conflict
            ends = await self.expires_at(name)  # before the value, which may expire in between
            data = await self._read("get", name)
            if data is None:
                found, ends = copy.deepcopy(default), None
            else:
                found = handle._decode(name, data, type, serde)
            made = function(found)  # a VersionConflict that it raises is passed on
            value: Any = await made if isinstance(made, Awaitable) else made
            batch = Batch()
            batch.set(*named, name, handle._encode(name, value, serde), expires_at=ends)
            with attempt:
                await self._waits.write(batch, expect={named: version})
                return value  # type: ignore[no-any-return]
        raise AssertionError("there is always another attempt")

    @overload
    async def increment(self, name: str, by: int = 1) -> int: ...

    @overload
    async def increment(self, name: str, by: float) -> float: ...

    async def increment(self, name: str, by: float = 1) -> float:
        """Add to a number, and return the sum; see `kvengine.VirtualObject.increment`."""
        return await self.update(name, adding(self._handle._name, name, by), 0)

    async def pop(
        self,
        name: str,
        default: Any = None,
        *,
        type: Any = None,
        serde: SerdeChoice | None = None,
    ) -> Any:
        """Clear an entry and return its value; see `kvengine.VirtualObject.pop`."""
        check_name("state_key", name)
        named = self._handle._name
        async for attempt in Attempts():
            version = await self.version()
            data = await self._read("get", name)
            if data is None:
                return absent(default, serde)
            value = self._decode(name, data, type, serde)
            batch = Batch()
            batch.clear(*named, name)
            with attempt:
                await self._waits.write(batch, expect={named: version})
                return value
        raise AssertionError("there is always another attempt")

    async def clear(self, name: str) -> int:
        """Clear an entry."""
        return await self._waits.commit("clear", *self._handle._name, name)

    async def clear_all(self) -> int:
        """Clear every entry of the object, and its expiry, by one small write."""
        return await self._waits.commit("clear_all", *self._handle._name)

    async def expire(
        self, *, at: float | datetime | None = None, ttl: float | timedelta | None = None
    ) -> bool:
        """Give the object an expiry, or remove it; see `kvengine.VirtualObject.expire`."""
        store, named = self._handle._host.store, self._handle._name
        found: bool = await self._waits.call(store.expire, *named, at=at, ttl=ttl)
        return found

    def locked(self) -> bool:
        """Return whether a session has the object now; see `kvengine.VirtualObject.locked`."""
        return self._handle.locked()

    @overload
    def session(
        self,
        *,
        preload: Preload = True,
        preload_limit: int | None = None,
        read_only: bool = False,
        timeout: float | timedelta | None = None,
        durability: Durability | None = None,
    ) -> SessionContext[Session]: ...

    @overload
    def session(
        self,
        state: type[S],
        *,
        preload: Preload = True,
        preload_limit: int | None = None,
        read_only: bool = False,
        timeout: float | timedelta | None = None,
        durability: Durability | None = None,
    ) -> SessionContext[S]: ...

    def session(
        self,
        state: type[State] | None = None,
        *,
        preload: Preload = True,
        preload_limit: int | None = None,
        read_only: bool = False,
        timeout: float | timedelta | None = None,
        durability: Durability | None = None,
        shared: bool | None = None,
    ) -> SessionContext[Any]:
        """The object, exclusively, for an ``async with`` block; one atomic commit at its end.

        As `kvengine.VirtualObject.session`. A typed state loads its fields at
        the beginning whatever ``preload`` says: attributes cannot be awaited.
        """
        block: Any = SessionContext()
        block.claim = ref(block)
        block._handle = self._handle
        block._kind = state
        block._settings = check(
            state, preload, preload_limit, read_only, timeout, durability, shared
        )
        block._session = None
        block._waits = self._waits
        return block  # type: ignore[no-any-return]

    async def _read(self, verb: str, *args: Any, **keywords: Any) -> Any:
        """Return what a read verb of the store says of the object."""
        store, name = self._handle._host.store, self._handle._name
        return await self._waits.read(store, name, getattr(store, verb), *name, *args, **keywords)

    def _decode(self, name: str, data: bytes, type: Any, serde: SerdeChoice | None = None) -> Any:
        return self._handle._decode(name, data, type, serde)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__} {self._handle._name!r}>"


class Workflow(VirtualObject):
    """A workflow, made by ``db.workflow(service, key)``; see `kvengine.Workflow`."""

    __slots__ = ()

    _handle: WorkflowHandle

    @property
    def retention(self) -> timedelta:
        """How long the state stays readable once the workflow is complete."""
        return self._handle.retention

    async def complete(self) -> bool:
        """Start the retention clock; see `kvengine.Workflow.complete`."""
        batch = self._handle._completion()
        if not self._handle.retention and not await self.version():
            return False
        await self._waits.write(batch)
        return True

    async def completed(self) -> bool:
        """Whether the workflow is complete and its state still readable."""
        found = await self._read("load", max_bytes=0)
        return found is not None and found.completed_at is not None
