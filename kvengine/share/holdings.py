"""What one client holds in the owner: objects in sessions, snapshots, walks, watches.

All of it is given back when the client is gone, what a request that is still under way gets then
included. The number of each kind is bounded.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from functools import partial
from itertools import count, islice
from typing import Any
from weakref import ref

from kvengine.errors import KVEngineError
from kvengine.objects.sessions.turns import Turn, Turns
from kvengine.real_time import monotonic
from kvengine.share import requests, wire
from kvengine.storage.feed import Queue
from kvengine.storage.names import Name
from kvengine.store import Change, Snapshot, StoredObject

_MOST_OPEN = 64
"""How many snapshots, how many walks and how many watches one client may keep open."""

_MOST_TURNS = 100_000
"""How many objects one client may have in sessions or wait for."""

RECLAIM_SECONDS = 1.0
"""How long clients may take to claim again, under the next owner, what they had in sessions."""

_PAGE_ITEMS = 1000
_PAGE_BYTES = 1024 * 1024
_MOST_CHANGES = 1000
"""Changes that one event tells of."""

Tell = Callable[[requests.Event], object]
"""Sends an event to a client, soon. May be called in any thread, under the commit lock too."""


class Reclaiming:
    """The time after a takeover in which only those who had an object in a session can have it.

    The next owner does not know who had which object. So it waits until all clients of the owner
    before, itself among them, have joined and claimed again what they had. For clients that are
    gone it waits `RECLAIM_SECONDS`, counted from `begin`.
    """

    def __init__(self, known: Collection[int] | None) -> None:
        """``known``: the clients of the owner before, None if they are not known."""
        self._missing = None if known is None else set(known)
        self._end = math.inf
        self._waiting: deque[Callable[[], object]] = deque()
        self._is_over = False

    def begin(self) -> None:
        """Start the clock, now that clients can join."""
        self._end = monotonic() + RECLAIM_SECONDS

    def joined(self, client: int) -> None:
        """Note that a client has joined and has claimed what it had."""
        if self._missing is not None:
            self._missing.discard(client)
        self.tell()

    def is_over(self) -> bool:
        """Return whether any client may have any free object by now."""
        if not self._is_over and (
            not (self._missing or self._missing is None) or self._end <= monotonic()
        ):
            self._is_over = True
        return self._is_over

    def put_off(self, tell: Callable[[], object]) -> None:
        """Call ``tell`` when the time is over."""
        self._waiting.append(tell)
        self.tell()

    def tell(self) -> None:
        """If the time is over, call what was put off."""
        while self._waiting and self.is_over():
            with suppress(IndexError):  # another thread was faster
                self._waiting.popleft()()


class ClientTurn(Turn):
    """The turn of a client on an object, in the same queue as those of the owner's sessions."""

    __slots__ = ("client",)

    def __init__(self, client: str) -> None:
        self.claim: ref[Turn] = ref(self)
        self.client: str = client

    def shown(self) -> str:
        return f"client {self.client}"


