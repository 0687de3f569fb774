"""Names and their order-preserving byte encoding. The one module that knows it.

A name is a ``str``; its order is the byte order of its UTF-8, which is the
order of its code points, so Python's own ``str`` order is the order on disk.

An object ``(service, key)`` becomes a byte string that sorts as the tuple does::

    object = escape(service) 00 01 key
    escape: 00 -> 00 FF

The terminator 00 01 sorts below every continuation of a name (00 FF or any
byte above 00), so ``("a", ...)`` precedes ``("a\\0", ...)`` precedes ``("ab", ...)``.
The key stands raw: nothing follows that could be confused with it, and
a prefix of a key is a prefix of its encoding. UTF-8 never holds FF. The idea
of an escaped zero is that of FoundationDB's tuple layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from kvengine.errors import ValueTooLarge
from kvengine.storage import name_bytes
from kvengine.storage.name_bytes import are_ascii_names as are_ascii_names  # noqa: PLC0414
from kvengine.storage.name_bytes import encode_object as encode_object  # noqa: PLC0414

MAX_NAME: Final = name_bytes.MAX_NAME
"""Longest name, in bytes of UTF-8."""
_LONGEST = MAX_NAME

TERMINATOR: Final = name_bytes.TERMINATOR
_AFTER_TERMINATOR = b"\x00\x02"

Name = tuple[str, str]
"""An object: (service, key)."""

Range = tuple[bytes, bytes]
"""Encoded objects, from the first (included) to the second (excluded)."""

END = b"\xff"
"""Sorts above every encoded object."""


def check_name(what: str, name: str) -> str:
    """Return ``name`` as a ``str``. Raise TypeError, ValueError or ValueTooLarge if it is no name.

    A lone surrogate has no UTF-8 and is refused with UnicodeEncodeError, which
    is a ValueError. Instances of subclasses of ``str`` (enums) become ``str``.
    """
    if type(name) is not str:
        if not isinstance(name, str):
            raise TypeError(f"{what} must be str, not {type(name).__name__}")
        name = str.__str__(name)
    if len(name) > _LONGEST or not name.isascii():
        size = len(name.encode())
        if size > MAX_NAME:
            raise ValueTooLarge(f"{what} is {size:,} bytes of UTF-8, over {MAX_NAME:,}")
    return name


def decode_object(data: bytes) -> Name:
    """Return the object that `encode_object` made these bytes of; ValueError if they are none."""
    service, found, key = data.partition(TERMINATOR)
    if not found:
        raise ValueError("encoded object without terminator")
    return service.replace(b"\0\xff", b"\0").decode(), key.decode()


def is_object(data: bytes) -> bool:
    """Return whether the bytes are an object, in the one form that an object has."""
    try:
        return encode_object(*decode_object(data)) == data
    except ValueError:
        return False


def are_objects(names: Sequence[bytes], joined: bytes) -> bool:
    """Return whether each of these names, which are in order, is an object.

    ``joined``: the names one behind the other. Costs little if all are of one service and contain
    no zero but in their terminator: a name that sorts between two with one prefix has that prefix
    too, and each begins where a character does.
    """
    prefix = names[0][: names[0].find(TERMINATOR) + len(TERMINATOR)]
    one_service = len(prefix) > 1 and names[-1].startswith(prefix)
    if one_service and joined.count(0) == len(names):
        with suppress(UnicodeDecodeError):
            joined.decode()
            return True
    return all(map(is_object, names))


def service_range(service: str) -> Range:
    """Return the range of all objects of a service."""
    escaped = service.encode().replace(b"\0", b"\0\xff")
    return escaped + TERMINATOR, escaped + _AFTER_TERMINATOR


def key_range(service: str, start: str, stop: str | None) -> Range:
    """Return the range of a service from key ``start`` to before ``stop`` (None: to the end)."""
    first, end = service_range(service)
    return first + start.encode(), end if stop is None else first + stop.encode()


def prefix_range(service: str, prefix: str) -> Range:
    """Return the range of the objects of a service whose key starts with ``prefix``."""
    first, end = service_range(service)
    if not prefix:
        return first, end
    start = first + prefix.encode()
    return start, start[:-1] + bytes([start[-1] + 1])


def least_name(encoded: bytes) -> Name | None:
    """Return the first name whose encoding is at or above ``encoded``, None if there is none.

    ``encoded`` is an object or a bound of a range made here, which need not be an object.
    """
    if encoded >= END:
        return None
    service, found, key = encoded.partition(TERMINATOR)
    if not found:
        ends = service.endswith(_AFTER_TERMINATOR)
        escaped = service.removesuffix(_AFTER_TERMINATOR)
        return escaped.replace(b"\0\xff", b"\0").decode() + "\0" * ends, ""
    decoded = service.replace(b"\0\xff", b"\0").decode()
    try:
        return decoded, key.decode()
    except UnicodeDecodeError:
        # The end of a prefix whose last byte is the largest of its kind.
        prefix = (key[:-1] + bytes([key[-1] - 1])).decode().rstrip("\U0010ffff")
    if not prefix:
        return decoded + "\0", ""
    following = ord(prefix[-1]) + 1
    return decoded, prefix[:-1] + chr(0xE000 if following == 0xD800 else following)


def after(encoded: bytes) -> bytes:
    """Return the smallest byte string above ``encoded``."""
    return encoded + b"\0"
