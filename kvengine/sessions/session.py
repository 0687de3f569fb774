"""The verbs of a session that read and write its working state; what both kinds of session share.

A session over threads (`Session`, here) fetches what it lacks from its moment
at once; an asynchronous one (aio/session.py) awaits it. All else is the same.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NoReturn, TypeVar, cast, overload

from kvengine.batch import Batch, Expire, duration, expire_operation
from kvengine.errors import ReadOnly, SessionError
from kvengine.names import check_name
from kvengine.serdes.codec import Codec
from kvengine.serdes.registry import SerdeChoice
from kvengine.sessions.mapping import StateMapping
from kvengine.sessions.settings import Settings, check_walk
from kvengine.sessions.working import Working
from kvengine.state.base import State
from kvengine.store import Snapshot, Writes

T = TypeVar("T")
D = TypeVar("D")


class SessionVerbs:
    """The verbs of a session that need no engine."""

    __slots__ = ("_codec", "_moment", "_retention", "_settings", "_state", "_store", "_working")

    def __init__(
        self,
        store: Writes,
        working: Working,
        moment: Snapshot | None,
        codec: Codec,
        settings: Settings,
        retention: int | None,
    ) -> None:
        """``moment``: whom to ask for what ``working`` lacks; None where it is complete.

        ``retention``: of a workflow, in microseconds; None for a virtual object.
        """
        self._store = store
        self._working = working
        self._moment = moment
        self._codec = codec
        self._settings = settings
        self._retention = retention
        self._state: State | None = None

    @property
    def service(self) -> str:
        return self._codec.name[0]

    @property
    def key(self) -> str:
        return self._codec.name[1]

    @property
    def version(self) -> int:
        """The version that the session began with, or that of its own last commit; 0: absent."""
        return self._working.version

    @property
    def expires_at(self) -> float | None:
        """When the object expires, as the session began, or as its own commit set it."""
        return self._working.expires_at

    def set(
        self,
        name: str,
        value: Any,
        *,
        ttl: float | timedelta | None = None,
        serde: SerdeChoice | None = None,
    ) -> None:
        """Set an entry with the commit. The value is encoded now: later changes to it do not count.

        ``ttl`` in seconds or a timedelta, from the commit on.
        """
        working = self._writable()
        name = check_name("state_key", name)
        data = self._codec.encode(name, value, serde)
        working.write(name, data, None if ttl is None else duration("ttl", ttl))
        if self._state is not None:
            self._state._kv_forget(name)

    def clear(self, name: str) -> None:
        """Clear an entry with the commit."""
        self._writable().erase(check_name("state_key", name))
        if self._state is not None:
            self._state._kv_forget(name)

    def clear_all(self) -> None:
        """Clear every entry of the object, and its expiry, with the commit."""
        self._writable().erase_all()
        if self._state is not None:
            self._state._kv_forget()

    def expire(self, *, at: float | None = None, ttl: float | timedelta | None = None) -> None:
        """Let the object expire at a time, or so long after the commit; neither: never.

        Without effect where the object has no entry when the session commits.
        """
        self._writable().expire(expire_operation(*self._codec.name, at, ttl))

    def complete(self) -> None:
        """Complete the workflow with the commit: its retention begins then.

        A workflow that is completed already keeps its time. With a retention of
        zero its state goes with the commit. SessionError on a virtual object.
        """
        working = self._writable()
        if self._retention is None:
            raise SessionError("complete() is a workflow's: open it with db.workflow(...)")
        if self._retention == 0:
            self.clear_all()
        elif not working.expiring:
            working.expire(Expire(self._codec.name, None, self._retention))

    def _writable(self) -> Working:
        if self._settings.shared:
            raise ReadOnly(
                f"a shared session of object {self._codec.name!r} only reads;"
                " leave out shared=True to write"
            )
        return self._working

    def _batch(self) -> Batch | None:
        """What is to be committed; None where nothing changed."""
        if self._state is not None:
            self._state._kv_collect()
        if not self._working.changed:
            return None
        batch = Batch()
        batch.operations = self._working.operations()
        return batch

    def _save(self, batch: Batch) -> int:
        """Commit; VersionConflict where the object is no longer as the session began."""
        expect = {self._codec.name: self._working.version}
        return self._store.write(batch, expect=expect, durability=self._settings.durability)

    def _typed(self, kind: type[State]) -> State:
        """A typed state over this session."""
        self._state = kind._kv_over(cast(Any, self), self._codec)
        return self._state

    def _end(self) -> None:
        """From now on every use raises SessionError."""
        self._working = cast(Working, _Ended(self._codec.name))
        if self._state is not None:
            self._state._kv_forget()
        if self._moment is not None:
            self._moment.close()

    @property
    def _asked(self) -> Snapshot:
        assert self._moment is not None
        return self._moment

    # --- what a typed state asks for

    def _read(self, state_key: str) -> bytes | None:
        raise NotImplementedError

    def _write(self, state_key: str, data: bytes) -> None:
        self._writable().write(state_key, data)

    def _erase(self, state_key: str) -> None:
        self._writable().erase(state_key)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__} of {self._codec.name!r}>"


class Session(SessionVerbs):
    """One object for the length of a ``with`` block, made by ``session(...)``.

    Reads are of the moment at which the session began, with its own writes over
    it. Writes become one atomic commit when the block ends, and none when it
    raises or nothing changed. The commit raises VersionConflict, and nothing is
    written, where the object was changed from outside meanwhile, or expired.
    """

    __slots__ = ()

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
        """The value of an entry, ``default`` where there is none. A copy: to change it, set it."""
        data = self._read(name)
        return default if data is None else self._codec.decode(name, data, type, serde)

    def state_keys(
        self, *, prefix: str = "", start: str = "", limit: int | None = None
    ) -> list[str]:
        """State keys in byte order from ``start`` on, those just set among them."""
        working = self._working
        check_walk(prefix, start, limit)
        if working.keys_missing:
            working.learn_keys(self._asked.state_keys(*self._codec.name))
        return working.state_keys(prefix, start, limit)

    def get_all(self, *, type: Any = None) -> dict[str, Any]:
        """The values of all entries, in key order."""
        working = self._working
        if not working.complete:
            working.learn_all(self._asked.get_all(*self._codec.name))
        decode = self._codec.decode
        return {name: decode(name, data, type) for name, data in working.entries().items()}

    def commit(self) -> int | None:
        """Commit what has changed so far, as one; the stamp, None where nothing has.

        The session goes on. VersionConflict as at its end.
        """
        batch = self._batch()
        if batch is None:
            return None
        working = self._working
        if working.survival_unknown:
            working.learn_keys(self._asked.state_keys(*self._codec.name))
        stamp = self._save(batch)
        working.committed(stamp)
        return stamp

    def mapping(self) -> StateMapping:
        """The session as a `MutableMapping` of state keys to values."""
        return StateMapping(self)

    def _finish(self) -> None:
        """The last commit, if anything changed."""
        batch = self._batch()
        if batch is not None:
            self._save(batch)

    def __contains__(self, name: object) -> bool:
        return self._read(cast(str, name)) is not None

    def _read(self, state_key: str) -> bytes | None:
        working = self._working
        data = working.known.get(state_key)
        if data is None:
            check_name("state_key", state_key)
            if working.missing(state_key):
                found = self._asked.get(*self._codec.name, state_key)
                working.learn({} if found is None else {state_key: found}, (state_key,))
                return found
        return data


def session_of(state: State) -> Session:
    """The session that a typed state belongs to, for its other verbs: `get`, `state_keys`, ..."""
    return state._kv_session("session_of")  # type: ignore[no-any-return]


class _Ended:
    """Stands in for the working state of a session that is over."""

    def __init__(self, name: tuple[str, str]) -> None:
        self.__name = name

    def __getattr__(self, name: str) -> NoReturn:
        raise SessionError(
            f"the session of object {self.__name!r} is over: what it reads and writes belongs"
            " inside its `with` block"
        )
