"""The verbs of a session that read and write its working state; what both kinds of session share.

A session over threads (`Session`, here) fetches what it lacks from its moment
at once; an asynchronous one (aio/session.py) awaits it. All else is the same.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NoReturn, TypeVar, overload

from kvengine.errors import ReadOnly, SessionError
from kvengine.objects.sessions.host import Host, Late
from kvengine.objects.sessions.mapping import StateMapping
from kvengine.objects.sessions.settings import Settings, check_walk
from kvengine.objects.sessions.working import Working
from kvengine.objects.state.base import State
from kvengine.objects.state.cells import Cells
from kvengine.objects.state.stored import over
from kvengine.serdes.codec import Codec, absent
from kvengine.serdes.registry import SerdeChoice
from kvengine.storage.batch import Batch, Expire, check_value, duration, expire_operation
from kvengine.storage.names import are_ascii_names, check_name

T = TypeVar("T")
D = TypeVar("D")


class SessionVerbs(Cells):
    """The verbs of a session that need no engine.

    ``_working``: None once the session is over. ``_moment``: whom to ask for what
    that lacks; None where it is complete. ``_retention``: of a workflow, in
    microseconds; None for a virtual object. ``_state``: the typed state over this
    session. Whoever enters a block makes one and fills in all fields.
    """

    __slots__ = ("_codec", "_host", "_moment", "_retention", "_settings", "_state", "_working")

    _host: Host
    _working: Working | None
    _moment: Late | None
    _codec: Codec
    _settings: Settings
    _retention: int | None
    _state: State | None

    @property
    def service(self) -> str:
        return self._codec.name[0]

    @property
    def key(self) -> str:
        return self._codec.name[1]

    @property
    def version(self) -> int:
        """The version that the session began with, or that of its own last commit; 0: absent."""
        working = self._working or self._is_over()
        return working.version

    @property
    def expires_at(self) -> float | None:
        """When the object expires, as the session began, or as its own commit set it."""
        working = self._working or self._is_over()
        return working.expires_at

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
        working = self._working or self._is_over()
        if self._settings.shared:
            self._refuse_write()
        if not are_ascii_names(name, ""):
            name = check_name("state_key", name)
        data = self._codec.encode(name, value, serde)
        if len(data) > self._host.max_value_size:
            check_value(data, self._host.max_value_size)
        if ttl is None and working.ttls is None:
            working.changes[name] = data
        else:
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
        working = self._working or self._is_over()
        if self._settings.shared:
            self._refuse_write()
        return working

    def _refuse_write(self) -> NoReturn:
        raise ReadOnly(
            f"a shared session of object {self._codec.name!r} only reads;"
            " leave out shared=True to write"
        )

    def _is_over(self) -> NoReturn:
        raise SessionError(
            f"the session of object {self._codec.name!r} is over: what it reads and writes"
            " belongs inside its `with` block"
        )

    def _collect(self) -> None:
        """Take in what a typed state has changed in place, so that reads see it."""
        if self._state is not None and not self._settings.shared:
            self._state._kv_collect()

    def _changed(self) -> bool:
        """Whether there is anything to commit, with what was changed in place."""
        if self._state is not None:
            self._state._kv_collect()
        working = self._working or self._is_over()
        return working.changed

    def _batch(self) -> Batch:
        """What is to be committed."""
        batch = Batch()
        working = self._working or self._is_over()
        batch.operations = working.operations(self._codec.name)
        return batch

    def _typed(self, kind: type[State]) -> State:
        """A typed state over this session."""
        session: Any = self
        self._state = over(kind, session, self._codec)
        return self._state

    def _end(self) -> None:
        """From now on every use raises SessionError. May be called again."""
        self._working = None
        if self._state is not None:
            self._state._kv_forget()
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

    def _write(self, state_key: str, data: bytes) -> None:
        working = self._writable()
        if len(data) > self._host.max_value_size:
            check_value(data, self._host.max_value_size)
        if working.ttls is None:
            working.changes[state_key] = data
        else:
            working.write(state_key, data)

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
        working = self._working or self._is_over()
        changes = working.changes
        data = changes[name] if changes and name in changes else working.base.get(name)
        if data is None:
            data = self._read(check_name("state_key", name))
            if data is None:
                return absent(default, serde)
        return self._codec.decode(name, data, type, serde)

    def state_keys(
        self, *, prefix: str = "", start: str = "", limit: int | None = None
    ) -> list[str]:
        """State keys in byte order from ``start`` on, those just set among them."""
        self._collect()
        working = self._working or self._is_over()
        check_walk(prefix, start, limit)
        found = None
        if working.keys_missing:
            name, asked = self._codec.name, working.enough(limit)
            found = self._asked().state_keys(*name, prefix=prefix, start=start, limit=asked)
            if not (prefix or start) and limit is None:
                working.learn_keys(found)
        return working.state_keys(prefix, start, limit, found)

    def get_all(self, *, type: Any = None) -> dict[str, Any]:
        """The values of all entries, in key order."""
        self._collect()
        working = self._working or self._is_over()
        if not working.complete:
            working.learn_all(self._asked().get_all(*self._codec.name))
        codec = self._codec
        return {name: codec.decode(name, data, type) for name, data in working.entries().items()}

    def commit(self) -> int | None:
        """Commit what has changed so far, as one; the stamp, None where nothing has.

        The session goes on. VersionConflict as at its end.
        """
        if not self._changed():
            return None
        working = self._working or self._is_over()
        if working.survival_unknown:
            found = self._asked().state_keys(*self._codec.name, limit=working.enough(1))
            working.learn_some_keys(found)
        expires = working.expiry_changes
        stamp = self._save()
        working.committed(stamp)
        if expires:
            working.expires_at = self._host.store.expires_at(*self._codec.name)
        return stamp

    def _commit(self) -> int | None:
        return self.commit()

    def mapping(self) -> StateMapping:
        """The session as a `MutableMapping` of state keys to values."""
        return StateMapping(self)

    def _finish(self) -> None:
        """The last commit, if anything changed."""
        if self._state is not None:
            self._state._kv_collect()
        working = self._working or self._is_over()
        if working.changes or working.changed:
            working.base = working.changes  # so that the memo may change in place what it shared
            self._save()

    def _save(self) -> int:
        """Commit; VersionConflict where the object is no longer as the session began."""
        host, name, working = self._host, self._codec.name, self._working or self._is_over()
        durability = self._settings.durability
        committer = host.committer
        if committer is not None and working.only_assigns():
            version, moment = working.version, self._moment
            return committer.commit_entries(name, working.changes, version, durability, moment)
        expect = {name: working.version}
        return host.store.write(self._batch(), expect=expect, durability=durability)

    def __contains__(self, name: str) -> bool:
        return self._read(check_name("state_key", name)) is not None

    def _read(self, state_key: str) -> bytes | None:
        working = self._working or self._is_over()
        if state_key in working.changes:
            return working.changes[state_key]
        data = working.base.get(state_key)
        if data is not None or working.complete or state_key in working.base:
            return data
        service, key = self._codec.name
        found = self._asked().get(service, key, state_key)
        return working.base.setdefault(state_key, found)


def session_of(state: State) -> Session:
    """The session that a typed state belongs to, for its other verbs: `get`, `state_keys`, ...

    SessionError where it belongs to none, or to one of asyncio (`kvengine.aio.session_of`).
    """
    session = state._kv_cells
    if not isinstance(session, Session):
        raise SessionError(f"this {type(state).__qualname__} belongs to no session of threads")
    return session
