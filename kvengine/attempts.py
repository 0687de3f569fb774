"""Attempts: run a block again until it ends without a `VersionConflict`, with pauses between."""

from __future__ import annotations

import math
import random
import time
from types import TracebackType
from typing import Self

from kvengine.errors import VersionConflict

_FIRST_PAUSE = 0.0005
_LONGEST_PAUSE = 0.1
"""Seconds. A pause lets others finish: what was in conflict may not even be visible yet."""


class Attempt:
    """One run of a block, ``with attempt:``. ``number`` counts from 1."""

    def __init__(self, number: int, is_last: bool) -> None:
        self.number = number
        self.failed: bool = False
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


class Attempts:
    """Attempts at something that may meet a conflict: as many as are needed, with pauses between.

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
            import asyncio  # loaded already here; elsewhere it costs as much as kvengine

            await asyncio.sleep(_pause(self._last.number))
        return self._following()

    def _following(self) -> Attempt:
        number = self._last.number + 1 if self._last is not None else 1
        self._last = Attempt(number, number == self._times)
        return self._last


def _pause(number: int) -> float:
    """Return the seconds to wait after so many attempts.

    Random, so that competing writers do not collide again.
    """
    return random.uniform(0.5, 1) * min(_FIRST_PAUSE * 2.0 ** min(number, 20), _LONGEST_PAUSE)
