"""Arguments that several verbs take, checked."""

from __future__ import annotations


def check_limit(limit: int | None, what: str = "limit") -> None:
    """TypeError or ValueError for a limit that counts nothing."""
    if limit is None:
        return
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise TypeError(f"{what} must be int or None, not {type(limit).__name__}")
    if limit < 0:
        raise ValueError(f"{what} must not be negative, not {limit}")
