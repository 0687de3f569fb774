"""Bytes as they are."""

from __future__ import annotations

from typing import Any


class BytesSerde:
    """Bytes-like values, stored as they are and read as ``bytes``."""

    def encode(self, value: Any, /) -> bytes:
        if value.__class__ is bytes:
            return value
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise TypeError(f"value must be bytes, not {type(value).__name__}")
        return bytes(value)

    def decode(self, data: bytes, type: Any, /) -> bytes:
        if type is not None and type not in (bytes, object, Any):
            raise TypeError(f'serde="bytes" reads bytes, not {type!r}')
        return data
