"""Serdes: how a value becomes the bytes of an entry, and back.

JSON by default, readable in every tool; MessagePack, raw bytes and pydantic by
choice, and anything with the two methods of `Serde`. Pickle is not offered:
what it loads may run code.
"""

from __future__ import annotations

from .base import Serde
from .json import JSONSerde
from .msgpack import MsgpackSerde
from .pydantic import PydanticSerde
from .raw import BytesSerde
from .registry import SerdeChoice, find

__all__ = [
    "BytesSerde",
    "JSONSerde",
    "MsgpackSerde",
    "PydanticSerde",
    "Serde",
    "SerdeChoice",
    "find",
]
