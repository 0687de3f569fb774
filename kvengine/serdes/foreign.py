"""Types that msgspec does not know and users bring along: pydantic models, without importing it."""

from __future__ import annotations

import math
from collections.abc import Iterable
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
    """ValueError for a float in ``value`` that JSON has not, and would become ``null``.

    Looks where an encoder looks: into containers and fields, and at nothing twice.
    """
    left, seen = [value], set()
    while left:
        one = left.pop()
        if isinstance(one, float) and not math.isfinite(one):
            raise ValueError(f"{one} is not JSON")
        if isinstance(one, (str, bytes, int, float)) or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, dict):
            left += one.values()
        elif isinstance(one, (list, tuple, set, frozenset)):
            left += one
        else:
            left += (getattr(one, name, None) for name in _fields(type(one)))


def _fields(kind: Any) -> Iterable[str]:
    """The fields of a struct, a dataclass, an attrs class or a model; none of anything else."""
    if hasattr(kind, "__attrs_attrs__"):
        return [one.name for one in kind.__attrs_attrs__]
    for names in ("__struct_fields__", "__dataclass_fields__", "model_fields"):
        if hasattr(kind, names):
            return list(getattr(kind, names))
    return ()
