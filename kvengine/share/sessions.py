"""Sessions on a shared directory: the owner is asked for turns, late reads and commits."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Iterable
from typing import Any, Protocol

from kvengine.errors import SessionTimeout
from kvengine.objects.sessions.load import begin_with
from kvengine.objects.sessions.session import SessionVerbs
from kvengine.objects.sessions.turns import timed_out_by
from kvengine.options import KIB, Durability
from kvengine.real_time import monotonic
from kvengine.share import requests, results
from kvengine.share.member import Claim, Member, Writing
from kvengine.share.operations import operations
from kvengine.share.owner import Owner
from kvengine.share.requests import Begun, Request
from kvengine.storage.batch import Batch
from kvengine.storage.names import Name
from kvengine.store import StoredObject
from kvengine.watch import ring_of

Ask = Callable[[Request, Callable[[Any], Any]], Any]
"""Asks the owner something: gets what, and what decodes the answer."""

FIRST_BYTES = 16 * KIB
"""Bytes of names and values that a lazy session loads as it begins: they cost no round trip."""

LOOK_AGAIN = 5.0
"""Seconds after which a session that waits asks again: an interrupt may have lost its call."""


class Beginning:
    """A session that begins: the request to send, and what to do with the answer."""

    def __init__(self, session: SessionVerbs, always: Collection[str]) -> None:
        """``always``: state keys to load in any case.

        A read-only session loads all: it has no turn that would keep the object as it is.
        """
        self._session = session
        self.name: Name = session._handle._name
        settings = session._settings
        self.claims: bool = not settings.read_only
        limit = settings.preload_limit
        whole = settings.read_only or (settings.preload is True and limit is None)
        named = settings.preload if isinstance(settings.preload, tuple) else ()
        self._named = [] if whole else list({*always, *named})
        most = None if whole else max(limit or 0, FIRST_BYTES)
        self.request: requests.Begin = requests.Begin(
            *self.name, not self.claims, most, self._named
        )

    def settle(self, begun: Begun, ask: Ask) -> LateReads | None:
        """Fill in the session; return what it reads the rest from, None if it has everything.

        ``ask``: how that asks the owner.
        """
        found, session = begun.found, self._session
        complete = found is None or not found.partial
        begin_with(session, found, complete)
        if found is None or complete:
            return None
        missing = [each for each in self._named if session._missing(each)]
        if missing:
            session._learn(
                {name: begun.more[name] for name in missing if name in begun.more}, missing
            )
        return LateReads(ask, self.name, found.version, begun.now)


class LateReads:
    """One object as its session began, for the session (objects/sessions/host.py).

    The owner holds nothing: a read that comes late carries the time at which the session began,
    and must find the version that the object had then. So it can be asked of the next owner too.
    """

    def __init__(self, ask: Ask, name: Name, version: int, now: int) -> None:
        self._ask_owner = ask
        self._name = name
        self._now = now
        self.version: int = version
        """What late reads must find: after a commit of the session, that one."""

    def close(self) -> None:
        """Do nothing: nothing is held."""

    def _in_memory(self, service: str, key: str) -> bool:  # noqa: ARG002
        return False

    def get(self, service: str, key: str, state_key: str) -> bytes | None:  # noqa: ARG002
        found: bytes | None = self._ask("get", state_key)
        return found

    def get_many(
        self,
        service: str,  # noqa: ARG002
        key: str,  # noqa: ARG002
        state_keys: Iterable[str],
    ) -> dict[str, bytes]:
        found: dict[str, bytes] = self._ask("get_many", list(state_keys))
        return found

    def get_all(self, service: str, key: str) -> dict[str, bytes]:  # noqa: ARG002
        found: dict[str, bytes] = self._ask("get_all")
        return found

    def load(self, service: str, key: str, *, max_bytes: int) -> StoredObject | None:  # noqa: ARG002
        found: StoredObject | None = self._ask("load", max_bytes=max_bytes)
        return found

    def state_keys(
        self,
        service: str,  # noqa: ARG002
        key: str,  # noqa: ARG002
        *,
        prefix: str = "",
        start: str = "",
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[str]:
        bounds: dict[str, Any] = {
            "prefix": prefix,
            "start": start,
            "reverse": reverse,
            "limit": limit,
        }
        found: list[str] = self._ask("state_keys", **bounds)
        return found

    def expires_at(self, service: str, key: str, state_key: str) -> float | None:  # noqa: ARG002
        found: float | None = self._ask("expires_at", state_key)
        return found

    def _ask(self, verb: str, argument: str | list[str] | None = None, **options: Any) -> Any:
        asked = requests.Late(*self._name, self.version, self._now, verb, argument, options)
        return self._ask_owner(asked, results.LATE[verb])


class HasDurability(Protocol):
    """A store that says how durable its commits are; None: as the owner's."""

    durability: Durability | None


