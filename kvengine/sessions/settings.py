"""How a session runs, checked."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import timedelta
from typing import NamedTuple

from kvengine.batch import duration
from kvengine.names import check_name
from kvengine.options import Durability

Preload = bool | Iterable[str]


class Settings(NamedTuple):
    """The arguments of ``session(...)``, documented there. ``preload``: a bool, or state keys."""

    preload: bool | tuple[str, ...] = True
    preload_limit: int | None = None
    shared: bool = False
    timeout: float | None = None
    durability: Durability | None = None


USUAL = Settings()


def check(
    preload: Preload,
    preload_limit: int | None,
    shared: bool,
    timeout: float | timedelta | None,
    durability: Durability | None,
) -> Settings:
    """TypeError or ValueError for settings that make no sense."""
    if not isinstance(preload, bool):
        if isinstance(preload, (str, bytes)) or not isinstance(preload, Iterable):
            raise TypeError(
                f"preload must be True, False or state keys, not {type(preload).__name__}"
            )
        preload = tuple(check_name("preload", name) for name in preload)
    if preload_limit is not None:
        if isinstance(preload_limit, bool) or not isinstance(preload_limit, int):
            raise TypeError(f"preload_limit must be int, not {type(preload_limit).__name__}")
        if preload_limit < 0:
            raise ValueError(f"preload_limit must not be negative, not {preload_limit}")
        if preload is not True:
            raise ValueError("preload_limit is of preload=True: nothing else loads what is there")
    if isinstance(timeout, timedelta):
        timeout = timeout.total_seconds()
    if timeout is not None:
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
            raise TypeError(f"timeout must be seconds or None, not {type(timeout).__name__}")
        if not 0 <= timeout < math.inf:
            raise ValueError(f"timeout must be seconds from 0 on, not {timeout!r}")
    if durability not in (None, "sync", "os"):
        raise ValueError(f"durability must be 'sync' or 'os', not {durability!r}")
    return Settings(preload, preload_limit, bool(shared), timeout, durability)


def check_retention(retention: float | timedelta) -> int:
    """Microseconds of a retention, 0 or more."""
    if retention in (0, timedelta(0)) and not isinstance(retention, bool):
        return 0
    return duration("retention", retention)
