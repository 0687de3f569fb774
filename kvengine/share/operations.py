"""Batches on the wire: each operation as the verb that makes it, a name and its arguments.

    ["set", service, key, state key, value, at, ttl]     ["clear", service, key, state key]
    ["clear_all", service, key]                          ["clear_range", service, start, stop]
    ["expire", service, key, at, ttl]
    ["complete", service, key, retention, completed_at]  ["assign", service, key, entries]

Times are whole microseconds, which survive no float.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from kvengine.errors import ValueTooLarge
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

MOST_ITEMS = 100_000
"""Operations, expected versions or names that a request may hold: the interpreter stands still
while they are made.
"""

Time = Annotated[int, Meta(ge=0, le=MAX_TIME)]
"""Microseconds: since the epoch, or of a duration."""


class Wire(Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """An operation, a request or an event: on the wire an array that begins with its tag."""


class WireSet(Wire, tag="set"):
    service: str
    key: str
    state_key: str
    value: bytes
    at: Time | None
    ttl: Time | None


class WireClear(Wire, tag="clear"):
    service: str
    key: str
    state_key: str


class WireClearAll(Wire, tag="clear_all"):
    service: str
    key: str


class WireClearRange(Wire, tag="clear_range"):
    service: str
    start: str
    stop: str | None


class WireExpire(Wire, tag="expire"):
    service: str
    key: str
    at: Time | None
    ttl: Time | None


class WireComplete(Wire, tag="complete"):
    service: str
    key: str
    retention: Time
    completed_at: Time | None


class WireAssign(Wire, tag="assign"):
    """Plain values of entries of one object, None for one that is cleared."""

    service: str
    key: str
    entries: Annotated[dict[str, bytes | None], Meta(max_length=MOST_ITEMS)]


WireOperation = (
    WireAssign | WireSet | WireClear | WireClearAll | WireClearRange | WireExpire | WireComplete
)


def operations(batch: Batch) -> list[WireOperation]:
    """Return the operations of a batch as they are sent."""
    changes = batch._changes
    if changes is None:
        return [sent(operation) for operation in batch.operations]
    return [
        WireClearAll(*name) if entries is None else WireAssign(*name, entries)
        for name, entries in changes.items()
    ]


def replay(wired: Iterable[WireOperation]) -> Batch:
    """Return the batch that `operations` came from. Raises what the verbs of a batch raise.

    Raise ValueTooLarge if it has more than `MOST_ITEMS` operations.
    """
    batch = Batch()
    for operation in wired:
        match operation:
            case WireAssign(service, key, entries):
                if len(batch) + len(entries) > MOST_ITEMS:
                    raise ValueTooLarge(f"a request has more than {MOST_ITEMS:,} operations")
                batch._assign(service, key, entries)
            case WireSet(service, key, state_key, value, None, None):
                batch.set(service, key, state_key, value)
            case WireSet(service, key, state_key, value, at, ttl):
                made = batch.operations  # asked for first, so that the last one is that of the verb
                batch.set(service, key, state_key, value)
                made[-1] = replace(made[-1], at=at, ttl=ttl)
            case WireClear(service, key, state_key):
                batch.clear(service, key, state_key)
            case WireClearAll(service, key):
                batch.clear_all(service, key)
            case WireClearRange(service, start, stop):
                batch.clear_range(service, start, stop)
            case WireExpire(service, key, at, ttl):
                made = batch.operations
                batch.expire(service, key)
                made[-1] = replace(made[-1], at=at, ttl=ttl)
            case WireComplete(service, key, retention, completed_at):
                name = object_name(service, key)
                batch.operations.append(Complete(name, retention, completed_at))
    return batch


def sent(operation: Operation) -> WireOperation:
    """Return an operation as it is sent."""
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
