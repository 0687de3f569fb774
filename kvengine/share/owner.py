"""The owner of a directory as a member sees it: in another process, or in this one."""

from __future__ import annotations

import os
import socket
import threading
import weakref
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import timedelta
from typing import Any, Protocol

import msgspec

from kvengine.engine import Engine
from kvengine.errors import KVEngineError, Unavailable, ValueTooLarge
from kvengine.real_time import monotonic
from kvengine.share import requests, results, wire
from kvengine.share.holdings import Holdings, Reclaiming
from kvengine.share.link import GREETING, Broken, Link
from kvengine.share.requests import MOST_BYTES, Event, Joined, Request
from kvengine.share.verbs import answer, options_of
from kvengine.storage.names import Name

MOST_LINKS = 32
"""Connections on which a client has requests under way; threads beyond that wait for one.

A session that waits for its object needs none meanwhile.
"""

MOST_LENT = 31
"""Connections of a client that its event loops have, in all."""

_MOST_IDLE = 8
"""Connections that are kept open for later requests."""

_LOOK_AGAIN = 0.25
_TICK = 2.0
"""Seconds between two looks at what is to be told or given back."""

_PATIENT = (requests.Flush, requests.Compact, requests.Checkpoint, requests.Count, requests.Next)
"""Requests that may take any time: their answers are waited for without a limit."""


class OwnerSilent(Unavailable):
    """There is an owner, but it does not serve this process.

    It is stopped, hangs, serves as many clients as it can, or belongs to another user.
    """


class OwnerSlow(OwnerSilent):
    """The owner does not answer in time. It may be stopped or busy, and go on."""


class Hears(Protocol):
    """Is told what happens at an owner."""

    def hear(self, event: Event) -> None:
        """Note an event. Must not wait: called in any thread, with locks of the engine held."""

    def lose(self, owner: Owner) -> None:
        """Note that an owner is gone, or was left. May wait."""

    def clean(self) -> None:
        """Give back what sessions have left behind. Called every second or two."""


class Owner(Protocol):
    """An owner of the directory.

    ``joined``: what it said when this process joined. ``reclaimed``: objects that it has given to
    this process then, as sessions had them under the owner before. ``is_lost``: whether it owns no
    longer, or this process has left it.
    """

    pid: int
    epoch: int
    is_lost: bool
    joined: Joined
    reclaimed: set[Name]

    def ask(self, request: Request, decode: Callable[[Any], Any]) -> Any:
        """Return the result of a request. Raise what the verb raises, Broken without an answer."""
        ...

    def tell(self, request: Request) -> None:
        """Let the owner know soon that something ended. Return at once: finalizers call this."""
        ...

    def close(self) -> None:
        """Leave. May be called again."""
        ...

    def forget(self) -> None:
        """In a forked child: leave what is the parent's alone, and send nothing."""
        ...


class _Place:
    """Counts as a connection until there is one."""


