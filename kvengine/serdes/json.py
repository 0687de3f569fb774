"""JSON by msgspec: the default, which every tool can show."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from kvengine.serdes.foreign import (
    from_plain,
    parts_of,
    refuse_keys_alike,
    refuse_not_finite,
    to_plain,
)

encode: Callable[[Any], bytes] = msgspec.json.Encoder(enc_hook=to_plain).encode
decode_any: Callable[[bytes | bytearray | memoryview | str], Any] = msgspec.json.Decoder().decode


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
    if b"{" in data:
        _refuse_keys_alike(value)


def _refuse_keys_alike(value: Any) -> None:
    """Refuse a value in which a dict has keys that are one text in JSON; most have none but str."""
    left = [value]
    seen: dict[int, Any] = {}  # keeps what it has seen, so that no identity comes twice
    while left:
        one = left.pop()
        if one.__class__ in _SCALARS or id(one) in seen:
            continue
        seen[id(one)] = one
        if isinstance(one, dict):
            for key in one:
                if key.__class__ is not str:
                    refuse_keys_alike(one)
                    break
        left.extend(parts_of(one))


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