class Holdings:
    """What one client holds. ``name`` says who that is, for people."""

    def __init__(self, name: str, turns: Turns, tell: Tell, reclaiming: Reclaiming | None) -> None:
        self.name = name
        self.tell = tell
        self.heard: float = monotonic()
        """When the client last asked for something, as `monotonic` has it."""
        self._all_turns = turns
        self._reclaiming = reclaiming
        self._numbers = count(1)
        self._snapshots: dict[int, Snapshot] = {}
        self._walks: dict[int, Iterator[Any]] = {}
        self._watches: dict[int, Queue] = {}
        self._turns: dict[Name, ClientTurn] = {}
        self._committing: dict[Name, bool] = {}
        """Objects whose sessions commit just now, with whether they are given back after that."""
        self._wanted: set[Name] = set()
        """Those of them that the client asks for again."""
        self._commit_lock = threading.RLock()  # a signal handler may commit too
        self._is_closed = False

    # --- objects in sessions

    def claim(self, name: Name) -> bool:
        """Queue up for an object; return whether the client has it. It may have it already.

        If not, the client is told when to ask again.
        """
        with self._commit_lock:
            if name in self._committing:
                self._wanted.add(name)
                return False
        turn = self._turns.get(name)
        if turn is not None:
            return self._all_turns.has_come(name, turn)
        tell = partial(self.tell, requests.Granted(*name))
        if self._reclaiming is not None:
            if not self._reclaiming.is_over():
                self._reclaiming.put_off(tell)
                return False
            self._reclaiming = None
        return self._join(name, tell)

    def _join(self, name: Name, tell: Callable[[], object] | None) -> bool:
        self._check_room(self._turns, _MOST_TURNS)
        turn = self._turns[name] = ClientTurn(self.name)
        self._check_open()
        if self._all_turns.join(name, turn, False, 0):
            return True
        turn.call = tell
        # It may have come between the two: then nobody has called.
        return self._all_turns.has_come(name, turn)

    def knows(self, name: Name) -> bool:
        """Return whether this client has an object in a session, or waits for it."""
        return name in self._turns

    def has(self, name: Name) -> bool:
        """Return whether it is the turn of this client on an object."""
        turn = self._turns.get(name)
        return turn is not None and self._all_turns.holds(name, turn)

    def reclaim(self, name: Name) -> bool:
        """Take an object that the client had under the owner before.

        Return False if another has it. A late claim counts too: if the object was changed
        meanwhile, the commit of the session is a conflict.
        """
        if self._join(name, None):
            return True
        self.leave(name)
        return False

    def leave(self, name: Name) -> None:
        """Give an object, or the place in its queue, back. May be called again.

        While a session commits, its object is given back when the commit has ended.
        """
        with self._commit_lock:
            if name in self._committing:
                self._committing[name] = True
                return
        turn = self._turns.pop(name, None)
        if turn is not None:
            self._all_turns.leave(name, turn)

    def begin_commit(self, name: Name) -> bool:
        """Keep an object until `end_commit`, whatever the client does: the next session must see
        what this one wrote. Return False if the client does not have the object.
        """
        with self._commit_lock:
            if not self.has(name):
                return False
            self._committing.setdefault(name, False)
            return True

    def end_commit(self, name: Name, leaves: bool) -> None:
        """Note that a commit has ended. ``leaves``: whether to give the object back."""
        with self._commit_lock:
            leaves = self._committing.pop(name, False) or leaves
        if leaves:
            self.leave(name)
        if name in self._wanted:
            self._wanted.discard(name)
            self.tell(requests.Granted(*name))

    # --- snapshots and walks

    def add_snapshot(self, snapshot: Callable[[], Any]) -> tuple[int, int]:
        """Take a snapshot; return its number, by which the client names it, and its stamp."""
        self._check_room(self._snapshots, _MOST_OPEN)
        number = next(self._numbers)
        self._snapshots[number] = taken = snapshot()
        self._check_open()
        return number, taken.stamp

    def snapshot(self, number: int) -> Snapshot:
        try:
            return self._snapshots[number]
        except KeyError:
            raise KVEngineError("this snapshot is closed") from None

    def release(self, number: int) -> None:
        """Close a snapshot. May be called again."""
        snapshot = self._snapshots.pop(number, None)
        if snapshot is not None:
            snapshot.close()

    def begin_walk(self, walk: Iterator[Any]) -> tuple[int | None, list[Any]]:
        """Return the number of a walk, by which to ask for more, and its first items.

        The number is None if these items are all.
        """
        self._check_room(self._walks, _MOST_OPEN)
        return self._page(next(self._numbers), walk)

    def page(self, number: int) -> tuple[int | None, list[Any]]:
        """Return the number of a walk and its next items; None if these are the last."""
        walk = self._walks.pop(number, None)  # one that raises has ended
        if walk is None:
            raise KVEngineError("this walk has ended")
        return self._page(number, walk)

    def _page(self, number: int, walk: Iterator[Any]) -> tuple[int | None, list[Any]]:
        items: list[Any] = []
        size = 0
        for item in islice(walk, _PAGE_ITEMS):
            items.append(item)
            size += _size(item)
            if size >= _PAGE_BYTES:
                break
        else:
            if len(items) < _PAGE_ITEMS:
                return None, items
        self._walks[number] = walk
        self._check_open()
        return number, items

    def end_walk(self, number: int) -> None:
        """Forget a walk. May be called again."""
        walk = self._walks.pop(number, None)
        if walk is not None:
            _end(walk)

    # --- watches

    def watch(self, number: int, begin: Callable[[Callable[[], object]], Queue]) -> None:
        """Begin a watch, whose changes the client is told by events with this number."""
        self._check_room(self._watches, _MOST_OPEN)
        if number in self._watches:
            raise KVEngineError("there is a watch with this number")
        # The bell rings under the commit lock: whoever hears it takes the changes later.
        self._watches[number] = begin(partial(self.tell, requests.Changes(number, [])))
        self._check_open()

    @property
    def watches(self) -> tuple[int, ...]:
        """The numbers of all watches."""
        return tuple(self._watches)

    def unwatch(self, number: int) -> None:
        """End a watch. May be called again."""
        feed = self._watches.pop(number, None)
        if feed is not None:
            feed.end()

    def changes(self, number: int) -> requests.Event | None:
        """Take what a watch has now, as an event; return None if there is nothing."""
        feed = self._watches.get(number)
        if feed is None:
            return None
        found: list[Change] = []
        try:
            while len(found) < _MOST_CHANGES and (change := feed.take()) is not None:
                found.append(change)
        except Exception as error:  # nothing more can come
            if not found:
                self.unwatch(number)
                return requests.Over(number, *wire.error_fields(error))
        return requests.Changes(number, found) if found else None

    # --- the whole

    @property
    def is_empty(self) -> bool:
        """Whether the client holds nothing."""
        return not (self._turns or self._watches or self._snapshots or self._walks)

    def let_go(self) -> None:
        """Close snapshots and end walks, which keep files and memory."""
        for walk in (*self._walks,):
            self.end_walk(walk)
        for snapshot in (*self._snapshots,):
            self.release(snapshot)

    def close(self) -> None:
        """Give everything back, and whatever is got from now on. May be called again."""
        with self._commit_lock:
            self._is_closed = True
        for name in (*self._turns,):
            self.leave(name)
        self.let_go()
        for watch in (*self._watches,):
            self.unwatch(watch)

    def _check_open(self) -> None:
        """If the client has gone, give back what it just got and raise KVEngineError."""
        if self._is_closed:
            self.close()
            raise KVEngineError("this client has gone")

    def _check_room(self, held: dict[Any, Any], most: int) -> None:
        if len(held) >= most:
            raise KVEngineError(f"a client may keep {most:,} of these open; close some")


def _size(item: Any) -> int:
    """Return about how many bytes an item of a walk takes in an answer."""
    if isinstance(item, str):
        return len(item)
    if isinstance(item, StoredObject):
        values = sum(len(name) + len(value) for name, value in item.entries.items())
        return len(item.key) + values
    return len(item.key)


def _end(walk: Iterator[Any]) -> None:
    close = getattr(walk, "close", None)
    if close is not None:
        with suppress(Exception):  # it is gone in any case
            close()
