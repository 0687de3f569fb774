"""Arguments that several verbs take, checked."""

from __future__ import annotations

import math
import sys
import warnings
from datetime import timedelta


def check_limit(limit: int | None, what: str = "limit") -> None:
    """Raise TypeError or ValueError unless ``limit`` is None or an int from 0 to sys.maxsize."""
    if limit is None:
        return
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise TypeError(f"{what} must be int or None, not {type(limit).__name__}")
    if limit < 0:
        raise ValueError(f"{what} must not be negative, not {limit}")
    if limit > sys.maxsize:
        raise ValueError(f"{what} must be at most {sys.maxsize:,}, or None for no limit")


def timeout_of(timeout: float | timedelta | None, what: str = "timeout") -> float | None:
    """Return a timeout in seconds, or None if there is none. More than 30 years are 30 years.

    Raise TypeError or ValueError unless it is 0 or more, and finite.
    """
    if isinstance(timeout, timedelta):
        timeout = timeout.total_seconds()
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        kind = type(timeout).__name__
        raise TypeError(f"{what} must be seconds, a timedelta or None, not {kind}")
    if not 0 <= timeout < math.inf:
        raise ValueError(f"{what} must be 0 or more seconds, and finite, not {timeout!r}")
    return min(timeout, 1e9)


def check_completed(completed: bool | None) -> None:
    """Raise TypeError unless ``completed`` is True, False or None."""
    if completed is not None and not isinstance(completed, bool):
        raise TypeError(f"completed must be True, False or None, not {completed!r}")


def warn_deprecated(message: str) -> None:
    """Give a DeprecationWarning that names the line by which the caller came into kvengine.

    Looked for by module: compiled code has no frames that `stacklevel` could count.
    """
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_globals["__name__"].startswith("kvengine."):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, DeprecationWarning, stacklevel=level)
