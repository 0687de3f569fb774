"""The ``async with`` block of a session: the steps of sessions/context.py, awaited.

A cancellation takes the place of the interrupt. While the commit is under way
it waits for its end, so that the turn is given back to an object that has the
commit or has it not.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Generic, TypeVar

from kvengine.aio.home import Home
from kvengine.aio.session import Session
from kvengine.aio.turns import wait
from kvengine.aio.waiting import settled
from kvengine.objects.sessions.context import Block
from kvengine.real_time import monotonic

T = TypeVar("T")


class SessionContext(Block, Generic[T]):
    """A session to come. Entering it gives a `Session`, or the typed state asked for."""

    __slots__ = ("_waits",)

    _waits: Home

    async def __aenter__(self) -> T:
        session: Any = Session()
        session._open = False
        session._handle = handle = self._handle
        session._settings = settings = self._settings
        session._moment = session._state = None
        session._waits = self._waits
        if self._session is not None:
            self._refuse_nested()
        self._waits.bind()
        self._session = session
        try:
            began, timeout = monotonic(), settings.timeout
            if not settings.read_only:
                turns, name = handle._host.turns, handle._name
                if not turns.join(name, self, False, timeout):
                    await wait(turns, name, self, timeout)
            left = None if timeout is None else max(timeout - monotonic() + began, 0.0)
            # A typed state reads attributes, which cannot be awaited: its fields are loaded now.
            await self._waits.load(session, self._kind._kv_entries() if self._kind else (), left)
            return session if self._kind is None else session._typed(self._kind)  # type: ignore[no-any-return]
        except BaseException:
            try:
                await self._give_back()
            finally:
                self._leave()
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None and self._session is not None:
                await self._session._finish()
        finally:
            try:
                await self._give_back()
            finally:
                self._leave()

    async def _give_back(self) -> None:
        """Give the object back to the other clients of the store, if it has any."""
        host, name = self._handle._host, self._handle._name
        if host.shared is not None and host.turns.holds(name, self):
            leaving = host.shared.leave(name)
            if leaving is not None:
                await settled(leaving)
