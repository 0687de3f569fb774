"""Rows decoded by the msgpack package, which shares no code with what the engine decodes with.

It proves that a row is what FORMAT.md says: MessagePack that anybody can read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kvengine.errors import KVEngineError
from kvengine.storage.row import Chunk, Entry, Row

_FIELDS = 7
"""Fields of a row. What a later release writes behind them is left alone."""


def decoder() -> Callable[[bytes], Row]:
    """Return a function from the bytes of a row to the row, which raises ValueError for others.

    KVEngineError where the msgpack package is not installed.
    """
    try:
        import msgpack
    except ImportError:
        raise KVEngineError("--msgpack needs the msgpack package: pip install msgpack") from None

    def decode(data: bytes) -> Row:
        try:
            fields = msgpack.unpackb(data, strict_map_key=True)
        except (ValueError, msgpack.UnpackException) as error:
            raise ValueError(f"not a row: msgpack says {error or type(error).__name__}") from None
        return _row(fields)

    return decode


def version() -> str:
    """Return the version of the msgpack package."""
    import msgpack

    return ".".join(map(str, msgpack.version))


def _row(fields: Any) -> Row:
    if not isinstance(fields, list) or len(fields) < 4:
        raise ValueError("not a row: it is no array of four fields or more")
    flags, made_at, expires_at, entries, *rest = fields[:_FIELDS]
    completed_at, chunks, offsets = (*rest, None, None, None)[:3]
    whole = _is_int(flags) and _is_int(made_at) and isinstance(entries, dict)
    if not whole or not all(one is None or _is_int(one) for one in (expires_at, completed_at)):
        raise ValueError("not a row: a field has the wrong type")
    return Row(
        flags,
        made_at,
        expires_at,
        {_name(key): _entry(entry) for key, entry in entries.items()},
        completed_at,
        None if chunks is None else [_chunk(chunk) for chunk in chunks],
        offsets or b"",
    )


def _entry(entry: Any) -> Entry:
    if entry is None or isinstance(entry, bytes):
        return entry
    if isinstance(entry, list) and len(entry) == 2 and _is_int(entry[0]):
        return entry[0], _value(entry[1])
    raise ValueError("not a row: an entry is neither a value nor a tombstone")


def _chunk(fields: Any) -> Chunk:
    if not isinstance(fields, list) or len(fields) < 4 or not all(map(_is_int, fields[1:4])):
        raise ValueError("not a row: a chunk is not described by four fields")
    return Chunk(_name(fields[0]), *fields[1:4])


def _name(key: Any) -> str:
    if not isinstance(key, str):
        raise ValueError("not a row: a state key is no string")
    return key


def _value(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("not a row: a value is not binary")
    return value


def _is_int(field: Any) -> bool:
    return isinstance(field, int) and not isinstance(field, bool)
