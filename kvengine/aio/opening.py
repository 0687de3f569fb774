"""Opening a database without stopping the loop."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from functools import partial, wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

import kvengine.engine
import kvengine.opening
from kvengine.aio.engine import Engine
from kvengine.aio.store import Store
from kvengine.aio.waiting import settled
from kvengine.closing import Awaited
from kvengine.errors import DatabaseLocked
from kvengine.options import lock_seconds
from kvengine.storage.lifecycle.lock import Patience

if TYPE_CHECKING:
    from kvengine.postgres.awaited import AsyncPostgresStore

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound=Store)


class Opening(Awaited, Generic[S]):
    """A store to come: ``async with open(path) as db``, or ``db = await open(path)``."""

    def __init__(self, begin: Callable[[], Coroutine[Any, Any, S]]) -> None:
        """``begin``: begins to open it."""
        self._begin = begin
        self._opened: S | None = None

    def __await__(self) -> Generator[Any, None, S]:
        return self._begin().__await__()

    async def __aenter__(self) -> S:
        self._opened = await self._begin()
        return self._opened

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._opened is not None:
            await self._opened.close()


async def _opened(args: Sequence[Any], options: Mapping[str, Any]) -> Engine:
    """Open a database; wait for another owner to leave it, where no thread need do so."""
    given = inspect.signature(kvengine.opening.open).bind(*args, **options)
    given.apply_defaults()
    arguments = given.arguments
    seconds = lock_seconds(arguments["lock_timeout"], arguments["read_only"])
    arguments["lock_timeout"] = 0.0  # of each attempt
    patience = Patience(seconds)
    while True:
        try:
            return await _attempt(partial(kvengine.opening.open, *given.args, **given.kwargs))
        except DatabaseLocked as refused:
            pause = patience.pause(refused)
        await asyncio.sleep(pause)


async def _attempt(work: Callable[[], kvengine.engine.Engine]) -> Engine:
    """Open a database in a thread."""
    opening = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return Engine(await settled(opening), owned=True)
    except asyncio.CancelledError:
        if not opening.cancelled() and opening.exception() is None:
            opening.result().close()
        raise


def _same_parameters_as(original: Callable[P, Any]) -> Callable[[Callable[..., T]], Callable[P, T]]:
    """Give a function the parameters, for type checkers too, and the docstring of another one."""
    return wraps(original)


@_same_parameters_as(kvengine.opening.open)
def open(*args: Any, **options: Any) -> Opening[Engine]:
    return Opening(partial(_opened, args, options))


@_same_parameters_as(kvengine.opening.connect)
def connect(*args: Any, **options: Any) -> Opening[AsyncPostgresStore]:
    try:
        from kvengine.postgres.awaited import connected
        from kvengine.postgres.settings import check
    except ImportError as error:
        raise kvengine.opening.explained(error) from error
    given = inspect.signature(kvengine.opening.connect).bind(*args, **options)
    given.apply_defaults()
    return Opening(partial(connected, check(**given.arguments)))


def wrap(engine: kvengine.engine.Engine) -> Engine:
    """Return the awaited verbs of a database that is open already, for one event loop.

    Closing what this returns ends its use in this loop; the engine stays open.
    """
    return Engine(engine, owned=False)