class RemoteOwner:
    """The owner in another process. Thread-safe.

    Each connection carries one request at a time. On one more, the first, the owner sends events,
    and a thread listens.
    """

    def __init__(
        self, directory: str, client: int, claims: Collection[Name], hearer: Hears, patience: float
    ) -> None:
        """Join the owner. Raise OSError if there is none, OwnerSilent if it does not serve us.

        ``client``: the number of this process among the clients. ``claims``: the objects that it
        has in sessions. ``patience``: seconds to wait for an answer.
        """
        self._directory = directory
        self._client = client
        self._hearer = hearer
        self.patience: float = patience
        """Seconds to wait for an answer."""
        self._idle: list[Link] = []
        self._open: weakref.WeakSet[Link | _Place] = weakref.WeakSet()
        """Connections of threads. One that an interrupt has dropped leaves it by itself."""
        self._lent: set[weakref.ref[Link]] = set()
        """Connections of event loops. One that nobody has any more leaves it by itself."""
        self._room = threading.Condition()
        self._untold: deque[Request] = deque()
        self.is_lost: bool = False
        self.reclaimed: set[Name] = set()
        greeting = min(GREETING, patience)
        self._listener = self._connect(greeting)
        hello = self._listener.hello
        self.pid: int = hello.pid
        self.epoch: int = hello.epoch
        name = f"{socket.gethostname()}:{os.getpid()}"
        self._name = name
        self.joined: Joined = self._join(self._listener, True, claims, greeting)
        self._thread = threading.Thread(target=self._listen, name="kvengine-listen", daemon=True)
        try:
            self._thread.start()
        except BaseException:  # an interrupt too, after which the thread may run
            self.close()
            raise

    def ask(self, request: Request, decode: Callable[[Any], Any]) -> Any:
        data = wire.frame(request)
        if len(data) > MOST_BYTES:
            raise ValueTooLarge(
                f"the request has {len(data):,} bytes; process {self.pid}, the owner of"
                f" {self._directory}, takes {MOST_BYTES:,} at once: write less at a time"
            )
        if self._untold:
            self._tell()
        patience = None if isinstance(request, _PATIENT) else self.patience
        link = self._take()
        try:
            found = link.ask(data, patience, self._links - len(self._idle) == 1)
        finally:
            self._give(link)
        return wire.result_of(found, decode)

    def lend(self) -> Link | None:
        """Return a new connection for an event loop, which gives it back; None if there is none."""
        if len(self._lent) >= MOST_LENT:
            return None
        try:
            link = self._joined(min(GREETING, self.patience))
        except (OSError, OwnerSilent):
            return None
        self._lent.add(weakref.ref(link, self._lent.discard))
        if self.is_lost:
            link.shut()
        return link

    def take_back(self, link: Link) -> None:
        """Close a connection that was lent."""
        self._lent.discard(weakref.ref(link))
        link.close()

    def _all_lent(self) -> list[Link]:
        return [link for each in list(self._lent) if (link := each()) is not None]

    @property
    def has_untold(self) -> bool:
        """Return whether there is something that `tell_all` would tell."""
        return bool(self._untold)

    def tell_all(self) -> None:
        """Tell the owner what it does not know yet, by a connection of its own if need be."""
        if not (self._idle or self.is_lost):
            with suppress(Broken, KVEngineError):
                self._give(self._take())
        self._tell()

    def _joined(self, patience: float) -> Link:
        """Return a new connection for requests, within so many seconds."""
        link = self._connect(patience)
        self._join(link, False, (), patience)
        return link

    def _take(self) -> Link:
        """Return a connection that no thread uses; wait for one if there are too many."""
        try:
            return self._idle.pop()
        except IndexError:
            pass
        place = _Place()
        with self._room:
            while not self.is_lost:
                with suppress(IndexError):  # there is none, or another thread was faster
                    return self._idle.pop()
                if self._links < MOST_LINKS:
                    self._open.add(place)
                    break
                self._room.wait(_LOOK_AGAIN)
            else:
                raise Broken(False)
        try:
            link = self._joined(self.patience)
            self._open.add(link)
            return link
        except (OSError, OwnerSilent) as error:
            raise Broken(False, isinstance(error, OwnerSlow)) from None
        finally:
            self._gone(place)

    @property
    def _links(self) -> int:
        return len(self._open)

    def _give(self, link: Link) -> None:
        """Keep a connection for the next request, or close it if enough are kept."""
        if self.is_lost or link.is_closed or len(self._idle) >= _MOST_IDLE:
            link.close()
            self._gone(link)
        else:
            self._idle.append(link)
            if self._links >= MOST_LINKS:
                with self._room:
                    self._room.notify()

    def _gone(self, link: Link | _Place) -> None:
        """Make room for another connection."""
        with self._room:
            self._open.discard(link)
            self._room.notify()

    def _connect(self, patience: float) -> Link:
        try:
            link = Link(self._directory, patience)
        except (TimeoutError, BlockingIOError):  # or as many wait already as the system lets wait
            raise OwnerSlow(
                f"the owner of {self._directory} does not answer on its socket"
            ) from None
        except PermissionError as error:
            raise OwnerSilent(
                f"{self._directory} belongs to another user: {error.strerror}"
            ) from None
        hello = link.hello
        if hello.protocol != wire.PROTOCOL:
            link.close()
            raise KVEngineError(
                f"process {hello.pid} owns {self._directory} with kvengine {hello.version}, which"
                f" speaks protocol {hello.protocol} with its clients, not {wire.PROTOCOL}: use that"
                " release here"
            )
        if hello.refused:
            link.close()
            raise OwnerSilent(
                f"process {hello.pid} owns {self._directory} and turns clients away:"
                f" {hello.refused}"
            )
        return link

    def _join(self, link: Link, listens: bool, claims: Collection[Name], patience: float) -> Any:
        join = requests.Join(self._client, self._name, listens, list(claims))
        try:
            found = link.ask(wire.frame(join), patience)
            return wire.result_of(found, results.joined if listens else results.nothing)
        except Broken as error:
            if error.is_slow:
                raise OwnerSlow(
                    f"process {link.hello.pid}, the owner of {self._directory}, does not answer"
                ) from None
            raise ConnectionResetError("the owner is gone") from None
        except KVEngineError as error:
            link.close()
            raise OwnerSilent(str(error)) from None

    def _listen(self) -> None:
        listener = self._listener
        due = monotonic() + _TICK
        try:
            listener.listen()
            while True:
                if listener.arrives(max(due - monotonic(), 0.0)):
                    self._hearer.hear(requests.decode_event(listener.receive()))
                if monotonic() >= due:
                    self._tell()
                    self._hearer.clean()
                    due = monotonic() + _TICK
        except (Broken, OSError, msgspec.MsgspecError):
            pass
        finally:
            self.close()
            self._hearer.lose(self)

    def tell(self, request: Request) -> None:
        self._untold.append(request)

    def _tell(self) -> None:
        """Send what `tell` has left to be sent, as far as connections are free."""
        try:
            while self._untold:
                link = self._idle.pop()
                try:
                    request = self._untold.popleft()
                    try:
                        link.ask(wire.frame(request), self.patience)
                    except BaseException:
                        self._untold.append(request)  # it may be told again
                        raise
                finally:
                    self._give(link)
        except Broken:  # the owner is gone, or does not answer
            pass
        except IndexError:  # all connections are in use, or another thread has told it
            pass

    def close(self) -> None:
        self.is_lost = True
        self._listener.shut()
        self._listener.close()
        for link in self._all_lent():
            link.shut()  # no more: its event loop waits for what it closes
        while self._idle:
            with suppress(IndexError):
                self._idle.pop().close()

    def forget(self) -> None:
        """In a forked child: close the copies of the parent's connections, and send nothing."""
        self.is_lost = True
        for link in (self._listener, *self._all_lent()):
            link.close()
        while self._idle:
            self._idle.pop().close()


