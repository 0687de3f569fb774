"""Opening a database without stopping the loop."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Generator
from functools import partial, wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import kvengine.engine
import kvengine.opening
from kvengine.aio.engine import Engine
from kvengine.aio.waiting import settled
from kvengine.closing import Awaited

if TYPE_CHECKING:
    from kvengine.postgres.awaited import Connecting

P = ParamSpec("P")
T = TypeVar("T")


class Opening(Awaited):
    """A database to be opened: ``async with open(path) as db``, or ``db = await open(path)``."""

    def __init__(self, work: Callable[[], kvengine.engine.Engine]) -> None:
        self._work = work
        self._opened: Engine | None = None

    async def _open(self) -> Engine:
        work = asyncio.get_running_loop().run_in_executor(None, self._work)
        try:
            return Engine(await settled(work), owned=True)
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


def _same_parameters_as(original: Callable[P, Any]) -> Callable[[Callable[..., T]], Callable[P, T]]:
    """Give a function the parameters, for type checkers too, and the docstring of another one."""
    return wraps(original)


@_same_parameters_as(kvengine.opening.open)
def open(*args: Any, **options: Any) -> Opening:
    return Opening(partial(kvengine.opening.open, *args, **options))


@_same_parameters_as(kvengine.opening.connect)
def connect(*args: Any, **options: Any) -> Connecting:
    try:
        from kvengine.postgres.awaited import Connecting
        from kvengine.postgres.settings import check
    except ImportError as error:
        raise kvengine.opening.explained(error) from error
    given = inspect.signature(kvengine.opening.connect).bind(*args, **options)
    given.apply_defaults()
    return Connecting(check(**given.arguments))


def wrap(engine: kvengine.engine.Engine) -> Engine:
    """Return the awaited verbs of a database that is open already, for one event loop.

    Closing what this returns ends its use in this loop; the engine stays open.
    """
    return Engine(engine, owned=False)
