"""Serdes by name, for a database, a service, or one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from kvengine.serdes.base import Serde
from kvengine.serdes.json import JSONSerde
from kvengine.serdes.msgpack import MsgpackSerde
from kvengine.serdes.pydantic import PydanticSerde
from kvengine.serdes.raw import BytesSerde
from kvengine.storage.names import check_name

SerdeName = Literal["json", "msgpack", "bytes", "pydantic"]
SerdeChoice = SerdeName | Serde

_NAMED: Mapping[str, Callable[[], Serde]] = {
    "json": JSONSerde,
    "msgpack": MsgpackSerde,
    "bytes": BytesSerde,
    "pydantic": PydanticSerde,
}

_made: dict[str, Serde] = {}
"""Those that somebody has asked for by name, one for all."""


def find(choice: SerdeChoice) -> Serde:
    """The serde of a name, or ``choice`` itself where it is one.

    ValueError for an unknown name, TypeError for what has not the two methods,
    ImportError where a serde's package is not installed.
    """
    if isinstance(choice, str):
        made = _made.get(choice)
        if made is None:
            made = _made.setdefault(choice, _make(choice))
        return made
    if isinstance(choice, type):
        raise TypeError(f"serde is the class {choice.__name__}: pass an instance of it")
    if not (callable(getattr(choice, "encode", 0)) and callable(getattr(choice, "decode", 0))):
        raise TypeError(
            f"serde must be one of {', '.join(map(repr, _NAMED))}, or have the methods"
            f" encode(value) and decode(data, type); not {type(choice).__name__}"
        )
    return choice


def _make(name: str) -> Serde:
    if name not in _NAMED:
        raise ValueError(f"no serde {name!r}: it is one of {', '.join(map(repr, _NAMED))}")
    return _NAMED[name]()


class Serdes:
    """The serdes of a database: one for every service but those that have their own."""

    __slots__ = ("_own", "_usual")

    def __init__(self, usual: SerdeChoice, own: Mapping[str, SerdeChoice]) -> None:
        """What `find` raises, and TypeError for services that are no names."""
        self._usual = find(usual)
        self._own = {check_name("service", service): find(one) for service, one in own.items()}

    def of(self, service: str) -> Serde:
        return self._own.get(service, self._usual) if self._own else self._usual
