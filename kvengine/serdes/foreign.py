"""Types that msgspec does not know and users bring along: pydantic models, without importing it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import msgspec


def to_plain(value: Any) -> Any:
    """What a foreign value is made of (an ``enc_hook`` of msgspec); TypeError for others."""
    dump = getattr(type(value), "model_dump", None)
    if dump is not None:
        return dump(value, mode="json", by_alias=True, round_trip=True)
    if hasattr(value, "__await__"):
        raise TypeError(f"{type(value).__name__} is not a value: await it first")
    if value is None or isinstance(value, (bool, tuple)):  # as values, they never come here
        raise TypeError(f"a dict with the key {value!r} cannot be stored: let its keys be str")
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
    """Raise ValueError for a float in ``value`` that JSON cannot express, and makes ``null``.

    Looks where an encoder looks: into containers and fields, and at nothing twice.
    """
    left: list[Any] = [value]
    seen: dict[int, Any] = {}  # keeps what it has seen, so that no identity comes twice
    while left:
        one = left.pop()
        if isinstance(one, float) and not math.isfinite(one):
            raise ValueError(f"{one} is not JSON")
        if isinstance(one, (str, bytes, int, float)) or id(one) in seen:
            continue
        seen[id(one)] = one
        left += parts_of(one)


def refuse_keys_alike(found: dict[Any, Any]) -> None:
    """Raise ValueError for a dict with keys that are one text in JSON, as 1 and "1".

    Whoever reads it would find one of the two.
    """
    written = msgspec.json.encode(dict.fromkeys(found), enc_hook=to_plain)
    if len(msgspec.json.decode(written)) < len(found):
        raise ValueError(f"JSON writes two of these keys alike: {list(found)[:10]}")


def parts_of(value: Any) -> Iterable[Any]:
    """Return what an encoder looks at within a value: what a container or the fields hold."""
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, (list, tuple, set, frozenset)):
        return value
    return [getattr(value, name, None) for name in _fields(value.__class__)]


@lru_cache(maxsize=1024)
def _fields(kind: Any) -> Sequence[str]:
    """Return the fields of a struct, a dataclass, an attrs class or a model, () for all else."""
    if hasattr(kind, "__attrs_attrs__"):
        return [one.name for one in kind.__attrs_attrs__]
    if hasattr(kind, "model_fields"):
        return [name for name, one in kind.model_fields.items() if not one.exclude]
    if dataclasses.is_dataclass(kind):
        return [one.name for one in dataclasses.fields(kind)]
    return list(getattr(kind, "__struct_fields__", ()))
