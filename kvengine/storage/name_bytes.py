"""What every verb does to names: look whether they need a closer check, encode and find them.

names.py has the form of an encoded object, and the rest of what is known of names.
"""

from __future__ import annotations

from bisect import bisect_right
from operator import lt
from typing import Final

MAX_NAME: Final = 65536
TERMINATOR: Final = b"\x00\x01"


def are_ascii_names(first: str, second: str, third: str = "") -> bool:
    """Return whether all are short ``str`` of ASCII, which `check_name` returns as they are.

    This costs less than `check_name`, which must be asked if it is False.
    """
    return (
        first.__class__ is str
        and second.__class__ is str
        and third.__class__ is str
        and len(joined := first + second + third) <= MAX_NAME
        and joined.isascii()
    )


is_below = lt
"""Return whether one encoded object comes before another one. The compiled twin does it in C."""


def last_up_to(names: list[bytes], name: bytes) -> int:
    """Return the number of the last of ordered names that is not above ``name``, -1 if none is."""
    return bisect_right(names, name) - 1


def encode_object(service: str, key: str) -> bytes:
    """Return the order-preserving bytes of an object."""
    return service.encode().replace(b"\0", b"\0\xff") + TERMINATOR + key.encode()
