"""What every verb does to names: look whether they need a closer check, and encode them.

names.py has the form of an encoded object, and the rest of what is known of names.
"""

from __future__ import annotations

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


def encode_object(service: str, key: str) -> bytes:
    """Return the order-preserving bytes of an object."""
    return service.encode().replace(b"\0", b"\0\xff") + TERMINATOR + key.encode()
