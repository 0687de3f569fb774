"""JSON by msgspec: the default, which every tool can show."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from kvengine.serdes.foreign import (
    fields_of,
    from_plain,
    refuse_lost_keys,
    refuse_not_finite,
    to_plain,
)

encode = msgspec.json.Encoder(enc_hook=to_plain).encode
decode_any = msgspec.json.Decoder().decode


_SCALARS = frozenset({str, int, float, bool, type(None)})


class JSONSerde:
    """JSON. Knows dataclasses, TypedDict, attrs, msgspec and pydantic types; None is ``null``.

    JSON has no bytes: they are refused as a value, and ``type=bytes`` reads an
    entry as it is stored. It has no NaN or infinity either; these are refused
    rather than stored as ``null``. Keys become text: a dict with two that are
    the same text, as 1 and "1", is refused.
    """

    def encode(self, value: Any, /) -> bytes:
        data = encode(value)
        if data[:1] == b'"' and isinstance(value, (bytes, bytearray, memoryview)):
            raise TypeError('bytes are not JSON: store them with serde="bytes"')
        _check(value, data)
        return data

    def decode(self, data: bytes, type: Any, /) -> Any:
        if type is None:
            return decode_any(data)
        if type is bytes:
            return data
        return decoder_of(type)(data)


class JSONFieldSerde(JSONSerde):
    """JSON of a value whose reader knows its type, as a field does: bytes are base64 text."""

    def encode(self, value: Any, /) -> bytes:
        data = encode(value)
        _check(value, data)
        return data


def _check(value: Any, data: bytes) -> None:
    """Refuse a value if ``data``, its JSON, is not all of it."""
    if b"null" in data and value is not None:
        refuse_not_finite(value)
    if b"{" in data and _has_odd_keys(value):
        refuse_lost_keys(value)


def _has_odd_keys(value: Any) -> bool:
    """Return whether a key in ``value`` may be something other than a str."""
    left = [value]
    seen: dict[int, Any] = {}  # keeps what it has seen, so that no identity comes twice
    while left:
        one = left.pop()
        kind = one.__class__
        if kind in _SCALARS or id(one) in seen:
            continue
        seen[id(one)] = one
        if kind is dict:
            for key in one:
                if key.__class__ is not str:
                    return True
            left.extend(one.values())
        elif kind is list or kind is tuple:
            left.extend(one)
        elif isinstance(one, (dict, list, tuple, set, frozenset)):
            return True
        else:
            for name in fields_of(kind):
                left.append(getattr(one, name, None))
    return False


def decoder_of(wanted: Any) -> Callable[[bytes], Any]:
    """The decoder for a type, made once where the type can be remembered."""
    try:
        return _remembered(wanted)
    except TypeError:  # unhashable, as Annotated with a list in it is; or no type at all
        return _make(wanted)


def _make(wanted: Any) -> Callable[[bytes], Any]:
    validate: Callable[[bytes], Any] | None = getattr(wanted, "model_validate_json", None)
    if validate is not None:
        return validate
    if wanted is object:
        return decode_any
    return msgspec.json.Decoder(wanted, dec_hook=from_plain).decode


_remembered = lru_cache(maxsize=1024)(_make)