class Sessions:
    """How the sessions of a store take turns with those of other processes.

    It is the `Shared` of objects/sessions/host.py.
    """

    def __init__(self, member: Member, store: HasDurability) -> None:
        self.member = member
        self._store = store

    def begin(
        self, session: SessionVerbs, always: Collection[str], timeout: float | None
    ) -> LateReads | None:
        """Wait until the session has its object, and begin it.

        Return what it reads the rest from, None if it has everything. Raise SessionTimeout after
        ``timeout`` seconds; None waits for ever.
        """
        beginning = Beginning(session, always)
        if not beginning.claims:
            found = self.member.ask(beginning.request, results.begun)
            return beginning.settle(found, self.member.ask)
        bell = threading.Lock()
        bell.acquire()
        end = math.inf if timeout is None else monotonic() + timeout
        self.claim(beginning.name, ring_of(bell))
        while True:
            found, owner = self.member.ask_some(beginning.request, results.begun)
            if self.is_granted(beginning.name, found, owner):
                return beginning.settle(found, self.member.ask)
            left = end - monotonic()
            if left <= 0:
                raise self.timed_out(beginning.name, session._settings.timeout or 0)
            bell.acquire(timeout=min(left, LOOK_AGAIN))

    def claim(self, name: Name, ring: Callable[[], object]) -> None:
        """Note that a session wants an object. ``ring`` is called when it is worth asking again."""
        self.member.claims[name] = Claim(ring)

    def is_granted(self, name: Name, found: Begun, owner: Owner) -> bool:
        """Return whether ``owner`` has given us the object, and note that it has."""
        claim = self.member.claims.get(name)
        if found.granted and claim is not None:
            claim.owner = owner
        return found.granted

    def timed_out(self, name: Name, seconds: float) -> SessionTimeout:
        """Return the error of a session that has waited for its object for so long."""
        holder = self.member.ask(requests.Holder(*name), results.text)
        return timed_out_by(holder, name, seconds)

    def commit(self, session: SessionVerbs, batch: Batch, leaves: bool) -> int:
        """Commit what a session wrote, and return the stamp.

        ``leaves``: whether to give the object back. Raise VersionConflict if the object is not as
        the session began, OwnerLost or SessionLost if others may have had it.
        """
        stamp: int = self.member.finish(self.writes(session, batch, leaves), results.number)
        if leaves:
            self.member.claims.pop(session._handle._name, None)
        return stamp

    def writes(self, session: SessionVerbs, batch: Batch, leaves: bool) -> Writing:
        """Return the commit of a session, to be sent."""
        name = session._handle._name
        durability = session._settings.durability or self._store.durability
        asked = requests.Commit(
            durability, b"", None, *name, session._version, leaves, operations(batch)
        )
        return Writing(self.member, asked, self.member.claims.get(name) or Claim(_silent))

    def leave(self, name: Name) -> None:
        """Give an object back, if it is not given back yet."""
        if name in self.member.claims:
            self.member.give_back(name)


def _silent() -> None:
    """Do nothing."""