class LocalOwner:
    """The owner in this process: the engine, which is asked directly."""

    def __init__(
        self,
        engine: Engine,
        client: int,
        claims: Collection[Name],
        hearer: Hears,
        reclaiming: Reclaiming | None,
    ) -> None:
        self.engine = engine
        self.pid: int = os.getpid()
        self.epoch: int = engine._db.catalog.epoch
        self.is_lost: bool = False
        self.reclaimed: set[Name] = set()
        self._holdings = Holdings("of this process", engine._host.turns, hearer.hear, reclaiming)
        if engine._access is not None:
            engine._access.look = hearer.clean
        lost = [name for name in claims if not self._holdings.reclaim(name)]
        if reclaiming is not None:
            reclaiming.joined(client)
        retentions: dict[str, timedelta] = engine.retentions()
        self.joined: Joined = Joined(
            engine._db.published, options_of(engine.options), retentions, lost
        )

    def ask(self, request: Request, decode: Callable[[Any], Any]) -> Any:  # noqa: ARG002
        return answer(self.engine, self._holdings, request)

    def tell(self, request: Request) -> None:
        with suppress(KVEngineError):
            answer(self.engine, self._holdings, request)

    def close(self) -> None:
        self.is_lost = True
        try:
            self._holdings.close()
        finally:
            self.engine.close()

    def forget(self) -> None:
        """In a forked child: the engine looks after itself."""
        self.is_lost = True
