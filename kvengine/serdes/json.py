"""JSON by msgspec: the default, which every tool can show."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from kvengine.serdes.foreign import from_plain, to_plain

_encode = msgspec.json.Encoder(enc_hook=to_plain).encode
_decode_any = msgspec.json.Decoder().decode


class JSONSerde:
    """JSON. Knows dataclasses, TypedDict, attrs, msgspec and pydantic types; None is ``null``.

    JSON has no bytes: they are refused as a value, and ``type=bytes`` reads an
    entry as it is stored. It has no NaN or infinity either; these are refused
    rather than stored as ``null``.
    """

    def encode(self, value: Any, /) -> bytes:
        data = _encode(value)
        if b"null" in data and value is not None:
            _refuse_not_finite(value)
        elif data[:1] == b'"' and isinstance(value, (bytes, bytearray, memoryview)):
            raise TypeError('bytes are not JSON: store them with serde="bytes"')
        return data

    def decode(self, data: bytes, type: Any, /) -> Any:
        if type is None:
            return _decode_any(data)
        if type is bytes:
            return data
        return decoder_of(type)(data)


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
    return msgspec.json.Decoder(wanted, dec_hook=from_plain).decode


_remembered = lru_cache(maxsize=1024)(_make)


def _refuse_not_finite(value: Any) -> None:
    """ValueError where a float in ``value`` became ``null`` without being None."""
    plain = msgspec.to_builtins(value, enc_hook=to_plain)
    left = [plain]
    while left:
        one = left.pop()
        if isinstance(one, float) and not math.isfinite(one):
            raise ValueError(f"{one} is not JSON")
        if isinstance(one, dict):
            left += one.values()
        elif isinstance(one, (list, tuple, set, frozenset)):
            left += one
