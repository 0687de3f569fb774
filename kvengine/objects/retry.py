"""`retry`: run again what met a `VersionConflict`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar, cast, overload

from kvengine.attempts import Attempts

P = ParamSpec("P")
R = TypeVar("R")

TIMES = 10
"""How often something is run at most, if nobody says otherwise."""


class Retry:
    """What `retry` returns where it is given no function: a decorator, and a loop."""

    def __init__(self, times: int) -> None:
        if isinstance(times, bool) or not isinstance(times, int):
            raise TypeError(f"times must be int, not {type(times).__name__}")
        if times < 1:
            raise ValueError(f"times must be 1 or more, not {times}")
        self.times = times

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return ``function`` so that it runs again after a conflict."""
        if not callable(function):
            raise TypeError(
                f"retry() takes a function, not {function!r}; to set the number of attempts, write"
                " retry(times=3)"
            )
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"retry() cannot run the generator {function.__qualname__} again:"
                " what it has yielded is out already"
            )
        call: object = type(function).__call__  # of an object that can be called
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call):

            @functools.wraps(function)
            async def awaited(*args: P.args, **keywords: P.kwargs) -> Any:
                async for attempt in self:
                    with attempt:
                        return await cast("Awaitable[Any]", function(*args, **keywords))
                raise AssertionError("the last attempt returns or raises")

            return cast("Callable[P, R]", awaited)

        @functools.wraps(function)
        def called(*args: P.args, **keywords: P.kwargs) -> Any:
            for attempt in self:
                with attempt:
                    return function(*args, **keywords)
            raise AssertionError("the last attempt returns or raises")

        return called

    def __iter__(self) -> Attempts:
        return Attempts(self.times)

    def __aiter__(self) -> Attempts:
        return Attempts(self.times)


@overload
def retry(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def retry(*, times: int = TIMES) -> Retry: ...


def retry(function: Callable[..., Any] | None = None, /, *, times: int = TIMES) -> Any:
    """Run a function or block again after a `VersionConflict`, ``times`` in all at most.

    As a decorator, of functions and of coroutine functions::

        @kvengine.retry
        def add(cart, item):
            with cart.session() as state:
                state.set("items", [*state.get("items", []), item])

    As a loop, for code that is not a function or has no session; ``async for`` in asyncio::

        for attempt in kvengine.retry(times=3):
            with attempt:
                versions = {name: db.version(*name) for name in names}
                ...
                db.write(batch, expect=versions)

    Everything in it runs again, so read again in it, and send no mail there. Between two
    runs there is a pause, of 1 ms at first and 0.1 s at most. The last conflict is raised;
    other exceptions are raised at once.
    """
    return Retry(times) if function is None else Retry(times)(function)
