"""Differences between the releases that are meant: each with its reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple


class Explanation(NamedTuple):
    """Why two answers to a step may differ; ``applies`` takes the step and both answers."""

    why: str
    applies: Callable[[list[Any], Any, Any], bool]


def _falsely_listed(step: list[Any], old: Any, new: Any) -> bool:
    """Return whether 0.1.0 listed the keys of an object in spite of a wrong start or prefix."""
    if step[:2] != ["call", "state_keys"] or not isinstance(old, list):
        return False
    bounds = [step[3][name] for name in ("start", "prefix") if name in step[3]]
    wrong = any(not isinstance(bound, str) and not bound for bound in bounds)
    return wrong and isinstance(new, dict) and new.get("raised") == "TypeError"


_REWORDED = (
    (
        "prefix is of the object key: name a service too",
        "prefix, start and stop are for object keys: name a service too",
    ),
    (
        r"a shared session of object (.*) only reads; leave out shared=True to write",
        r"a read-only session of object \1 writes nothing; leave out read_only=True to write",
    ),
    (r"(at must be seconds since the epoch), not (\w+)$", r"\1 or a datetime, not \2"),
    (r"ttl must be above zero and finite, not (nan|inf)", r"ttl must be finite, not \1"),
)
"""Texts of errors that have changed since 0.1.0: a pattern of the old one, the new one."""


def _in_new_words(answer: Any) -> Any:
    """Return an answer of 0.1.0 with the texts of its errors as they are now."""
    if isinstance(answer, dict):
        return {name: _in_new_words(value) for name, value in answer.items()}
    if isinstance(answer, list):
        return [_in_new_words(value) for value in answer]
    if isinstance(answer, str):
        for before, now in _REWORDED:
            answer = re.sub(before, now, answer)
    return answer


def _reworded(_step: list[Any], old: Any, new: Any) -> bool:
    """Return whether both said the same, errors in the words of their time."""
    return bool(_in_new_words(old) == new)


EXPLANATIONS: tuple[Explanation, ...] = (
    Explanation(
        "0.1.0 took None and 0 as a start or prefix in state_keys while the object was in memory",
        _falsely_listed,
    ),
    Explanation("an error says the same in better words", _reworded),
)


def explain(step: list[Any], old: Any, new: Any) -> str | None:
    """Return why the answers to a step differ, or None where that is not known."""
    for each in EXPLANATIONS:
        if each.applies(step, old, new):
            return each.why
    return None
