"""Values of one object: its serde, and errors that say which entry they are about."""

from __future__ import annotations

from typing import Any

from kvengine.errors import SerdeError
from kvengine.serdes.base import Serde
from kvengine.serdes.raw import BytesSerde
from kvengine.serdes.registry import SerdeChoice, find
from kvengine.storage.names import Name


class Codec:
    """Encodes and decodes the entries of one object. Raises SerdeError for each failure."""

    __slots__ = ("_name", "_serde")

    _name: Name
    _serde: Serde

    def _encode(self, state_key: str, value: Any, serde: SerdeChoice | None = None) -> bytes:
        chosen = self._serde if serde is None else find(serde)
        if type(chosen) is BytesSerde and type(value) is bytes:
            return value
        try:
            data = chosen.encode(value)
        except Exception as error:
            raise SerdeError(*self._name, state_key, _unencodable(value, error)) from error
        if type(data) is not bytes:
            reason = f"{type(chosen).__name__}.encode returned {type(data).__name__}, not bytes"
            raise SerdeError(*self._name, state_key, reason)
        return data

    def _decode(
        self, state_key: str, data: bytes, wanted: Any = None, serde: SerdeChoice | None = None
    ) -> Any:
        chosen = self._serde if serde is None else find(serde)
        if wanted is None and type(chosen) is BytesSerde:
            return data
        try:
            return chosen.decode(data, wanted)
        except Exception as error:
            failed = "does not decode" if wanted is None else f"expected {type_name(wanted)}"
            reason = f"{failed} ({type(chosen).__name__}): {one_line(error)}"
            raise SerdeError(*self._name, state_key, reason) from error


def codec_of(name: Name, serde: Serde) -> Codec:
    """Return a codec of its own, for what has no handle."""
    codec = Codec.__new__(Codec)
    codec._name = name
    codec._serde = serde
    return codec


def absent(default: Any, serde: SerdeChoice | None) -> Any:
    """``default``, for an entry that is not there; a wrong serde shows all the same."""
    if serde is not None:
        find(serde)
    return default


def type_name(wanted: Any) -> str:
    """A type as people write it."""
    if isinstance(wanted, type) and not hasattr(wanted, "__args__"):
        return wanted.__qualname__
    return str(wanted)


def one_line(error: Exception) -> str:
    """What an error says, on one line, or its kind where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def _unencodable(value: Any, error: Exception) -> str:
    if hasattr(value, "__await__"):
        return f"a {type(value).__name__} is not a value: await it first"
    return f"a value of type {type(value).__qualname__} does not encode: {one_line(error)}"
