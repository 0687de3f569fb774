"""What a client may ask of the owner, and the events that the owner tells it: a struct for each.

A request is a MessagePack array: the verb, then its arguments in the order of the fields here. If
an argument is missing, is one too many or has a wrong type, the error names it. A list that is too
long is refused before it is decoded. A client can reach nothing but what `Request` lists.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Struct

from kvengine.errors import KVEngineError
from kvengine.options import Durability
from kvengine.share.operations import MOST_ITEMS, Time, Wire, WireOperation
from kvengine.store import Change, StoredObject

MOST_BYTES = 16 * 1024 * 1024
"""Bytes of a request. To commit so many takes about 50 ms, in which no other thread runs."""

MOST_OF_A_NAME = 300
"""Characters of the name that a client gives itself."""

_Items = Meta(max_length=MOST_ITEMS)
_Names = Annotated[list[str], _Items]
_Token = Annotated[bytes, Meta(max_length=32)]


class Join(Wire, tag="join"):
    """Say whose connection this is: the first request of each.

    ``client``: a random number that is the same on all connections of a client. ``name``: who that
    is, for people. ``listens``: whether this is the connection on which the owner tells its
    `Event`s. It is the first connection of the client, which is gone when it ends. ``claims``: the
    objects that the client had in sessions under the owner before.
    """

    client: int
    name: Annotated[str, Meta(max_length=MOST_OF_A_NAME)]
    listens: bool
    claims: Annotated[list[tuple[str, str]], _Items]


class Read(Wire):
    """Read, as of now or as of a snapshot of this client, whose number is ``at``."""

    at: int | None


class Get(Read, tag="get"):
    service: str
    key: str
    state_key: str


class GetMany(Read, tag="get_many"):
    service: str
    key: str
    state_keys: _Names


class GetAll(Read, tag="get_all"):
    service: str
    key: str


class Exists(Read, tag="exists"):
    service: str
    key: str


class Version(Read, tag="version"):
    service: str
    key: str


class ExpiresAt(Read, tag="expires_at"):
    service: str
    key: str
    state_key: str | None


class Load(Read, tag="load"):
    service: str
    key: str
    max_bytes: int | None


class LoadMany(Read, tag="load_many"):
    service: str
    keys: _Names


class StateKeys(Read, tag="state_keys"):
    service: str
    key: str
    prefix: str
    start: str
    reverse: bool
    limit: int | None


class Services(Read, tag="services"):
    start: str
    limit: int | None


class Count(Read, tag="count"):
    service: str
    prefix: str


class ObjectKeys(Read, tag="object_keys"):
    service: str
    prefix: str
    start: str | None
    stop: str | None
    reverse: bool
    limit: int | None


class Scan(Read, tag="scan"):
    service: str | None
    prefix: str
    start: str | None
    stop: str | None
    reverse: bool
    limit: int | None


class Workflows(Read, tag="workflows"):
    service: str
    completed: bool | None


class Next(Wire, tag="next"):
    """Return the next page of a walk."""

    walk: int


class End(Wire, tag="end"):
    """Forget a walk."""

    walk: int


class OpenSnapshot(Wire, tag="snapshot"):
    pass


class Release(Wire, tag="release"):
    """Close a snapshot."""

    at: int


class Writing(Wire):
    """Commit something.

    ``token``: a name for this commit, by which the owner makes it at most once; empty for none.
    ``since``: None at the first attempt; at a later one, a stamp that the client knew before the
    first.
    """

    durability: Durability | None
    token: _Token
    since: int | None


class Write(Writing, tag="write"):
    """Commit a batch."""

    operations: Annotated[list[WireOperation], _Items]
    expect: Annotated[list[tuple[str, str, int]], _Items] | None


class Commit(Writing, tag="commit"):
    """Commit what a session wrote, if its object has ``version``.

    ``leaves``: whether to give the object back after that.
    """

    service: str
    key: str
    version: int
    leaves: bool
    operations: Annotated[list[WireOperation], _Items]


class Pop(Writing, tag="pop"):
    service: str
    key: str
    state_key: str


class Expire(Writing, tag="expire"):
    service: str
    key: str
    at: Time | None
    ttl: Time | None


class SetRetention(Wire, tag="set_retention"):
    service: str
    retention: timedelta


class Retentions(Wire, tag="retentions"):
    pass


class Begin(Wire, tag="begin"):
    """Claim an object for a session, and load it if the client has it.

    ``reads``: the session only reads, and claims nothing. ``max_bytes``: load entries up to so many
    bytes, and those of ``state_keys`` besides; None to load the whole object.
    """

    service: str
    key: str
    reads: bool
    max_bytes: int | None
    state_keys: _Names


class Leave(Wire, tag="leave"):
    """Give an object back, or the place in its queue."""

    service: str
    key: str


class Holder(Wire, tag="holder"):
    """Return who has an object in a session, as text for people."""

    service: str
    key: str


class Late(Wire, tag="late"):
    """Read what a session did not load, as of the time ``now``.

    Raise VersionConflict unless the object has ``version``. ``verb`` is one of `results.LATE`,
    ``argument`` the one that it has beside the name of the object, if it has one.
    """

    service: str
    key: str
    version: int
    now: int
    verb: str
    argument: str | _Names | None
    options: Annotated[dict[str, str | int | bool | None], Meta(max_length=8)]


class Watch(Wire, tag="watch"):
    """Tell of changes from now on, by events with the number ``watch`` that the client chose."""

    watch: int
    service: str
    key: str | None
    prefix: str


class Unwatch(Wire, tag="unwatch"):
    watch: int


class Estimate(Wire, tag="estimate"):
    service: str
    prefix: str


class Segments(Wire, tag="segments"):
    pass


class Stats(Wire, tag="stats"):
    pass


class Flush(Wire, tag="flush"):
    pass


class Compact(Wire, tag="compact"):
    service: str | None


class Checkpoint(Wire, tag="checkpoint"):
    """Copy the database to ``path``: bytes, since a path need not be text."""

    path: bytes


Request = (
    Join
    | Get
    | GetMany
    | GetAll
    | Exists
    | Version
    | ExpiresAt
    | Load
    | LoadMany
    | StateKeys
    | Services
    | Count
    | ObjectKeys
    | Scan
    | Workflows
    | Next
    | End
    | OpenSnapshot
    | Release
    | Write
    | Commit
    | Pop
    | Expire
    | SetRetention
    | Retentions
    | Begin
    | Leave
    | Holder
    | Late
    | Watch
    | Unwatch
    | Estimate
    | Segments
    | Stats
    | Flush
    | Compact
    | Checkpoint
)


class _Verb(Struct, array_like=True):
    """A request of which only the verb is decoded."""

    verb: str


_decode = msgspec.msgpack.Decoder(Request).decode
_decode_verb = msgspec.msgpack.Decoder(_Verb).decode
_bad = msgspec.MsgspecError, UnicodeDecodeError, RecursionError
VERBS: frozenset[str] = frozenset(kind.__struct_config__.tag for kind in Request.__args__)


def decode(data: bytes | bytearray | memoryview) -> Request:
    """Return the request that a frame holds.

    Raise KVEngineError for an unknown verb, TypeError if the arguments do not fit the verb.
    Whatever the bytes are, decoding takes about as much memory as they do: only what a request can
    have is made of them.
    """
    try:
        found: Request = _decode(data)
        return found
    except _bad as error:
        reason = error
    try:
        verb = _decode_verb(data).verb
    except _bad:
        raise TypeError(f"this is no request: {reason}") from None
    if verb not in VERBS:
        raise KVEngineError(f"the owner knows no verb {verb!r}; is it of another release?")
    raise TypeError(f"{verb}: {reason}")


class Joined(NamedTuple):
    """The answer to a `Join` that listens.

    ``stamp``: of the last visible commit. ``options``: those that all processes must agree on.
    ``lost``: the claims of the client that others have by now.
    """

    stamp: int
    options: dict[str, Any]
    retentions: dict[str, timedelta]
    lost: list[tuple[str, str]]


class Begun(NamedTuple):
    """The answer to a `Begin`.

    ``granted``: whether the client has the object. If not, it is told by `Granted`, and asks again.
    ``found``: the object, with at most the bytes asked for, None if it is absent. ``more``: if that
    is only a part, the entries asked for by name. ``now``: the time as of which both are.
    """

    granted: bool
    now: int
    found: StoredObject | None
    more: dict[str, bytes]


class Granted(Wire, tag="granted"):
    """The client may have an object now that it waited for: it asks again."""

    service: str
    key: str


class Changes(Wire, tag="changes"):
    """Changes that a watch covers, in the order of their commits."""

    watch: int
    changes: list[Change]


class Over(Wire, tag="over"):
    """A watch has ended by an error, of class ``kind``."""

    watch: int
    kind: str
    arguments: list[Any]


class Members(Wire, tag="members"):
    """The clients that the owner has now. ``stamp``: of the last visible commit."""

    stamp: int
    clients: list[int]


Event = Granted | Changes | Over | Members
decode_event: Any = msgspec.msgpack.Decoder(Event).decode
