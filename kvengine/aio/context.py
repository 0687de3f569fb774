"""The ``async with`` block of a session: the steps of sessions/context.py, awaited.

A cancellation takes the place of the interrupt. While the commit is under way
it waits for its end, so that the turn is given back to an object that has the
commit or has it not.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Generic, TypeVar

from kvengine.aio.session import Session
from kvengine.aio.turns import wait
from kvengine.aio.waiting import Waits, settled
from kvengine.objects.sessions.context import Block
from kvengine.objects.sessions.load import load

T = TypeVar("T")


class SessionContext(Block, Generic[T]):
    """A session to come. Entering it gives a `Session`, or the typed state asked for."""

    __slots__ = ("_waits",)

    _waits: Waits

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
            if not settings.read_only:
                turns, name = handle._host.turns, handle._name
                if not turns.join(name, self, False, settings.timeout):
                    await wait(turns, name, self, settings.timeout)
            await self._load(session)
            return session if self._kind is None else session._typed(self._kind)  # type: ignore[no-any-return]
        except BaseException:
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
            self._leave()

    async def _load(self, session: Session) -> None:
        """Typed state reads attributes, which cannot be awaited: its fields are loaded now."""
        waits = self._waits
        always = self._kind._kv_entries() if self._kind is not None else ()
        if waits.engine._in_memory(*self._handle._name):
            load(session, always)
        else:
            await settled(waits.run(load, session, always))
