"""The ``with`` block of a session: its turn, its load, its commit, its end.

Steps, and what an interrupt after each leaves:

1. Queue up and wait for the turn (not where read_only). Left: the turn is given back.
2. Load. Left: the same.
3. The block runs. Left: nothing is written, the turn is given back.
4. Commit. Left: the commit is there in whole or not at all (storage/commit.py).
5. End the session, give the turn back. Left: the turn ends with this object, which
   nothing but the interrupted frame refers to, and so not before its exception, if
   somebody keeps that (turns.py).
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from kvengine.errors import SessionError
from kvengine.objects.sessions.host import Handle
from kvengine.objects.sessions.load import load
from kvengine.objects.sessions.session import Session
from kvengine.objects.sessions.settings import Settings
from kvengine.objects.sessions.turns import Turn, wait
from kvengine.objects.state.base import State
from kvengine.real_time import monotonic
from kvengine.storage.machine import ref

T = TypeVar("T")


class Block(Turn):
    """What is the same for the ``with`` block of a thread and the ``async with`` of a task.

    ``session(...)`` makes one and fills in all fields: an `__init__` would cost more.
    """

    __slots__ = ("_handle", "_kind", "_session", "_settings")

    _handle: Handle
    _kind: type[State] | None
    _settings: Settings
    _session: Any  # SessionVerbs, that of a thread or of a task; None before and after

    def _refuse_nested(self) -> None:
        raise SessionError("this session is open already: make another by session(...)")

    def _leave(self) -> None:
        """End the session and give the turn back. May be called again."""
        session = self._session
        host = self._handle._host
        try:
            if session is not None:
                session._end()
            self._session = None
            if host.shared is not None and host.turns.holds(self._handle._name, self):
                host.shared.leave(self._handle._name)
        finally:
            if not self._settings.read_only:
                host.turns.leave(self._handle._name, self)


class SessionContext(Block):
    """A session to come. Entering it gives a `Session`, or the typed state asked for."""

    __slots__ = ()

    def __enter__(self) -> Any:
        fresh = Session.__new__(Session)
        if self._session is not None:
            self._refuse_nested()
        self._session = fresh  # no call since the question: no other thread came between
        session = self._session  # whose type is declared
        session._open = False
        session._handle = handle = self._handle
        session._settings = self._settings
        session._moment = session._state = None
        try:
            shared, timeout = handle._host.shared, self._settings.timeout
            began = 0.0 if shared is None else monotonic()
            if not self._settings.read_only:
                turns, name = handle._host.turns, handle._name
                if not turns.join(name, self, True, timeout):
                    wait(turns, name, self, timeout)
            if shared is None:
                load(session, ())
            else:
                left = None if timeout is None else max(timeout - monotonic() + began, 0.0)
                session._moment = shared.begin(session, (), left)
            return session if self._kind is None else session._typed(self._kind)
        except BaseException:
            self._leave()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            session = self._session
            if kind is None and session is not None:
                session._finish()
        finally:
            self._leave()


def block_of(handle: Handle, kind: type[State] | None, settings: Settings) -> SessionContext:
    """Return the block of a session of a thread, to be entered."""
    block = SessionContext.__new__(SessionContext)
    block.claim = ref(block)
    block._handle = handle
    block._kind = kind
    block._settings = settings
    block._session = None
    return block


if TYPE_CHECKING:

    class SessionOf(SessionContext, Generic[T]):
        """A `SessionContext` for type checkers: what is compiled with C fields is not generic."""

        def __enter__(self) -> T: ...
