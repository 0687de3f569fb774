"""What passes between the owner and its clients: frames, answers, errors. No I/O.

A frame is its length, u32 little endian, and MessagePack. The owner speaks first::

    owner   {"protocol": 3, "version": "0.2.0", "pid": 4711, "epoch": 7, "refused": ""}
    client  [verb, argument, ...]
    owner   true, result  or  false, [error class, [its arguments]]

An answer is two values of MessagePack. Requests of one connection are answered in order. The verbs
and their arguments are in requests.py, the operations of a batch in operations.py. The first
connection of a client carries events (requests.py): once the client has joined, only the owner
speaks on it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import structs

from kvengine import errors
from kvengine.errors import KVEngineError
from kvengine.storage.names import Name
from kvengine.store import StoredObject

PROTOCOL = 3
LENGTH = struct.Struct("<I")
_SIZE = struct.Struct(">I")
_LARGE = 64 * 1024
_DONE, _FAILED = b"\xc3", b"\xc2"
"""True and False in MessagePack."""

encode: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode
decode: Callable[[bytes | bytearray | memoryview], Any] = msgspec.msgpack.Decoder().decode

_PASSED_ON: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (*vars(errors).values(), TypeError, ValueError, OSError, NotImplementedError)
    if isinstance(kind, type) and issubclass(kind, Exception)
}


class Hello(msgspec.Struct, frozen=True):
    """What the owner says first.

    ``epoch`` counts owners: each has a greater one than the one before. ``refused``: why the owner
    does not serve this connection, which it then closes; empty if it does.
    """

    protocol: int
    version: str
    pid: int
    epoch: int = 0
    refused: str = ""


def frame(message: object) -> bytes:
    """Return a message as it is sent: its length, and MessagePack."""
    data = encode(message)
    return LENGTH.pack(len(data)) + data


def error_fields(error: BaseException) -> tuple[str, list[Any]]:
    """Return the class and the arguments of an error, from which `raised` makes it again.

    An error whose class the other side may not know becomes a KVEngineError that names it.
    """
    if isinstance(error, OSError):  # the class follows from the number
        return "OSError", [error.errno, error.strerror, _text(error.filename)]
    name = type(error).__name__
    if name not in _PASSED_ON:
        return "KVEngineError", [f"in the owner: {name}: {error}"]
    plain = (str, int, float, bytes, bool, type(None))
    return name, [one if isinstance(one, plain) else str(one) for one in error.args]


def raised(kind: str, arguments: list[Any]) -> Exception:
    """Return the error that an answer or an event tells of: inverse of `error_fields`."""
    made = _PASSED_ON.get(kind, KVEngineError)
    try:
        return made(*arguments)
    except TypeError:
        return KVEngineError(f"{kind}: {', '.join(map(str, arguments))}")


def _text(name: object) -> str | None:
    return None if name is None else str(name)


def expectations(expect: Mapping[Name, int] | None) -> list[tuple[str, str, int]] | None:
    """Return the versions that a commit expects as they are sent: service, key, version."""
    return None if expect is None else [(*name, version) for name, version in expect.items()]


def expected(given: list[tuple[str, str, int]] | None) -> dict[Name, int] | None:
    """Return the versions that a commit expects, by object: inverse of `expectations`."""
    return None if given is None else {(s, k): version for s, k, version in given}


def answer(result: object) -> list[bytes | bytearray]:
    """Return the frame of an answer in parts, to be sent one after the other.

    A large value is a part of its own and is not copied: copying 64 MB takes 100 ms, in which no
    other thread runs.
    """
    if not _is_large(result):
        data = encode(result)
        return [LENGTH.pack(len(data) + 1) + _DONE + data]
    parts = _Parts()
    parts.add(_DONE)
    parts.put(result)
    return [LENGTH.pack(parts.size), *parts.parts]


def refusal(error: BaseException) -> list[bytes | bytearray]:
    """Return the frame of an answer that raises ``error`` in the client, in parts."""
    data = encode(error_fields(error))
    return [LENGTH.pack(len(data) + 1) + _FAILED + data]


def result_of(answer: bytes | bytearray, decode_as: Callable[[memoryview], Any]) -> Any:
    """Return the result that an answer holds. Raise the error that it tells of."""
    rest = memoryview(answer)[1:]
    if answer[0] == _DONE[0]:
        return decode_as(rest)
    raise raised(*decode(rest))


class _Parts:
    """MessagePack in parts: large values are parts of their own, small ones share one."""

    def __init__(self) -> None:
        self.parts: list[bytes | bytearray] = []
        self.size = 0

    def add(self, data: bytes) -> None:
        self.size += len(data)
        last = self.parts[-1] if self.parts else None
        if len(data) > _LARGE:
            self.parts.append(data)
        elif isinstance(last, bytearray) and len(last) < _LARGE:
            last += data
        else:
            self.parts.append(bytearray(data))

    def put(self, value: object) -> None:
        if not _is_large(value):
            self.add(encode(value))
        elif isinstance(value, bytes):
            self.add(b"\xc6" + _SIZE.pack(len(value)))
            self.add(value)
        elif isinstance(value, (list, tuple)):
            self.add(b"\xdd" + _SIZE.pack(len(value)))
            for item in value:
                self.put(item)
        else:
            fields = value if isinstance(value, dict) else structs.asdict(value)  # type: ignore[arg-type]
            self.add(b"\xdf" + _SIZE.pack(len(fields)))
            for name, item in fields.items():
                self.add(encode(name))
                self.put(item)


def _is_large(value: object) -> bool:
    """Return whether what a verb returns has a large value in it."""
    if isinstance(value, bytes):
        return len(value) > _LARGE
    if isinstance(value, StoredObject):
        value = value.entries
    if isinstance(value, dict):
        values = value.values()
        try:
            return max(map(len, values), default=0) > _LARGE  # of bytes, nearly always
        except TypeError:
            return any(map(_is_large, values))
    return isinstance(value, (list, tuple)) and any(map(_is_large, value))
