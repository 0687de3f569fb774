"""Adding to a number: what `increment` does to an entry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kvengine.storage.names import Name


def adding(name: Name, state_key: str, by: float) -> Callable[[Any], float]:
    """Return a function that adds ``by`` to the value of an entry.

    Both raise TypeError: this if ``by`` is not a number, the returned function if the value is not.
    """
    _check_number(by, f"by must be a number, not {type(by).__name__}")

    def add(value: Any) -> float:
        kind = type(value).__name__
        _check_number(
            value, f"entry {state_key!r} of object {name!r} holds a {kind}, which is not a number"
        )
        total: float = value + by
        return total

    return add


def _check_number(value: Any, refusal: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(refusal)
