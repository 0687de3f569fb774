"""A process as one of those that share a directory: it asks the owner, or is the owner.

There is at most one owner, which holds the locks of the directory (storage/lifecycle/lock.py). Each
has a greater epoch than the one before. A member that finds no owner tries to become it. When an
owner is gone:

- Reads of now are asked again.
- A commit is sent again with its token, which lands at most once (storage/tokens.py).
- An object in a session is claimed again as the process joins the next owner, who gives it to
  nobody else meanwhile (`Reclaiming`). If that comes too late, the session is lost.
- Snapshots, walks and watches are lost: the next owner does not have them.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Collection
from itertools import count
from typing import Any, Protocol

from kvengine.engine import Engine
from kvengine.errors import (
    DatabaseClosed,
    DatabaseLocked,
    ForkedError,
    KVEngineError,
    OutcomeUnknown,
    OwnerLost,
    Unavailable,
)
from kvengine.objects.sessions.host import Host
from kvengine.objects.sessions.turns import Turn, Turns
from kvengine.real_time import monotonic
from kvengine.share import requests, results, wire
from kvengine.share.holdings import Reclaiming
from kvengine.share.link import Broken
from kvengine.share.owner import LocalOwner, Owner, OwnerSilent, RemoteOwner
from kvengine.share.requests import Event, Request
from kvengine.share.transport import has_socket
from kvengine.storage import feed
from kvengine.storage.feed import Queue, watched
from kvengine.storage.names import Name
from kvengine.store import Change

log: logging.Logger = logging.getLogger("kvengine")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.05
"""Seconds between two looks for an owner."""

_MOST_TIMES = 10
"""How often a request is sent whose connection breaks: it may be the request that ends owners."""

_members: weakref.WeakSet[Member] = weakref.WeakSet()


class Opens(Protocol):
    """Opens the directory as its owner, and serves it to other processes."""

    def __call__(self, reclaiming: Reclaiming | None, /) -> Engine:
        """Return the engine. Raise DatabaseLocked if the directory has an owner."""


class HasHost(Protocol):
    """A store whose objects have a `Host`."""

    _host: Host


class Claim:
    """An object that this process has in a session, or waits for.

    ``owner``: the one that gave it, None while it is waited for. ``ring``: called in any thread
    when it is worth asking again.
    """

    __slots__ = ("owner", "ring")

    def __init__(self, ring: Callable[[], object]) -> None:
        self.owner: Owner | None = None
        self.ring: Callable[[], object] = ring

    def is_of(self, owner: Owner) -> bool:
        """Return whether no other owner than this has given the object."""
        return self.owner is None or self.owner is owner


class RemoteFeed(Queue):
    """The changes that an owner in another process reports to a watch. It ends with that owner.

    ``owner``: None until it has answered.
    """

    def __init__(self, service: str, key: str | None, ring: Callable[[], object]) -> None:
        super().__init__(service, key, ring)
        self.owner: Owner | None = None
        self._failure: Exception | None = None

    def fail(self, error: Exception) -> None:
        """Let nothing more come but an error. May be called in any thread."""
        self._failure = error
        self.ring()

    def _check_alive(self) -> None:
        if self._failure is not None:
            raise self._failure

    def is_idle(self) -> bool:
        return super().is_idle() and self._failure is None


class Writing:
    """A commit on its way: sent to one owner after the other, until one answers."""

    def __init__(self, member: Member, request: Any, claim: Claim | None) -> None:
        """``claim``: of the session that commits, None for any other commit."""
        self._member = member
        self._request = request
        self._claim = claim
        self._token = member.token()
        self._known = 0
        self._left = _MOST_TIMES

    @property
    def may_be_made(self) -> bool:
        """Whether an owner may have made it whose answer was lost."""
        return self._request.since is not None

    def to(self, owner: Owner) -> Any:
        """Return the request for an owner. Raise OwnerLost if it does not have the claim."""
        request = self._request
        self._known = self._member.stamp
        if self._claim is not None and self._claim.owner is not owner and not self.may_be_made:
            reason = "has another owner than when this session began: nothing was written"
            raise OwnerLost(self._member.path, reason)
        needs_none = isinstance(owner, LocalOwner) and not self.may_be_made
        request.token = b"" if needs_none else self._token
        return request

    def made(self, found: Any) -> Any:
        """Note what the owner answered, and return it."""
        if type(found) is int:
            self._member.saw(found)
        return found

    def broken(self, owner: Owner, error: Broken) -> None:
        """Note that there was no answer. Raise if the commit is not to be sent again.

        OutcomeUnknown if it may be made, else Unavailable.
        """
        self._member.broken(owner, error)
        if error.sent and self._request.since is None:
            self._request.since = self._known
        if error.is_slow and not self.may_be_made:
            raise self._member.silence(owner, error) from None
        if error.is_slow:
            raise OutcomeUnknown(
                f"process {owner.pid}, the owner of {self._member.path}, has not answered a commit"
                f" for {self._member.patience:g} s: it may be stopped, and may commit it later;"
                " read the object again before you repeat it"
            ) from None
        self._left -= 1
        if not self._left:
            raise self._member.in_doubt(self._member.silence(owner, error)) from None


class Member:
    """This process as one of those that share a directory. Thread-safe."""

    def __init__(
        self, path: str, opens: Opens | None, patience: float, search: float | None = None
    ) -> None:
        """``opens``: opens the directory as its owner; None for a client that never owns it.

        ``patience``: seconds to wait for an answer. ``search``: seconds to look for an owner, by
        default the same.
        """
        self.path = path
        self.turns: Turns = Turns()
        self.claims: dict[Name, Claim] = {}
        self._stores: weakref.WeakSet[HasHost] = weakref.WeakSet()
        self._opens = opens
        self.patience: float = patience
        self._search = patience if search is None else search
        self._begin()
        _members.add(self)

    def _begin(self) -> None:
        self.number: int = int.from_bytes(os.urandom(8), "big") >> 1
        self._lock = threading.RLock()
        self._owner: Owner | None = None
        self._known: Collection[int] | None = None
        self.stamp: int = 0
        """Of the latest commit that an owner has told of."""
        self._is_closed = False
        self._tokens = count(1)
        self._watch_numbers = count(1)
        self._feeds: dict[int, weakref.ref[RemoteFeed]] = {}

    # --- asking

    def ask(self, request: Request, decode: Callable[[Any], Any]) -> Any:
        """Return the result of a request that may be asked again, of whoever owns."""
        return self.ask_some(request, decode)[0]

    def ask_some(self, request: Request, decode: Callable[[Any], Any]) -> tuple[Any, Owner]:
        """Return the result of a request that may be asked again, and the owner who answered."""
        left = _MOST_TIMES
        while True:
            owner = self.owner()
            try:
                return owner.ask(request, decode), owner
            except Broken as error:
                self.broken(owner, error)
                left -= 1
                if error.is_slow or not left:
                    raise self.silence(owner, error) from None
            except DatabaseClosed:
                if not self.has_left(owner):
                    raise

    def write(self, request: Any, decode: Callable[[Any], Any], claim: Claim | None = None) -> Any:
        """Return the result of a commit, which lands at most once however often it is sent.

        ``claim``: of the session that commits. Raise OwnerLost if that is lost; OutcomeUnknown if
        the answer was lost and it cannot be found out any more whether the commit landed.
        """
        return self.finish(Writing(self, request, claim), decode)

    def finish(self, writing: Writing, decode: Callable[[Any], Any]) -> Any:
        """Send a commit, again if need be, and return its result. Raises what `write` raises."""
        while True:
            try:
                owner = self.owner()
            except KVEngineError as error:
                if writing.may_be_made:
                    raise self.in_doubt(error) from None
                raise
            request = writing.to(owner)
            try:
                return writing.made(owner.ask(request, decode))
            except Broken as error:
                writing.broken(owner, error)
            except DatabaseClosed:
                if not self.has_left(owner):
                    raise

    def owner(self) -> Owner:
        """Return the owner. If there is none, become it, or wait until another process has.

        Raise Unavailable if there is none for ``search`` seconds, DatabaseClosed after `close`, and
        what opening the directory raises.
        """
        owner = self._owner
        if owner is None or owner.is_lost:
            owner = self._find()
        return owner

    @property
    def at_hand(self) -> Owner | None:
        """Return the owner if it is known, without a look for one."""
        owner = self._owner
        return None if owner is None or owner.is_lost else owner

    def token(self) -> bytes:
        """Return what tells a commit from all others."""
        return b"%d.%d" % (self.number, next(self._tokens))

    def saw(self, stamp: int) -> None:
        """Note the stamp of a commit that an owner has told of."""
        self.stamp = max(self.stamp, stamp)

    def engine(self) -> Engine | None:
        """Return the engine if this process owns the directory."""
        owner = self.owner()
        return owner.engine if isinstance(owner, LocalOwner) else None

    def broken(self, owner: Owner, error: Broken) -> None:
        """Leave an owner whose connection broke, unless it only did not answer in time."""
        if not (error.is_slow or owner.is_lost):
            # Its process may live and have hung up on this one connection, or have ended: to ask
            # again tells.
            owner.close()

    def has_left(self, owner: Owner) -> bool:
        """Return whether the owner has closed its database. Raise DatabaseClosed if this one is."""
        self._check_open()
        if isinstance(owner, LocalOwner):
            return False
        owner.close()
        return True

    def silence(self, owner: Owner, error: Broken) -> Unavailable:
        if not error.is_slow:
            return Unavailable(
                f"the owner of {self.path}, at last process {owner.pid}, has broken off the"
                f" connection at this request {_MOST_TIMES} times"
            )
        return Unavailable(
            f"process {owner.pid}, the owner of {self.path}, has not answered for"
            f" {self.patience:g} s: it may be stopped or very busy"
        )

    def in_doubt(self, error: KVEngineError) -> OutcomeUnknown:
        return OutcomeUnknown(f"the answer to a commit was lost, it may be made; and then: {error}")

    # --- finding an owner, or becoming it

    def _find(self) -> Owner:
        until = monotonic() + self._search  # which passes while another thread has the lock, too
        pause = _FIRST_PAUSE
        with self._lock:
            while True:
                self._check_open()
                if self._owner is not None and not self._owner.is_lost:
                    return self._owner
                problem: OwnerSilent | None = None
                try:
                    claims = self._held()
                    owner = self._joined(claims) or self._become(claims)
                    if owner is not None:
                        self._settle(owner, claims)
                        return owner
                except OwnerSilent as error:
                    problem = error
                if monotonic() >= until:
                    raise problem or self._nobody()
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _joined(self, claims: Collection[Name]) -> Owner | None:
        """Join the owner; return None if nobody serves the directory."""
        try:
            return RemoteOwner(self.path, self.number, claims, self, self.patience)
        except OSError:
            return None

    def _become(self, claims: Collection[Name]) -> Owner | None:
        """Become the owner; return None if another process is, or this one never owns."""
        if self._opens is None:
            return None
        reclaiming = None
        if self._known is not None:
            reclaiming = Reclaiming(self._known)
        elif has_socket(self.path):
            reclaiming = Reclaiming(None)
        try:
            engine = self._opens(reclaiming)
        except DatabaseLocked:
            return None
        try:
            return LocalOwner(engine, self.number, claims, self, reclaiming)
        except BaseException:
            engine.close()
            raise

    def _held(self) -> list[Name]:
        """Return the objects that this process has in sessions."""
        return [name for name, claim in list(self.claims.items()) if claim.owner is not None]

    def _nobody(self) -> Unavailable:
        return Unavailable(
            f"nobody serves {self.path}: open it with share=True, or run `kvengine serve`; an"
            " owner that is just starting, or works without live access, serves nobody"
        )

    def _settle(self, owner: Owner, claims: Collection[Name]) -> None:
        """Note what was lost with the owner before, and let all ask the one that was found."""
        try:
            owner.reclaimed.update({*claims}.difference(owner.joined.lost))
            self.saw(owner.joined.stamp)
            for name, claim in list(self.claims.items()):
                if claim.owner is not None and name in owner.reclaimed:
                    claim.owner = owner
                claim.ring()
            self._fail_watches()
            self._owner = owner  # last: who asks it must find the claims settled
        except BaseException:
            owner.close()
            raise

    def _fail_watches(self) -> None:
        """End the watches of owners that are gone."""
        for number, reference in list(self._feeds.items()):
            found = reference()
            if found is not None and found.owner is not None and found.owner.is_lost:
                self._feeds.pop(number, None)
                found.fail(OwnerLost(self.path, "has another owner than when this watch began"))

    # --- what owners tell

    def hear(self, event: Event) -> None:
        match event:
            case requests.Granted(service, key):
                claim = self.claims.get((service, key))
                if claim is not None:
                    claim.ring()
            case requests.Changes(watch, changes):
                found = self._feed(watch)
                if found is not None and not found.is_over:
                    for change in changes:
                        found.put(Change(*change))
                    found.ring()
            case requests.Over(watch, kind, arguments):
                found = self._feed(watch)
                if found is not None:
                    found.fail(wire.raised(kind, arguments))
            case requests.Members(stamp, clients):
                self._known = clients
                self.saw(stamp)

    def lose(self, owner: Owner) -> None:
        """Look for the next owner at once, for it waits until all have claimed their objects."""
        self._fail_watches()
        if self._is_closed:
            return
        try:
            self._find()
            self.clean()
        except DatabaseClosed:
            pass
        except (KVEngineError, OSError) as error:  # the next who asks is told
            log.warning("%s: no owner after process %d: %s", self.path, owner.pid, error)

    def clean(self) -> None:
        """Give back objects that no session of this process has any more.

        One may be left behind by an interrupt, or by a session that ended while the next owner was
        being joined. A session holds its turn in this process as long as it has a claim. So this
        takes the turn first: a session that began meanwhile would lose its object.
        """
        owner = self._owner
        for name in {*self.claims, *(() if owner is None else owner.reclaimed.copy())}:
            if self.turns.is_taken(name):
                continue
            turn = Turn()
            turn.claim = weakref.ref(turn)
            try:
                if self.turns.join(name, turn, False, 0):
                    self.give_back(name)
            finally:
                self.turns.leave(name, turn)

    def give_back(self, name: Name) -> None:
        """Give an object, or the place in its queue, back. The caller holds its turn here.

        If that is interrupted, or the owner does not answer, `clean` repeats it later.
        """
        while True:
            owner = self._owner
            if owner is not None and not owner.is_lost:
                try:
                    owner.ask(requests.Leave(*name), results.nothing)
                except Broken as error:
                    if error.is_slow:
                        return
                    self.broken(owner, error)  # if it lives, it gives back all we have as we leave
                except KVEngineError:  # the owner is closing, and its claims end with it
                    pass
            self.given_back(name, owner)
            if self._owner is owner:  # else the next one may have been told to keep it
                return

    def given_back(self, name: Name, owner: Owner | None) -> None:
        """Note that an owner does not keep an object for this process any more.

        The next owner may, if it was joined just now: that is noted with it, for `clean`.
        """
        self.claims.pop(name, None)
        if owner is not None:
            owner.reclaimed.discard(name)

    # --- watches

    def watch(
        self, service: str, key: str | None, prefix: str, ring: Callable[[], object]
    ) -> Queue:
        """Begin a watch of whoever owns. Raise what a read raises."""
        watched(service, key, prefix)
        while True:
            engine = self.engine()
            if engine is not None:
                return feed.begin(engine._db, service, key, prefix, ring)
            number = next(self._watch_numbers)
            made = RemoteFeed(service, key, ring)
            self._feeds[number] = weakref.ref(made)
            weakref.finalize(made, self._unwatch, number).atexit = False
            asked = requests.Watch(number, service, key, prefix)
            _, owner = self.ask_some(asked, results.nothing)
            made.owner = owner
            if not (owner.is_lost or isinstance(owner, LocalOwner)):
                return made

    def _feed(self, number: int) -> RemoteFeed | None:
        reference = self._feeds.get(number)
        return reference() if reference is not None else None

    def _unwatch(self, number: int) -> None:
        self._feeds.pop(number, None)
        owner = self._owner  # if it is another one by now, it knows nothing of the watch
        if owner is not None and not owner.is_lost:
            owner.tell(requests.Unwatch(number))

    # --- the whole

    def add(self, store: HasHost) -> None:
        """Let the sessions of a store take turns with all others in this process."""
        store._host.turns = self.turns
        self._stores.add(store)

    @property
    def has_owner(self) -> bool:
        """Return whether the owner that was found last is still there, as far as is known."""
        return self._owner is not None and not self._owner.is_lost

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    def _check_open(self) -> None:
        if self._is_closed:
            raise DatabaseClosed("this database is closed")

    def close(self) -> None:
        """Leave the owner, or close the directory that this process owns. May be called again."""
        self._is_closed = True  # first: who looks for an owner has the lock, and gives up at this
        with self._lock:
            owner, self._owner = self._owner, None
            for claim in list(self.claims.values()):
                claim.ring()
            for reference in list(self._feeds.values()):
                found = reference()
                if found is not None:
                    found.end()
            if owner is not None:
                owner.close()

    def _after_fork(self) -> None:
        """In a forked child: become another member, which holds nothing of its parent's."""
        owner = self._owner
        if owner is not None:
            owner.forget()
        was_closed = self._is_closed
        for reference in list(self._feeds.values()):
            found = reference()
            if found is not None:
                found.forget()
                found.fail(ForkedError("this watch was begun before fork()"))
        self.claims.clear()
        self.turns = Turns()
        for store in list(self._stores):
            store._host.turns = self.turns
        self._begin()
        self._is_closed = was_closed


def _in_child() -> None:
    for member in list(_members):
        member._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
