"""`VirtualObject`: the verbs of one object, with values instead of bytes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar, overload

from kvengine.attempts import Attempts
from kvengine.objects.sessions.adding import adding
from kvengine.objects.sessions.context import block_of
from kvengine.objects.sessions.host import Handle
from kvengine.objects.sessions.mapping import StateMapping
from kvengine.objects.sessions.session import Session
from kvengine.objects.sessions.settings import Preload, check
from kvengine.objects.state.base import State
from kvengine.options import Durability
from kvengine.serdes.codec import absent
from kvengine.serdes.registry import SerdeChoice
from kvengine.storage.batch import Batch
from kvengine.storage.names import check_name

if TYPE_CHECKING:
    from kvengine.objects.sessions.context import SessionOf

T = TypeVar("T")
D = TypeVar("D")
S = TypeVar("S", bound=State)


class VirtualObject(Handle):
    """An object: made by ``db.object(service, key)``, for the moment or for good.

    Costs nothing but itself, so make them by the million, and share them
    between threads. Each verb is one read or one commit; what must change
    together runs in a `session`. Values go through the object's serde.

    Raises what the store raises, and SerdeError for a value that does not
    encode or decode, which names service, key and state key.
    """

    __slots__ = ()

    @property
    def service(self) -> str:
        return self._name[0]

    @property
    def key(self) -> str:
        return self._name[1]

    def __eq__(self, other: object) -> bool:
        """Handles are equal that name the same object of the same open store."""
        if not isinstance(other, VirtualObject):
            return NotImplemented
        return self._host is other._host and self._name == other._name

    def __hash__(self) -> int:
        return hash(self._name)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__} {self._name!r}>"

    @overload
    def get(self, name: str, *, type: type[T], serde: SerdeChoice | None = None) -> T | None: ...

    @overload
    def get(
        self, name: str, default: D, *, type: type[T], serde: SerdeChoice | None = None
    ) -> T | D: ...

    @overload
    def get(
        self, name: str, default: Any = None, *, type: Any = None, serde: SerdeChoice | None = None
    ) -> Any: ...

    def get(
        self, name: str, default: Any = None, *, type: Any = None, serde: SerdeChoice | None = None
    ) -> Any:
        """The value of an entry; ``default`` where there is none. None may be a value.

        ``type``: what it must be, anything that msgspec or pydantic validates. With
        JSON, which has no bytes, ``bytes`` gives an entry as it is stored.
        """
        data = self._host.store.get(*self._name, name)
        if data is None:
            return absent(default, serde)
        return self._decode(name, data, type, serde)

    def get_all(self, *, type: Any = None) -> dict[str, Any]:
        """The values of all entries, of one moment, in key order."""
        found = self._host.store.get_all(*self._name)
        return {name: self._decode(name, data, type) for name, data in found.items()}

    def state_keys(
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
        return self._host.store.state_keys(
            *self._name, prefix=prefix, start=start, reverse=reverse, limit=limit
        )

    def __contains__(self, name: str) -> bool:
        return self._host.store.get(*self._name, name) is not None

    def version(self) -> int:
        """Return the stamp of the last commit that touched the object, 0 if it is absent."""
        return self._host.store.version(*self._name)

    def expires_at(self, name: str | None = None) -> float | None:
        """Return when the object expires, in seconds since the epoch; None if never or absent.

        ``name``: when that entry does, by a ttl of its own.
        """
        return self._host.store.expires_at(*self._name, name)

    def set(
        self,
        name: str,
        value: Any,
        *,
        ttl: float | timedelta | None = None,
        expires_at: float | datetime | None = None,
        serde: SerdeChoice | None = None,
    ) -> int:
        """Set an entry and return the commit's stamp. None is stored as a value.

        ``ttl``: seconds or a timedelta after which the entry expires; one of 0 or less clears
        it at once. ``expires_at``: when it expires, in seconds since the epoch or as an aware
        datetime. Without either, an expiry that the entry had before is removed.
        """
        data = self._encode(check_name("state_key", name), value, serde)
        return self._host.store.set(*self._name, name, data, ttl=ttl, expires_at=expires_at)

    def update(
        self,
        name: str,
        function: Callable[[Any], T],
        default: Any = None,
        *,
        type: Any = None,
        serde: SerdeChoice | None = None,
    ) -> T:
        """Set an entry to what ``function`` makes of its value, and return that. Atomic.

        ``function`` gets the value, or a copy of ``default`` where there is none. It is called
        again if somebody else has changed the object meanwhile, so it should have no other effect.
        What it raises is raised, and nothing is written. A ttl that the entry has is kept.

        A commit of its own: a session of the object that is open now, of this thread or another
        one, ends with VersionConflict if it writes. In a session use its `update`.
        """
        check_name("state_key", name)
        store, named = self._host.store, self._name
        for attempt in Attempts():
            version = store.version(*named)  # first: a later commit is a conflict
            ends = store.expires_at(*named, name)  # before the value, which may expire in between
            data = store.get(*named, name)
            if data is None:
                found, ends = copy.deepcopy(default), None
            else:
                found = self._decode(name, data, type, serde)
            value = function(found)  # a VersionConflict that it raises is passed on
            batch = Batch()
            batch.set(*named, name, self._encode(name, value, serde), expires_at=ends)
            with attempt:
                store.write(batch, expect={named: version})
                return value
        raise AssertionError("there is always another attempt")

    @overload
    def increment(self, name: str, by: int = 1) -> int: ...

    @overload
    def increment(self, name: str, by: float) -> float: ...

    def increment(self, name: str, by: float = 1) -> float:
        """Add ``by`` to the number that an entry holds, 0 if there is none. Return the sum.

        As `update`: atomic, and with the ttl that the entry has. Raise TypeError if the value is
        not a number.
        """
        return self.update(name, adding(self._name, name, by), 0)

    def pop(
        self,
        name: str,
        default: Any = None,
        *,
        type: Any = None,
        serde: SerdeChoice | None = None,
    ) -> Any:
        """Clear an entry and return its value, ``default`` where there is none. Atomic.

        SerdeError for one that does not decode, and then it stays.
        """
        check_name("state_key", name)
        store, named = self._host.store, self._name
        for attempt in Attempts():
            version = store.version(*named)
            data = store.get(*named, name)
            if data is None:
                return absent(default, serde)
            value = self._decode(name, data, type, serde)
            batch = Batch()
            batch.clear(*named, name)
            with attempt:
                store.write(batch, expect={named: version})
                return value
        raise AssertionError("there is always another attempt")

    def clear(self, name: str) -> int:
        """Clear an entry."""
        return self._host.store.clear(*self._name, name)

    def clear_all(self) -> int:
        """Clear every entry of the object, and its expiry, by one small write."""
        return self._host.store.clear_all(*self._name)

    def expire(
        self, *, at: float | datetime | None = None, ttl: float | timedelta | None = None
    ) -> bool:
        """Give the object an expiry, or remove the one it has if neither argument is given.

        ``at``: seconds since the epoch, or an aware datetime. ``ttl``: seconds or a timedelta
        from now; one of 0 or less ends the object at once. Return whether the object existed.
        """
        return self._host.store.expire(*self._name, at=at, ttl=ttl)

    def locked(self) -> bool:
        """Return whether a session has the object now, of any thread or task of this process.

        Read-only sessions do not count: they take no turn.
        """
        return self._host.turns.is_taken(self._name)

    def mapping(self) -> StateMapping:
        """The object as a `MutableMapping` of state keys to values."""
        return StateMapping(self)

    @overload
    def session(
        self,
        *,
        preload: Preload = True,
        preload_limit: int | None = None,
        read_only: bool = False,
        timeout: float | timedelta | None = None,
        durability: Durability | None = None,
    ) -> SessionOf[Session]: ...

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
    ) -> SessionOf[S]: ...

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
    ) -> SessionOf[Any]:
        """The object, exclusively, for a ``with`` block; one atomic commit at its end.

        state
            A subclass of `kvengine.State`: the block gets one instead of a `Session`.
        preload
            True (eager): one read at the beginning, then none. False (lazy):
            each entry on its first use, all of one moment. State keys: these at
            the beginning, the others lazily.
        preload_limit
            Bytes of names and values that an eager session loads; what lies
            beyond is lazy. None: no limit.
        read_only
            Only read, beside an exclusive session and other read-only ones. A
            write raises ReadOnly.
        timeout
            Seconds to wait while others have the object, SessionTimeout past
            them; None for ever. They come in order of arrival.
        durability
            Of the commit: ``"sync"`` or ``"os"``; None as the database has it.

        Entering raises SessionError where this thread or task is in a session
        of the object already. Leaving raises VersionConflict, with nothing
        written, where the object was changed from outside or expired meanwhile.
        """
        settings = check(state, preload, preload_limit, read_only, timeout, durability, shared)
        return block_of(self, state, settings)  # type: ignore[return-value]
