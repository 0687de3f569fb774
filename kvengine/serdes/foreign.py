"""Types that msgspec does not know and users bring along: pydantic models, without importing it."""

from __future__ import annotations

import math
from typing import Any

import msgspec


def to_plain(value: Any) -> Any:
    """What a foreign value is made of (an ``enc_hook`` of msgspec); TypeError for others."""
    dump = getattr(type(value), "model_dump", None)
    if dump is not None:
        return dump(value, mode="json", by_alias=True, round_trip=True)
    if hasattr(value, "__await__"):
        raise TypeError(f"{type(value).__name__} is not a value: await it first")
    raise TypeError(f"values of type {type(value).__qualname__} cannot be stored")


def from_plain(wanted: type, plain: Any) -> Any:
    """A value of a foreign type from what it is made of (a ``dec_hook`` of msgspec).

    Through JSON, so that a strict model takes a date from the text that it dumped.
    """
    validate = getattr(wanted, "model_validate_json", None)
    if validate is None:
        raise TypeError(f"values of type {wanted.__qualname__} cannot be loaded")
    return validate(msgspec.json.encode(plain))


def refuse_not_finite(value: Any) -> None:
    """ValueError for a float in ``value`` that JSON has not, and would become ``null``."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, float):
            if not math.isfinite(one):
                raise ValueError(f"{one} is not JSON")
        elif isinstance(one, dict):
            left += one.values()
        elif isinstance(one, (list, tuple, set, frozenset)):
            left += one
        elif hasattr(one, "__struct_fields__"):
            left += (getattr(one, name) for name in one.__struct_fields__)
        elif hasattr(one, "__dict__"):
            left += vars(one).values()
        elif hasattr(one, "__slots__"):
            left += (getattr(one, name, None) for name in one.__slots__)
