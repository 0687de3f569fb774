"""Arguments that several verbs take, checked."""

from __future__ import annotations

import sys
import warnings


def check_limit(limit: int | None, what: str = "limit") -> None:
    """TypeError or ValueError for a limit that counts nothing."""
    if limit is None:
        return
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise TypeError(f"{what} must be int or None, not {type(limit).__name__}")
    if limit < 0:
        raise ValueError(f"{what} must not be negative, not {limit}")
    if limit > sys.maxsize:
        raise ValueError(f"{what} must be at most {sys.maxsize:,}, or None for no limit")


def warn_deprecated(message: str) -> None:
    """Give a DeprecationWarning that names the line by which the caller came into kvengine.

    Looked for by module: compiled code has no frames that `stacklevel` could count.
    """
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_globals["__name__"].startswith("kvengine."):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, DeprecationWarning, stacklevel=level)
