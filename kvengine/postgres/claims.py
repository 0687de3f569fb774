"""Sessions across clients: an object's turn is a claim, which its client keeps by a lease.

Within a process sessions queue up as ever (objects/sessions/turns.py); the one whose turn it is
there claims the object in the database. A claim is a row with a place in the object's queue; the
lowest place whose client's lease runs has the object, so that clients come in order of arrival. No
connection is held while a session runs or waits. The commit that ends a session checks its claim
and its version, and gives the claim back, in one statement: so a client that was thought dead, and
whose object went to another one, writes nothing (a fence, as in Chubby).

A claim that is left behind, by an interrupt or a lost connection, is given back by the keeper.
"""

from __future__ import annotations

import math
import os
import random
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import xxhash

from kvengine.objects.sessions.turns import timed_out_by
from kvengine.postgres.scripts import Script, Statement
from kvengine.real_time import monotonic
from kvengine.storage.names import Name, encode_object

if TYPE_CHECKING:
    from kvengine.postgres.client import Client

FIRST_PAUSE = 0.002
LONGEST_PAUSE = 0.1
"""Seconds after which one who waits asks again."""

_CLAIM = "SELECT place, holder FROM {schema}.claim(%s, %s, %s, %s, %s, %s, %s)"
_LEAVE = "SELECT {schema}.leave(%s, %s, %s)"
_RENEW = "SELECT {schema}.renew(%s, %s, %s)"
_OURS = "SELECT service, key, place FROM {schema}.claims WHERE client = %s"
_FORGET = "DELETE FROM {schema}.claims WHERE client = %s"
_END = "DELETE FROM {schema}.clients WHERE client = %s"


class Claims:
    """The claims of one client. Thread-safe: an object is claimed by one thread at a time."""

    def __init__(self, schema: str, lease: float) -> None:
        """``lease``: seconds after which the claims of a client that died are void."""
        self.lease = lease
        self.client: int = int.from_bytes(os.urandom(8), "big", signed=True)
        self.name: str = f"{socket.gethostname()}:{os.getpid()}"
        self.is_used: bool = False
        """Whether a session ever began: until then there is no lease to keep."""
        self._schema = schema
        self._places: dict[Name, int] = {}
        self._strays: set[int] = set()

    def ask(self, name: Name, place: int | None) -> Script[tuple[int, str | None]]:
        """Claim an object, or ask whether it is ours now; ``place``: as returned before.

        Return the place, and who has the object, None if it is ours.
        """
        self.is_used = True
        encoded = encode_object(*name)
        lock = xxhash.xxh3_64_intdigest(self._schema.encode() + b"\0" + encoded) - 2**63
        service, key = name
        rows = yield Statement(
            _CLAIM.format(schema=self._schema),
            (service.encode(), key.encode(), lock, self.client, self.name, self.lease, place),
        )
        place, holder = rows[0]
        self._places[name] = place
        return place, holder

    def place(self, name: Name) -> int | None:
        """Return the place of the claim on an object, None if there is none. It may be waiting."""
        return self._places.get(name)

    def forget(self, name: Name) -> int | None:
        """Return the place of a claim that is to be given back, and forget it."""
        return self._places.pop(name, None)

    def leave(self, name: Name, place: int) -> Script[None]:
        """Give a claim, or a place in the queue, back."""
        service, key = name
        yield Statement(_LEAVE.format(schema=self._schema), (service.encode(), key.encode(), place))

    def renew(self) -> Script[bool]:
        """Move the lease, and return whether it was still running."""
        rows = yield Statement(
            _RENEW.format(schema=self._schema), (self.client, self.name, self.lease)
        )
        return bool(rows[0][0])

    def clean(self, is_taken: Callable[[Name], bool]) -> Script[None]:
        """Give back claims of which nobody here knows: those that were so the last time too.

        ``is_taken``: whether an object is in a session here. One that was dropped does not count.
        """
        rows = yield Statement(_OURS.format(schema=self._schema), (self.client,))
        known = {place for name, place in list(self._places.items()) if is_taken(name)}
        strays = {place: (service, key) for service, key, place in rows if place not in known}
        for place in self._strays & strays.keys():
            yield Statement(_LEAVE.format(schema=self._schema), (*strays.pop(place), place))
        self._strays = set(strays)

    def end(self) -> Script[None]:
        """End the lease: what is claimed is free at once."""
        if self.is_used:
            for statement in (_FORGET, _END):
                yield Statement(statement.format(schema=self._schema), (self.client,))


class Waiting:
    """One who waits for an object: asks, and pauses longer and longer."""

    def __init__(self, client: Client, name: Name, timeout: float | None) -> None:
        client.check_writable()
        self._claims = client.claims
        self._name = name
        self._timeout = timeout
        self._end = math.inf if timeout is None else monotonic() + timeout
        self._next = FIRST_PAUSE
        self._place: int | None = None
        self._holder: str | None = None

    def ask(self) -> Script[bool]:
        """Return whether the object is ours."""
        self._place, self._holder = yield from self._claims.ask(self._name, self._place)
        return self._holder is None

    def pause(self) -> float:
        """Return the seconds to wait now. Random, so that many do not ask at once.

        Raise SessionTimeout if the time is over.
        """
        left = self._end - monotonic()
        if left <= 0:
            raise timed_out_by(f"client {self._holder}", self._name, self._timeout or 0)
        pause = random.uniform(0.5, 1) * self._next
        self._next = min(1.5 * self._next, LONGEST_PAUSE)
        return min(pause, left)
