"""Differences between the releases that are meant: each with its reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Explanation(NamedTuple):
    """Why two answers to a step may differ; ``applies`` takes the step and both answers."""

    why: str
    applies: Callable[[list[Any], Any, Any], bool]


def _start_is_none(step: list[Any], old: Any, new: Any) -> bool:
    refused = isinstance(new, dict) and new.get("raised") == "TypeError"
    return (
        refused
        and isinstance(old, list)
        and step[:2] == ["call", "state_keys"]
        and step[3] == {"start": None}
    )


EXPLANATIONS: tuple[Explanation, ...] = (
    Explanation(
        "0.1.0 took start=None in state_keys; names that are no str are a TypeError",
        _start_is_none,
    ),
)


def explain(step: list[Any], old: Any, new: Any) -> str | None:
    """Return why the answers to a step differ, or None where that is not known."""
    for each in EXPLANATIONS:
        if each.applies(step, old, new):
            return each.why
    return None
