"""What a tool may ask: a struct for each verb, with the names and types that the verb has.

A request is ``[verb, {field: value}]``. Its verb is read first, and its fields are then decoded as
those of that verb: one that is missing, unknown or of a wrong type is named in the error, and a
list that is too long is refused before anything of it is made. No more than what stands in
`REQUESTS` can be reached. `Reads` are asked of the store, or of a snapshot, ``at``, that the tool
holds.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from kvengine.errors import KVEngineError
from kvengine.options import Durability
from kvengine.share.operations import WireOperation

MOST_BYTES = 16 * 1024 * 1024
"""Bytes of a request. The interpreter stands still while a commit of them is made: about 50 ms."""

MOST_ITEMS = 100_000
"""Operations, expected versions or names that a request may hold, for the same reason."""

_Items = Meta(max_length=MOST_ITEMS)
_Names = Annotated[list[str], _Items]


class Request(Struct, forbid_unknown_fields=True):
    """The arguments of a verb."""


class Read(Request, kw_only=True):
    """A read verb: of now, or of a snapshot."""

    at: int | None = None


class Get(Read):
    service: str
    key: str
    state_key: str


class GetMany(Read):
    service: str
    key: str
    state_keys: _Names


class OfObject(Read):
    """`get_all`, `exists`, `version`."""

    service: str
    key: str


class ExpiresAt(Read):
    service: str
    key: str
    state_key: str | None = None


class Load(Read):
    service: str
    key: str
    max_bytes: int | None = None


class LoadMany(Read):
    service: str
    keys: _Names


class StateKeys(Read):
    service: str
    key: str
    prefix: str = ""
    start: str = ""
    reverse: bool = False
    limit: int | None = None


class Services(Read):
    start: str = ""
    limit: int | None = None


class ObjectKeys(Read):
    service: str
    prefix: str = ""
    start: str | None = None
    stop: str | None = None
    reverse: bool = False
    limit: int | None = None


class Scan(Read):
    service: str | None = None
    prefix: str = ""
    start: str | None = None
    stop: str | None = None
    reverse: bool = False
    limit: int | None = None


class Workflows(Read):
    service: str
    completed: bool | None = None


class Count(Read):
    service: str
    prefix: str = ""


class Estimate(Request):
    service: str
    prefix: str = ""


class Nothing(Request):
    """`segments`, `stats`, `retentions`, `limits`, `snapshot`, `flush`."""


class Walk(Request):
    """`next`, `end`: the number of a walk."""

    walk: int


class Release(Request):
    at: int


class Write(Request):
    operations: Annotated[list[WireOperation], _Items]
    expect: Annotated[list[tuple[str, str, int]], _Items] | None = None
    durability: Durability | None = None


class Pop(Request):
    service: str
    key: str
    state_key: str


class Expire(Request):
    service: str
    key: str
    at: float | None = None
    ttl: float | None = None


class SetRetention(Request):
    service: str
    retention: timedelta


class Compact(Request):
    service: str | None = None


class Checkpoint(Request):
    """``path`` as bytes: it need not be text."""

    path: bytes


READS: dict[str, type[Read]] = {
    "get": Get,
    "get_many": GetMany,
    "get_all": OfObject,
    "exists": OfObject,
    "load": Load,
    "load_many": LoadMany,
    "state_keys": StateKeys,
    "expires_at": ExpiresAt,
    "version": OfObject,
    "services": Services,
    "count": Count,
}
WALKS: dict[str, type[Read]] = {"object_keys": ObjectKeys, "scan": Scan, "workflows": Workflows}
FIGURES: dict[str, type[Request]] = {
    "estimate": Estimate,
    "segments": Nothing,
    "stats": Nothing,
    "retentions": Nothing,
}
SPECIAL: dict[str, type[Request]] = {
    "next": Walk,
    "end": Walk,
    "snapshot": Nothing,
    "release": Release,
    "write": Write,
    "pop": Pop,
    "limits": Nothing,
    "expire": Expire,
    "set_retention": SetRetention,
    "flush": Nothing,
    "compact": Compact,
    "checkpoint": Checkpoint,
}
REQUESTS: dict[str, type[Request]] = {**READS, **WALKS, **FIGURES, **SPECIAL}

_envelope = msgspec.msgpack.Decoder(tuple[str, Raw]).decode
_decoders = {verb: msgspec.msgpack.Decoder(kind).decode for verb, kind in REQUESTS.items()}


def decode(data: bytes | bytearray) -> tuple[str, Request]:
    """Return the verb of a request and its arguments.

    Raise KVEngineError for an unknown verb, TypeError if the arguments do not fit the verb.
    """
    try:
        verb, arguments = _envelope(data)
    except msgspec.MsgspecError as error:
        raise TypeError(f"this is no request: {error}") from None
    if verb not in _decoders:
        raise KVEngineError(f"the owner knows no verb {verb!r}; is it of another release?")
    try:
        return verb, _decoders[verb](arguments)
    except msgspec.MsgspecError as error:
        raise TypeError(f"{verb}: {error}") from None


def arguments(request: Request) -> dict[str, Any]:
    """Return the arguments that the verb itself takes, by name."""
    return {name: getattr(request, name) for name in request.__struct_fields__ if name != "at"}
