"""What a client may ask of the owner, and what the owner tells it unasked: a struct for each.

A request is a MessagePack array: the verb, then its arguments in the order of the fields here. One
that is missing, of a wrong type or too many is named in the error, and a list that is too long is
refused before anything of it is made. No more than what stands in `Request` can be reached.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Struct

from kvengine.errors import KVEngineError
from kvengine.options import Durability
from kvengine.share.operations import MOST_ITEMS, Time, WireOperation
from kvengine.store import Change, StoredObject

MOST_BYTES = 16 * 1024 * 1024
"""Bytes of a request. The interpreter stands still while a commit of them is made: about 50 ms."""

MOST_OF_A_NAME = 300
"""Characters by which a client says who it is."""

_Items = Meta(max_length=MOST_ITEMS)
_Names = Annotated[list[str], _Items]
_Token = Annotated[bytes, Meta(max_length=32)]


class _Wire(Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """An array that begins with its tag."""


class Join(_Wire, tag="join"):
    """The first request of each connection: whose it is.

    ``client``: a random number. ``name``: who that is, for people. ``listens``: whether this is the
    connection on which the owner tells its `Event`s; it is the client's first one, and the client
    is gone when it ends. ``claims``: the objects that the client had in sessions under the owner
    before.
    """

    client: int
    name: Annotated[str, Meta(max_length=MOST_OF_A_NAME)]
    listens: bool = False
    claims: Annotated[list[tuple[str, str]], _Items] = []


class Read(_Wire):
    """A read verb: of now, or of the snapshot ``at`` that the client holds."""

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


class Next(_Wire, tag="next"):
    """The next page of a walk."""

    walk: int


class End(_Wire, tag="end"):
    """Forget a walk."""

    walk: int


class OpenSnapshot(_Wire, tag="snapshot"):
    pass


class Release(_Wire, tag="release"):
    """Close a snapshot."""

    at: int


class Writing(_Wire):
    """A commit.

    ``token``: it lands at most once for each. ``since``: if it may have been sent before, a stamp
    that was known then.
    """

    durability: Durability | None
    token: _Token
    since: int | None


class Write(Writing, tag="write"):
    """Commit a batch."""

    operations: Annotated[list[WireOperation], _Items]
    expect: Annotated[list[tuple[str, str, int]], _Items] | None


class Commit(Writing, tag="commit"):
    """Commit what a session wrote, if its object has ``version``; ``leaves``: and give it back."""

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


class SetRetention(_Wire, tag="set_retention"):
    service: str
    retention: timedelta


class Retentions(_Wire, tag="retentions"):
    pass


class Begin(_Wire, tag="begin"):
    """Claim an object for a session, unless ``reads`` alone, and load it if it is there to be had.

    ``max_bytes`` and ``state_keys``: of what to load; None for all of it.
    """

    service: str
    key: str
    reads: bool
    max_bytes: int | None
    state_keys: _Names


class Leave(_Wire, tag="leave"):
    """Give an object back, or the place in its queue."""

    service: str
    key: str


class Holder(_Wire, tag="holder"):
    """Tell who has an object in a session, for people."""

    service: str
    key: str


class Late(_Wire, tag="late"):
    """Read what a session did not load: of an object at ``version``, as of the time ``now``.

    ``verb``, its ``argument`` beside the name, and its options.
    """

    service: str
    key: str
    version: int
    now: int
    verb: str
    argument: str | _Names | None
    options: Annotated[dict[str, str | int | bool | None], Meta(max_length=8)]


class Watch(_Wire, tag="watch"):
    """Tell of the changes to come, by events with the number ``watch``, which the client chose."""

    watch: int
    service: str
    key: str | None
    prefix: str


class Unwatch(_Wire, tag="unwatch"):
    watch: int


class Estimate(_Wire, tag="estimate"):
    service: str
    prefix: str


class Segments(_Wire, tag="segments"):
    pass


class Stats(_Wire, tag="stats"):
    pass


class Flush(_Wire, tag="flush"):
    pass


class Compact(_Wire, tag="compact"):
    service: str | None


class Checkpoint(_Wire, tag="checkpoint"):
    """``path`` as bytes: it need not be text."""

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
    """A request of which no more is known than its verb; the rest is passed over."""

    verb: str


_decode = msgspec.msgpack.Decoder(Request).decode
_decode_verb = msgspec.msgpack.Decoder(_Verb).decode
_bad = msgspec.MsgspecError, UnicodeDecodeError, RecursionError
VERBS: frozenset[str] = frozenset(kind.__struct_config__.tag for kind in Request.__args__)


def decode(data: bytes | bytearray | memoryview) -> Request:
    """Return a request.

    Raise KVEngineError for an unknown verb, TypeError if the arguments do not fit the verb. It
    takes about as much memory as there are bytes, whatever they are: nothing is made of what no
    request has.
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
    """The answer to a `Join`. ``lost``: claims of the client that it does not have any more."""

    stamp: int
    options: dict[str, Any]
    retentions: dict[str, timedelta]
    lost: list[tuple[str, str]]


class Begun(NamedTuple):
    """The answer to a `Begin`. ``granted``: whether the client has the object.

    ``found``: the object, with at most the bytes asked for; ``more``: the entries asked for by
    name. ``now``: the time that both are of.
    """

    granted: bool
    now: int
    found: StoredObject | None
    more: dict[str, bytes]


class Granted(_Wire, tag="granted"):
    """The client has an object that it waited for."""

    service: str
    key: str


class Changes(_Wire, tag="changes"):
    watch: int
    changes: list[Change]


class Over(_Wire, tag="over"):
    """A watch has ended, by an error: its class and its arguments."""

    watch: int
    kind: str
    arguments: list[Any]


class Members(_Wire, tag="members"):
    """The clients that the owner has. ``stamp``: of a commit that was made before it said so."""

    stamp: int
    clients: list[int]


Event = Granted | Changes | Over | Members
decode_event: Any = msgspec.msgpack.Decoder(Event).decode
