"""Opening a database without stopping the loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Generator
from functools import partial
from types import TracebackType
from typing import Any

import kvengine.engine
from kvengine.aio.engine import Engine
from kvengine.aio.waiting import settled
from kvengine.engine import open_engine


class Opening:
    """A database to be opened: ``async with open(path) as db``, or ``db = await open(path)``."""

    def __init__(self, path: str | os.PathLike[str], options: dict[str, Any]) -> None:
        self._path = path
        self._options = options
        self._opened: Engine | None = None

    async def _open(self) -> Engine:
        work = asyncio.get_running_loop().run_in_executor(
            None, partial(open_engine, self._path, **self._options)
        )
        try:
            return Engine(await settled(work))
        except asyncio.CancelledError:
            if not work.cancelled() and work.exception() is None:
                work.result().close()
            raise

    def __await__(self) -> Generator[Any, None, Engine]:
        return self._open().__await__()

    async def __aenter__(self) -> Engine:
        self._opened = await self._open()
        return self._opened

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._opened is not None:
            await self._opened.close()


def open(path: str | os.PathLike[str], **options: object) -> Opening:
    """Open the database in directory ``path``; options and errors as of `kvengine.open`."""
    return Opening(path, options)


def wrap(engine: kvengine.engine.Engine) -> Engine:
    """The awaited verbs of a database that is open already. Closing either closes both."""
    return Engine(engine)
