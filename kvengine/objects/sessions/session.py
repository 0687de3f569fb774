"""The verbs of a session that read and write its working state; what both kinds of session share.

A session over threads (`Session`, here) fetches what it lacks from its moment
at once; an asynchronous one (aio/session.py) awaits it. All else is the same.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NoReturn, TypeVar, overload

from kvengine.errors import ReadOnly, SessionError
from kvengine.objects.sessions.adding import adding
from kvengine.objects.sessions.host import Handle, Late
from kvengine.objects.sessions.mapping import StateMapping
from kvengine.objects.sessions.settings import Settings, check_walk
from kvengine.objects.sessions.working import FOR_EVER, Working
from kvengine.objects.state.base import State
from kvengine.objects.state.stored import collect, forget, over
from kvengine.serdes.codec import absent
from kvengine.serdes.registry import SerdeChoice
from kvengine.storage.batch import Batch, Complete, check_value, expire_operation
from kvengine.storage.clock import SECOND
from kvengine.storage.names import are_ascii_names, check_name
from kvengine.storage.times import time_to_live

T = TypeVar("T")
D = TypeVar("D")


class SessionVerbs(Working):
    """The verbs of a session that need no engine.

    ``_moment``: whom to ask for what the working state lacks; None where it is
    complete. ``_state``: the typed state over this session. Whoever enters a block
    makes one and fills in all fields; `load` those of the working state.
    """

    __slots__ = ("_handle", "_moment", "_settings", "_state")

    _handle: Handle
    _moment: Late | None
    _settings: Settings
    _state: State | None

    @property
    def service(self) -> str:
        return self._handle._name[0]

    @property
    def key(self) -> str:
        return self._handle._name[1]

    def version(self) -> int:
        """Return the version that the session began with, or that of its own last commit.

        0 if the object is absent.
        """
        if not self._open:
            self._is_over()
        return self._version

    def set(
        self,
        name: str,
        value: Any,
        *,
        ttl: float | timedelta | None = None,
        serde: SerdeChoice | None = None,
    ) -> None:
        """Set an entry with the commit. The value is encoded now: later changes to it do not count.

        ``ttl``: seconds or a timedelta, from the commit on, after which the entry expires; one of
        0 or less clears it.
        """
        if not self._open:
            self._is_over()
        if self._settings.read_only:
            self._refuse_write()
        if not are_ascii_names(name, ""):
            name = check_name("state_key", name)
        data = self._handle._encode(name, value, serde)
        if len(data) > self._handle._host.max_value_size:
            check_value(data, self._handle._host.max_value_size)
        lifetime = None if ttl is None else time_to_live(ttl)
        if not self._open:  # the serde, or another thread, has ended it
            self._is_over()
        if lifetime is None and self._ttls is None:
            self._changes[name] = data
        elif lifetime == 0:
            self._drop(name)
        else:
            self._put(name, data, lifetime)
        if self._state is not None:
            forget(self._state, name)

    def clear(self, name: str) -> None:
        """Clear an entry with the commit."""
        self._check_writable()
        self._drop(check_name("state_key", name))
        if self._state is not None:
            forget(self._state, name)

    def clear_all(self) -> None:
        """Clear every entry of the object, and its expiry, with the commit."""
        self._check_writable()
        self._drop_all()
        if self._state is not None:
            forget(self._state)

    def expire(self, *, at: float | None = None, ttl: float | timedelta | None = None) -> None:
        """Let the object expire at a time, or so long after the commit; neither: never.

        Without effect where the object has no entry when the session commits.
        """
        self._check_writable()
        operation = expire_operation(*self._handle._name, at, ttl)
        never = operation.at is None and operation.ttl is None
        self._give_end(operation, completed=self._completed and not never)

    def complete(self) -> None:
        """Complete the workflow with the commit, with or without state: its retention begins then.

        A workflow that is completed already keeps its time. With a retention of
        zero its state goes with the commit. SessionError on a virtual object.
        """
        self._check_writable()
        if self._handle._retention is None:
            raise SessionError("complete() is a workflow's: open it with db.workflow(...)")
        if self._handle._retention == 0:
            self.clear_all()
        elif not self._completed:
            operation = Complete(self._handle._name, self._handle._retention)
            self._give_end(operation, completed=True)

    def _ends_by_itself(self, state_key: str) -> float | None:
        """Return when an entry expires, as far as that is known. See `_must_ask`."""
        if state_key not in self._changes:
            return (self._ends or {}).get(state_key)
        _, at = (self._ttls or {}).get(state_key, FOR_EVER)
        return None if at is None else at / SECOND

    def _must_ask(self, state_key: str) -> bool:
        """Return whether only the moment can tell when an entry expires."""
        known = self._complete or state_key in self._changes
        return not known and (self._ends is None or state_key not in self._ends)

    def _assign(
        self, state_key: str, value: Any, serde: SerdeChoice | None, end: float | None
    ) -> None:
        """Set an entry that keeps its expiry, which is ``end`` unless this session has set it."""
        data = self._handle._encode(state_key, value, serde)
        self._check_writable()
        check_value(data, self._handle._host.max_value_size)
        ttl, at = self._lifetime(state_key, end)
        self._put(state_key, data, ttl, at)
        if self._state is not None:
            forget(self._state, state_key)

    def _check_writable(self) -> None:
        if not self._open:
            self._is_over()
        if self._settings.read_only:
            self._refuse_write()

    def _refuse_write(self) -> NoReturn:
        raise ReadOnly(
            f"a read-only session of object {self._handle._name!r} writes nothing;"
            " leave out read_only=True to write"
        )

    def _is_over(self) -> NoReturn:
        raise SessionError(
            f"the session of object {self._handle._name!r} is over: what it reads and writes"
            " belongs inside its `with` block"
        )

    def _collect(self) -> None:
        """Take in what a typed state has changed in place, so that reads see it."""
        if self._state is not None and not self._settings.read_only:
            collect(self._state)

    def _changed(self) -> bool:
        """Whether there is anything to commit, with what was changed in place."""
        if self._state is not None:
            collect(self._state)
        if not self._open:
            self._is_over()
        return self._dirty

    def _batch(self, changes: dict[str, bytes | None]) -> Batch:
        """What is to be committed."""
        batch = Batch()
        batch.operations = self._operations(self._handle._name, changes)
        return batch

    def _typed(self, kind: type[State]) -> State:
        """A typed state over this session."""
        session: Any = self
        self._state = over(kind, session, self._handle)
        return self._state

    def _end(self) -> None:
        """From now on every use raises SessionError. May be called again."""
        self._open = False
        self._base = self._changes = None  # type: ignore[assignment]
        if self._state is not None:
            forget(self._state)
            self._state = None  # it refers to its session: the collector would have to find both
        if self._moment is not None:
            self._moment.close()

    def _finish(self) -> Any:
        """Do the last commit, if anything changed; awaited in a session of a task."""
        raise NotImplementedError

    def _asked(self) -> Late:
        assert self._moment is not None
        return self._moment

    # --- what a typed state asks for

    def _write(self, state_key: str, data: bytes, ttl: int | None) -> None:
        self._check_writable()
        if len(data) > self._handle._host.max_value_size:
            check_value(data, self._handle._host.max_value_size)
        if ttl is None and self._ttls is None:
            self._changes[state_key] = data
        else:
            self._put(state_key, data, ttl)

    def _erase(self, state_key: str) -> None:
        self._check_writable()
        self._drop(state_key)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__} of {self._handle._name!r}>"


class Session(SessionVerbs):
    """One object for the length of a ``with`` block, made by ``session(...)``.

    Reads are of the moment at which the session began, with its own writes over
    it. Writes become one atomic commit when the block ends, and none when it
    raises or nothing changed. The commit raises VersionConflict, and nothing is
    written, where the object was changed from outside meanwhile, or expired.
    """

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
        if self._state is not None:
            self._collect()
        if not self._open:
            self._is_over()
        base, changes = self._base, self._changes  # a name that is no str may end the session
        data = changes[name] if changes and name in changes else base.get(name)
        if data is None:
            data = self._read(check_name("state_key", name))
            if data is None:
                return absent(default, serde)
        return self._handle._decode(name, data, type, serde)

    def update(
        self,
        name: str,
        function: Callable[[Any], T],
        default: Any = None,
        *,
        type: Any = None,
        serde: SerdeChoice | None = None,
    ) -> T:
        """Set an entry to what ``function`` makes of its value, and return that.

        ``function`` gets the value, or a copy of ``default`` where there is none. A ttl that the
        entry has is kept.
        """
        self._check_writable()
        value = function(self.get(name, copy.deepcopy(default), type=type, serde=serde))
        self._assign(name, value, serde, self._end_of(name))
        return value

    @overload
    def increment(self, name: str, by: int = 1) -> int: ...

    @overload
    def increment(self, name: str, by: float) -> float: ...

    def increment(self, name: str, by: float = 1) -> float:
        """Add ``by`` to the number that an entry holds, 0 if there is none. Return the sum.

        A ttl that the entry has is kept. Raise TypeError if the value is not a number.
        """
        return self.update(name, adding(self._handle._name, name, by), 0)

    def pop(
        self, name: str, default: Any = None, *, type: Any = None, serde: SerdeChoice | None = None
    ) -> Any:
        """Clear an entry and return its value, ``default`` where there is none."""
        self._check_writable()
        value = self.get(name, default, type=type, serde=serde)
        self.clear(name)
        return value

    def expires_at(self, name: str | None = None) -> float | None:
        """Return when the object expires, as the session began or as its own commit set it.

        In seconds since the epoch; None for never. ``name``: when that entry does, by a ttl of
        its own; None for one that the session has set and not committed, whose time begins then.
        """
        if not self._open:
            self._is_over()
        return self._expires_at if name is None else self._end_of(check_name("state_key", name))

    def _end_of(self, state_key: str) -> float | None:
        if not self._must_ask(state_key):
            return self._ends_by_itself(state_key)
        return self._asked().expires_at(*self._handle._name, state_key)

    def state_keys(
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
            name, asked = self._handle._name, self._enough(limit)
            found = self._asked().state_keys(
                *name, prefix=prefix, start=start, reverse=reverse, limit=asked
            )
            if not (prefix or start) and limit is None:
                self._learn_keys(found)
        return self._live_keys(prefix, start, limit, found, reverse=reverse)

    def get_all(self, *, type: Any = None) -> dict[str, Any]:
        """The values of all entries, in key order."""
        self._collect()
        if not self._open:
            self._is_over()
        if not self._complete:
            self._learn_all(self._asked().get_all(*self._handle._name))
        handle = self._handle
        return {
            name: handle._decode(name, data, type) for name, data in self._live_entries().items()
        }

    def commit(self) -> int | None:
        """Commit what has changed so far, as one; the stamp, None where nothing has.

        The session goes on. VersionConflict as at its end.
        """
        if not self._changed():
            return None
        if self._survival_unknown:
            found = self._asked().state_keys(*self._handle._name, limit=self._enough(1))
            self._learn_some_keys(found)
        expires = self._expire is not None
        logged = self._logged()
        timed = [name for name in self._ttls or () if name in logged[0]]
        stamp = self._save(logged[0])
        self._committed(stamp, logged)
        store, name = self._handle._host.store, self._handle._name
        for state_key in timed:
            self._learn_end(state_key, store.expires_at(*name, state_key))
        if expires:  # only the store can tell when
            self._expires_at = store.expires_at(*name)
        return stamp

    def _commit(self) -> int | None:
        return self.commit()

    def mapping(self) -> StateMapping:
        """The session as a `MutableMapping` of state keys to values."""
        return StateMapping(self)

    def _finish(self) -> None:
        """The last commit, if anything changed."""
        if self._state is not None:
            collect(self._state)
        if not self._open:
            self._is_over()
        if self._changes or self._dirty:
            self._open = False  # what another thread set from now on would be lost
            self._base = self._changes  # so that the memo may change in place what it shared
            self._save(self._changes)

    def _save(self, changes: dict[str, bytes | None]) -> int:
        """Commit; VersionConflict where the object is no longer as the session began."""
        name, durability = self._handle._name, self._settings.durability
        committer = self._handle._host.committer
        if committer is not None and self._only_assigns():
            version, moment = self._version, self._moment
            return committer.commit_entries(name, changes, version, durability, moment)
        host, batch = self._handle._host, self._batch(changes)
        if host.shared is None:
            return host.store.write(batch, expect={name: self._version}, durability=durability)
        stamp = host.shared.commit(self, batch, not self._open)
        held: Any = self._moment
        if held is not None:
            held.version = stamp  # what is read late is of the object as it is now
        return stamp

    def __contains__(self, name: str) -> bool:
        return self._read(check_name("state_key", name)) is not None

    def _read(self, state_key: str) -> bytes | None:
        if not self._open:
            self._is_over()
        if state_key in self._changes:
            return self._changes[state_key]
        data = self._base.get(state_key)
        if data is not None or self._complete or state_key in self._base:
            return data
        service, key = self._handle._name
        found = self._asked().get(service, key, state_key)
        if not self._open:
            self._is_over()  # meanwhile, in another thread
        return self._base.setdefault(state_key, found)


def session_of(state: State) -> Session:
    """The session that a typed state belongs to, for its other verbs: `get`, `state_keys`, ...

    SessionError where it belongs to none, or to one of asyncio (`kvengine.aio.session_of`).
    """
    session = state._kv_cells
    if not isinstance(session, Session):
        raise SessionError(f"this {type(state).__qualname__} belongs to no session of threads")
    return session
