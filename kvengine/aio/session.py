"""A session of a task. What it does not share with that of a thread: it awaits what it lacks."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar, overload

from kvengine.aio.home import Home
from kvengine.aio.waiting import settled
from kvengine.errors import SessionError
from kvengine.objects.sessions.adding import adding
from kvengine.objects.sessions.session import SessionVerbs
from kvengine.objects.sessions.settings import check_walk
from kvengine.objects.state.base import State
from kvengine.serdes.codec import absent
from kvengine.serdes.registry import SerdeChoice
from kvengine.storage.names import check_name

T = TypeVar("T")
D = TypeVar("D")

_ABSENT = object()


class Session(SessionVerbs):
    """One object for the length of an ``async with`` block; see `kvengine.Session`.

    Reads are awaited, and answer at once when the session was loaded eagerly.
    Writes are in memory until the commit, so they are not.
    """

    __slots__ = ("_waits",)

    _waits: Home

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
        """The value of an entry, ``default`` where there is none. A copy: to change it, set it."""
        self._collect()
        if not self._open:
            self._is_over()
        check_name("state_key", name)
        if self._missing(name):
            found = await self._fetch("get", name)
            self._learn({} if found is None else {name: found}, (name,))
        data = self._peek(name)
        if data is None:
            return absent(default, serde)
        return self._handle._decode(name, data, type, serde)

    async def update(
        self,
        name: str,
        function: Callable[[Any], T | Awaitable[T]],
        default: Any = None,
        *,
        type: Any = None,
        serde: SerdeChoice | None = None,
    ) -> T:
        """Set an entry to what ``function`` makes of its value; see `kvengine.Session.update`.

        ``function`` may be a coroutine function.
        """
        self._check_writable()
        found = await self.get(name, copy.deepcopy(default), type=type, serde=serde)
        made = function(found)
        value: Any = await made if isinstance(made, Awaitable) else made
        self._assign(name, value, serde, await self._end_of(name))
        return value  # type: ignore[no-any-return]

    @overload
    async def increment(self, name: str, by: int = 1) -> int: ...

    @overload
    async def increment(self, name: str, by: float) -> float: ...

    async def increment(self, name: str, by: float = 1) -> float:
        """Add to a number, and return the sum; see `kvengine.Session.increment`."""
        return await self.update(name, adding(self._handle._name, name, by), 0)

    async def pop(
        self, name: str, default: Any = None, *, type: Any = None, serde: SerdeChoice | None = None
    ) -> Any:
        """Clear an entry and return its value, ``default`` where there is none."""
        self._check_writable()
        value = await self.get(name, default, type=type, serde=serde)
        self.clear(name)
        return value

    async def expires_at(self, name: str | None = None) -> float | None:
        """Return when the object, or an entry, expires; see `kvengine.Session.expires_at`."""
        if not self._open:
            self._is_over()
        return (
            self._expires_at if name is None else await self._end_of(check_name("state_key", name))
        )

    async def _end_of(self, state_key: str) -> float | None:
        if not self._must_ask(state_key):
            return self._ends_by_itself(state_key)
        found: float | None = await self._fetch("expires_at", state_key)
        return found

    async def state_keys(
        self,
        *,
        prefix: str = "",
        start: str = "",
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[str]:
        """Return state keys in byte order, or in reverse, those just set among them.

        ``start`` is the first to return, in the direction of the walk.
        """
        self._collect()
        if not self._open:
            self._is_over()
        check_walk(prefix, start, limit)
        found = None
        if self._keys_missing:
            asked = self._enough(limit)
            found = await self._fetch(
                "state_keys", prefix=prefix, start=start, reverse=reverse, limit=asked
            )
            if not (prefix or start) and limit is None:
                self._learn_keys(found)
        return self._live_keys(prefix, start, limit, found, reverse=reverse)

    async def get_all(self, *, type: Any = None) -> dict[str, Any]:
        """The values of all entries, in key order."""
        self._collect()
        if not self._open:
            self._is_over()
        if not self._complete:
            found = await self._fetch("get_all")
            self._learn_all(found)
        handle = self._handle
        return {
            name: handle._decode(name, data, type) for name, data in self._live_entries().items()
        }

    async def contains(self, name: str) -> bool:
        """Whether there is such an entry."""
        return await self.get(name, _ABSENT, serde="bytes") is not _ABSENT

    async def commit(self) -> int | None:
        """Commit what has changed so far, as one; the stamp, None where nothing has.

        The session goes on. VersionConflict as at its end.
        """
        if not self._changed():
            return None
        if self._survival_unknown:
            found = await self._fetch("state_keys", limit=self._enough(1))
            self._learn_some_keys(found)
        expires = self._expire is not None
        logged = self._logged()
        timed = [name for name in self._ttls or () if name in logged[0]]
        stamp = await self._save(logged[0], partial(self._committed, logged=logged))
        store, named = self._handle._host.store, self._handle._name
        for state_key in timed:
            at = await self._waits.read(store, named, store.expires_at, *named, state_key)
            self._learn_end(state_key, at)
        if expires:
            self._expires_at = await self._waits.read(store, named, store.expires_at, *named)
        return stamp

    async def _finish(self) -> None:
        """The last commit, if anything changed."""
        if self._changed():
            self._open = False  # what another task set from now on would be lost
            self._base = self._changes  # so that the memo may change in place what it shared
            await self._save(self._changes)

    async def _save(
        self, changes: dict[str, bytes | None], then: Callable[[int], object] | None = None
    ) -> int:
        """Commit; ``then`` is told the stamp, also where a cancellation follows."""
        work = self._waits.save(self, self._batch(changes))
        try:
            return await settled(work)
        finally:
            if (
                then is not None
                and self._open
                and not work.cancelled()
                and work.exception() is None
            ):
                then(work.result())
            del work  # what it raised refers to this frame

    async def _fetch(self, verb: str, *args: str, **options: Any) -> Any:
        """What a read verb of the session's moment says of the object."""
        moment, name = self._asked(), self._handle._name
        read = getattr(moment, verb)
        found = await self._waits.read(moment, name, read, *name, *args, **options)
        if not self._open:
            self._is_over()  # meanwhile
        return found

    def _read(self, state_key: str) -> bytes | None:
        """For typed state, whose attributes cannot be awaited: its fields were loaded."""
        if not self._open:
            self._is_over()
        if self._missing(state_key):
            raise SessionError(
                f"entry {state_key!r} is not loaded: name it in preload=,"
                f" or await get({state_key!r})"
            )
        return self._peek(state_key)

    def _commit(self) -> int | None:
        raise SessionError(
            "commit() must be awaited here: await kvengine.aio.session_of(state).commit()"
        )


def session_of(state: State) -> Session:
    """The session that a typed state belongs to, for its other verbs, which are awaited."""
    session = state._kv_cells
    if not isinstance(session, Session):
        raise SessionError(f"this {type(state).__qualname__} belongs to no session of asyncio")
    return session
