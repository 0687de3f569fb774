"""Bytes as they are."""

from __future__ import annotations

from typing import Any

import msgspec


class BytesSerde:
    """Bytes-like values, stored as they are and read as ``bytes``, limited or optional ones too."""

    def encode(self, value: Any, /) -> bytes:
        if type(value) is bytes:
            return value
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise TypeError(f"value must be bytes, not {type(value).__name__}")
        return bytes(value)

    def decode(self, data: bytes, type: Any, /) -> bytes:
        if type is None or type in (bytes, object, Any):
            return data
        found: bytes = msgspec.convert(data, type, builtin_types=(bytes,))
        return found
