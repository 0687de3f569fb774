"""The wire of live access: frames, requests, answers, operations, errors. No I/O.

A frame is its length, u32 little endian, and MessagePack. The owner speaks first::

    owner   {"protocol": 1, "version": "0.2.0", "pid": 4711, "refused": ""}
    tool    [verb, {argument: value}]
    owner   [True, result]  or  [False, error class, [its arguments]]

One request is answered before the next is read. Verbs are in verbs.py.
"""

from __future__ import annotations

import builtins
import struct
from collections.abc import Mapping
from typing import Any

import msgspec

from kvengine import errors
from kvengine.errors import KVEngineError
from kvengine.storage.batch import (
    Batch,
    Clear,
    ClearAll,
    ClearRange,
    Expire,
    Operation,
    Set,
)
from kvengine.storage.names import TERMINATOR, Name, decode_object
from kvengine.storage.times import MAX_TIME

PROTOCOL = 1
LENGTH = struct.Struct("<I")

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder().decode

_PASSED_ON = {
    name: kind
    for name in (*vars(errors), "TypeError", "ValueError", "OSError", "NotImplementedError")
    if isinstance(kind := getattr(errors, name, getattr(builtins, name, None)), type)
    and issubclass(kind, Exception)
}


class Hello(msgspec.Struct, frozen=True):
    """What the owner says first. ``refused``: why it serves nobody more; then it hangs up."""

    protocol: int
    version: str
    pid: int
    refused: str = ""


def frame(message: object) -> bytes:
    data = encode(message)
    return LENGTH.pack(len(data)) + data


def is_write(request: bytes) -> bool:
    """Whether a request's verb is "write", without decoding it."""
    return request[:7] == encode(("write", {}))[:7]


def error_answer(error: BaseException) -> tuple[bool, str, list[Any]]:
    """An answer that `raised` turns into the same error where both sides know its class."""
    if isinstance(error, OSError):  # the class follows from the number
        return False, "OSError", [error.errno, error.strerror, _text(error.filename)]
    name = type(error).__name__
    if name not in _PASSED_ON:
        return False, "KVEngineError", [f"in the owner: {name}: {error}"]
    plain = (str, int, float, bytes, bool, type(None))
    return False, name, [one if isinstance(one, plain) else str(one) for one in error.args]


def raised(kind: str, arguments: list[Any]) -> Exception:
    """The error that an answer tells of."""
    made = _PASSED_ON.get(kind, KVEngineError)
    try:
        return made(*arguments)
    except TypeError:
        return KVEngineError(f"{kind}: {', '.join(map(str, arguments))}")


def _text(name: object) -> str | None:
    return None if name is None else str(name)


def operations(batch: Batch) -> list[list[Any]]:
    """A batch as the verbs that make it: a name and arguments each."""
    return [_verb(operation) for operation in batch.operations]


def replay(verbs: list[list[Any]]) -> Batch:
    """The batch that `operations` came from; TypeError or ValueError for what is none."""
    batch = Batch()
    operations = batch.operations  # asked for first, so that the last one is that of the last verb
    for verb in verbs:
        match verb:
            case ["set", str(service), str(key), str(state_key), bytes(value), at, ttl]:
                batch.set(service, key, state_key, value)
                _give_times(operations, at=at, ttl=ttl)
            case ["clear", str(service), str(key), str(state_key)]:
                batch.clear(service, key, state_key)
            case ["clear_all", str(service), str(key)]:
                batch.clear_all(service, key)
            case ["clear_range", str(service), str(start), stop]:
                batch.clear_range(service, start, stop)
            case ["expire", str(service), str(key), at, ttl]:
                batch.expire(service, key)
                _give_times(operations, at=at, ttl=ttl)
            case _:
                raise ValueError(f"no operation: {verb!r:.100}")
    return batch


def expectations(expect: Mapping[Name, int] | None) -> list[tuple[str, str, int]] | None:
    return None if expect is None else [(*name, version) for name, version in expect.items()]


def expected(given: list[Any] | None) -> dict[Name, int] | None:
    """Inverse of `expectations`; TypeError or ValueError for what is none."""
    return None if given is None else {(s, k): version for s, k, version in given}


def _verb(operation: Operation) -> list[Any]:
    match operation:
        case Set(name=name, state_key=state_key, value=value, at=at, ttl=ttl):
            return ["set", *name, state_key, value, at, ttl]
        case Clear(name=name, state_key=state_key):
            return ["clear", *name, state_key]
        case ClearAll(name=name):
            return ["clear_all", *name]
        case ClearRange(start=start, stop=stop):
            return ["clear_range", *_range(start, stop)]
        case Expire(name=name, at=at, ttl=ttl):
            return ["expire", *name, at, ttl]


def _range(start: bytes, stop: bytes) -> tuple[str, str, str | None]:
    """The arguments that `clear_range` was called with."""
    service, key = decode_object(start)
    first = start[: len(start) - len(key.encode())]
    assert first.endswith(TERMINATOR)
    return service, key, stop[len(first) :].decode() if stop.startswith(first) else None


def _give_times(operations: list[Operation], **times: object) -> None:
    """Set the times of the last operation: microseconds, which survive no float."""
    for name, time in times.items():
        if time is None:
            continue
        if type(time) is not int or not 0 <= time <= MAX_TIME:
            raise ValueError(f"{name} on the wire is whole microseconds, not {time!r}")
        operations[-1] = msgspec.structs.replace(operations[-1], **{name: time})
