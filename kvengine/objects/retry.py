"""`retry`: run again what met a `VersionConflict`."""

from __future__ import annotations

import functools
import inspect
import math
import random
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, cast, overload

from kvengine.errors import VersionConflict

P = ParamSpec("P")
R = TypeVar("R")

TIMES = 10
"""How often something is run at most, if nobody says otherwise."""

_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.1
"""Seconds. A pause lets others finish: what was in conflict may not even be visible yet."""


class Attempt:
    """One run of a block, ``with attempt:``. ``number`` counts from 1."""

    def __init__(self, number: int, is_last: bool) -> None:
        self.number = number
        self.failed = False
        """Whether the block met a conflict, and is to be run again."""
        self._is_last = is_last

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self.failed = isinstance(error, VersionConflict) and not self._is_last
        return self.failed


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
            raise TypeError(f"retry() decorates a function, not {function!r}; see times=")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"retry() cannot run the generator {function.__qualname__} again:"
                " what it has yielded is out already"
            )
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: P.args, **keywords: P.kwargs) -> Any:
                async for attempt in self:
                    with attempt:
                        return await function(*args, **keywords)
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


class Attempts:
    """Attempts of one call or loop: as many as are needed, with pauses in between.

    A class, since a generator that a ``return`` leaves behind ends in a task of its own in asyncio.
    """

    def __init__(self, times: float = math.inf) -> None:
        self._times = times
        self._last: Attempt | None = None

    def __iter__(self) -> Attempts:
        return self

    def __aiter__(self) -> Attempts:
        return self

    def __next__(self) -> Attempt:
        if self._last is not None:
            if not self._last.failed:
                raise StopIteration
            time.sleep(_pause(self._last.number))
        return self._following()

    async def __anext__(self) -> Attempt:
        if self._last is not None:
            if not self._last.failed:
                raise StopAsyncIteration
            import asyncio  # here, where it is there already: it costs as much as all of kvengine

            await asyncio.sleep(_pause(self._last.number))
        return self._following()

    def _following(self) -> Attempt:
        number = self._last.number + 1 if self._last is not None else 1
        self._last = Attempt(number, number == self._times)
        return self._last


def _pause(number: int) -> float:
    """Return the seconds to wait after so many attempts. By chance, so that rivals get apart."""
    return random.uniform(0.5, 1) * min(_FIRST_PAUSE * 2.0 ** (number - 1), _LONGEST_PAUSE)


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

    As a loop, ``async for`` in asyncio::

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
