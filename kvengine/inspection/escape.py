"""Stored names, values and times as text that is safe on a terminal and tells all apart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from kvengine.storage.names import TERMINATOR, decode_object

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN = 80


def text(name: str, limit: int | None = None) -> str:
    """``name`` in double quotes. Whatever a terminal may act on, or not show, is escaped.

    That is control characters (ANSI sequences begin with one), marks of writing
    direction, other format characters, lone surrogates and blanks other than a
    space. Past ``limit`` characters it is cut, which is said.
    """
    shown = name if limit is None else name[:limit]
    cut = "" if len(shown) == len(name) else f"… ({len(name):,} characters)"
    return '"' + "".join(map(_character, shown)) + '"' + cut


def safe(given: str) -> str:
    """Text of several lines in which nothing acts on a terminal or hides; not in quotes."""
    if given.isprintable():
        return given
    return "".join(one if one == "\n" else _visible(one) for one in given)


def value(data: bytes, limit: int = _SHOWN) -> str:
    """A value as text where it is UTF-8 without control characters, else in hexadecimal."""
    try:
        decoded = data.decode()
    except UnicodeDecodeError:
        decoded = ""
    if decoded.isprintable() and (decoded or not data):
        return text(decoded, limit)
    cut = "" if len(data) <= limit // 2 else "…"
    return f"x'{data[: limit // 2].hex()}'{cut}"


def object_name(encoded: bytes) -> str:
    """An encoded object as (service, key); hexadecimal for bytes that are none."""
    try:
        service, key = decode_object(encoded)
    except ValueError:
        return f"x'{encoded.hex()}'"
    return f"({text(service)}, {text(key)})"


def bound(encoded: bytes | None) -> str:
    """An end of a range of objects: an object, the end of a service, or the end of all."""
    if encoded is None or encoded == b"\xff":
        return "the end"
    service, found, rest = encoded.rpartition(b"\0\x02")
    if found and not rest and TERMINATOR not in encoded:
        try:
            name = service.replace(b"\0\xff", b"\0").decode()
        except UnicodeDecodeError:
            return f"x'{encoded.hex()}'"
        return f"the end of service {text(name)}"
    return object_name(encoded) if encoded else "the start"


def moment(microseconds: int | None) -> str:
    """A time as ISO 8601 in UTC; the bare number where it is out of any calendar."""
    if microseconds is None:
        return "never"
    try:
        return (_EPOCH + timedelta(microseconds=microseconds)).isoformat()
    except OverflowError:
        return f"{microseconds} microseconds"


def _character(character: str) -> str:
    return "\\" + character if character in '"\\' else _visible(character)


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
