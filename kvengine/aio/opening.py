"""Opening a database without stopping the loop."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Callable, Coroutine, Generator
from functools import partial, wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, Unpack, overload

import kvengine.engine
import kvengine.opening
from kvengine.aio.engine import Engine
from kvengine.aio.store import Store
from kvengine.aio.waiting import settled
from kvengine.closing import Awaited
from kvengine.errors import DatabaseLocked
from kvengine.opening import OwnOptions, SharedOptions
from kvengine.options import lock_seconds
from kvengine.share.store import SharedStore
from kvengine.storage.lifecycle.lock import Patience

if TYPE_CHECKING:
    from kvengine.share.awaited import AsyncSharedStore

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound=Store)
C = TypeVar("C", bound=Callable[..., Any])


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


async def _owned(path: str | os.PathLike[str], options: dict[str, Any]) -> Engine:
    """Open a database; wait for another owner to leave it, where no thread need do so."""
    given = {**options, "lock_timeout": 0.0}  # of each attempt
    seconds = lock_seconds(options.get("lock_timeout", 0.0), options.get("read_only", False))
    patience = Patience(seconds)
    while True:
        try:
            return await _opened(partial(kvengine.opening.open, path, **given), _awaited)
        except DatabaseLocked as refused:
            pause = patience.pause(refused)
        await asyncio.sleep(pause)


async def _opened(work: Callable[[], Any], awaited: Callable[[Any], S]) -> S:
    """Open a store in a thread, and return it ``awaited``."""
    opening = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return awaited(await settled(opening))
    except asyncio.CancelledError:
        if not opening.cancelled() and opening.exception() is None:
            opening.result().close()
        raise


def _same_parameters_as(original: Callable[P, Any]) -> Callable[[Callable[..., T]], Callable[P, T]]:
    """Give a function the parameters, for type checkers too, and the docstring of another one."""
    return wraps(original)


def _same_docstring_as(original: Callable[..., Any]) -> Callable[[C], C]:
    """Give a function the parameters, for those who look at it, and the docstring of another."""

    def adopt(function: C) -> C:
        function.__doc__ = original.__doc__
        function.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]
        return function

    return adopt


@overload
def open(
    path: str | os.PathLike[str], *, share: Literal[True], **options: Unpack[SharedOptions]
) -> Opening[AsyncSharedStore]: ...


@overload
def open(
    path: str | os.PathLike[str], *, share: Literal[False] = False, **options: Unpack[OwnOptions]
) -> Opening[Engine]: ...


@_same_docstring_as(kvengine.opening.open)
def open(path: str | os.PathLike[str], **options: Any) -> Opening[Any]:
    if options.get("share"):
        return Opening(partial(_opened, partial(kvengine.opening.open, path, **options), _shared))
    return Opening(partial(_owned, path, options))


@_same_parameters_as(kvengine.opening.connect)
def connect(*args: Any, **options: Any) -> Opening[Store]:
    given = inspect.signature(kvengine.opening.connect).bind(*args, **options)
    given.apply_defaults()
    url = given.arguments["url"]
    if not (isinstance(url, str) and "://" in url):
        work: Any = partial(kvengine.opening.connect, *args, **options)
        return Opening(partial(_opened, work, _shared))
    try:
        from kvengine.postgres.awaited import connected
        from kvengine.postgres.settings import check
    except ImportError as error:
        raise kvengine.opening.explained(error) from error
    return Opening(partial(connected, check(**given.arguments)))


def _awaited(engine: kvengine.engine.Engine) -> Engine:
    return Engine(engine, owned=True)


def _shared(store: SharedStore) -> AsyncSharedStore:
    from kvengine.share.awaited import AsyncSharedStore  # which imports this package

    return AsyncSharedStore(store)


def wrap(engine: kvengine.engine.Engine) -> Engine:
    """Return the awaited verbs of a database that is open already, for one event loop.

    Closing what this returns ends its use in this loop; the engine stays open.
    """
    return Engine(engine, owned=False)
