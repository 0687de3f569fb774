"""Adding to a number: what `increment` does to an entry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kvengine.storage.names import Name


def adding(name: Name, state_key: str, by: float) -> Callable[[Any], float]:
    """Return what adds a number to the value of an entry. TypeError for what is none."""
    _check_number(by, f"by must be a number, not {type(by).__name__}")

    def add(value: Any) -> float:
        refusal = f"entry {state_key!r} of object {name!r} holds {type(value).__name__}, no number"
        _check_number(value, refusal)
        total: float = value + by
        return total

    return add


def _check_number(value: Any, refusal: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(refusal)
