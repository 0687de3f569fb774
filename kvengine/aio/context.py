"""The ``async with`` block of a session: the steps of sessions/context.py, awaited.

A cancellation takes the place of the interrupt. While the commit is under way
it waits for its end, so that the turn is given back to an object that has the
commit or has it not.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Generic, TypeVar

from kvengine.aio.session import Session
from kvengine.aio.turns import wait
from kvengine.aio.waiting import Waits, settled
from kvengine.objects.sessions.context import ENTERING, Block
from kvengine.objects.sessions.host import Late
from kvengine.objects.sessions.load import load
from kvengine.objects.sessions.working import Working

T = TypeVar("T")


class SessionContext(Block, Generic[T]):
    """A session to come. Entering it gives a `Session`, or the typed state asked for."""

    __slots__ = ("_waits",)

    _waits: Waits

    async def __aenter__(self) -> T:
        if self._session is not None:
            self._refuse_nested()
        self._waits.bind()
        self._session = ENTERING
        codec, settings = self._codec, self._settings
        try:
            if not settings.shared:
                turns, name = self._host.turns, codec.name
                if not turns.join(name, self, False):
                    await wait(turns, name, self, settings.timeout)
            session: Any = Session()
            session._host = self._host
            session._codec = codec
            session._settings = settings
            session._working, session._moment = await self._load()
            session._retention = self._retention
            session._state = None
            session._waits = self._waits
            self._session = session
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

    async def _load(self) -> tuple[Working, Late | None]:
        """Typed state reads attributes, which cannot be awaited: its fields are loaded now."""
        waits, name = self._waits, self._codec.name
        always = self._kind._kv_entries() if self._kind is not None else ()
        if waits.engine.in_memory(*name):
            return load(self._host, name, self._settings, always)
        work = waits.run(load, self._host, name, self._settings, always)
        try:
            return await settled(work)
        except asyncio.CancelledError:
            moment = None if work.cancelled() or work.exception() else work.result()[1]
            if moment is not None:
                moment.close()
            raise
