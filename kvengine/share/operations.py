"""Batches on the wire: each operation as the verb that makes it, a name and its arguments.

    ["set", service, key, state key, value, at, ttl]     ["clear", service, key, state key]
    ["clear_all", service, key]                          ["clear_range", service, start, stop]
    ["expire", service, key, at, ttl]
    ["complete", service, key, retention, completed_at]

Times are whole microseconds, which survive no float.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from kvengine.storage.batch import (
    Batch,
    Clear,
    ClearAll,
    ClearRange,
    Complete,
    Expire,
    Operation,
    Set,
    object_name,
)
from kvengine.storage.names import TERMINATOR, decode_object
from kvengine.storage.times import MAX_TIME

_Time = Annotated[int, Meta(ge=0, le=MAX_TIME)]


class _Wire(Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """An operation, as an array that begins with its name."""


class WireSet(_Wire, tag="set"):
    service: str
    key: str
    state_key: str
    value: bytes
    at: _Time | None
    ttl: _Time | None


class WireClear(_Wire, tag="clear"):
    service: str
    key: str
    state_key: str


class WireClearAll(_Wire, tag="clear_all"):
    service: str
    key: str


class WireClearRange(_Wire, tag="clear_range"):
    service: str
    start: str
    stop: str | None


class WireExpire(_Wire, tag="expire"):
    service: str
    key: str
    at: _Time | None
    ttl: _Time | None


class WireComplete(_Wire, tag="complete"):
    service: str
    key: str
    retention: _Time
    completed_at: _Time | None


WireOperation = WireSet | WireClear | WireClearAll | WireClearRange | WireExpire | WireComplete


def operations(batch: Batch) -> list[WireOperation]:
    """Return the operations of a batch as they are sent."""
    return [_wire(operation) for operation in batch.operations]


def replay(sent: Iterable[WireOperation]) -> Batch:
    """Return the batch that `operations` came from. Raises what the verbs of a batch raise."""
    batch = Batch()
    made = batch.operations  # asked for first, so that the last one is that of the last verb
    for operation in sent:
        match operation:
            case WireSet(service, key, state_key, value, at, ttl):
                batch.set(service, key, state_key, value)
                if at is not None or ttl is not None:
                    made[-1] = replace(made[-1], at=at, ttl=ttl)
            case WireClear(service, key, state_key):
                batch.clear(service, key, state_key)
            case WireClearAll(service, key):
                batch.clear_all(service, key)
            case WireClearRange(service, start, stop):
                batch.clear_range(service, start, stop)
            case WireExpire(service, key, at, ttl):
                batch.expire(service, key)
                made[-1] = replace(made[-1], at=at, ttl=ttl)
            case WireComplete(service, key, retention, completed_at):
                made.append(Complete(object_name(service, key), retention, completed_at))
    return batch


def _wire(operation: Operation) -> WireOperation:
    match operation:
        case Set(name=name, state_key=state_key, value=value, at=at, ttl=ttl):
            return WireSet(*name, state_key, value, at, ttl)
        case Clear(name=name, state_key=state_key):
            return WireClear(*name, state_key)
        case ClearAll(name=name):
            return WireClearAll(*name)
        case ClearRange(start=start, stop=stop):
            return WireClearRange(*_range(start, stop))
        case Expire(name=name, at=at, ttl=ttl):
            return WireExpire(*name, at, ttl)
        case Complete(name=name, retention=retention, completed_at=completed_at):
            return WireComplete(*name, retention, completed_at)


def _range(start: bytes, stop: bytes) -> tuple[str, str, str | None]:
    """The arguments that `clear_range` was called with."""
    service, key = decode_object(start)
    first = start[: len(start) - len(key.encode())]
    assert first.endswith(TERMINATOR)
    return service, key, stop[len(first) :].decode() if stop.startswith(first) else None
