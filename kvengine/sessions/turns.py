"""Turns: one session at a time writes an object, in order of arrival.

The queue of an object holds its sessions; the first has the object, the others
wait. A session is in it by a weak reference: one whose frame is gone (an
interrupt hit the very beginning of its ``__exit__``) is out of the queue too,
without a line of code that another interrupt could hit.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from weakref import ref

from kvengine.errors import SessionError, SessionTimeout
from kvengine.names import Name

LOOK_AGAIN = 0.25
"""Seconds after which a waiter looks for itself: an interrupt may have cost it its call."""


class Turn:
    """A place in the queue of an object.

    ``thread`` is the thread that may not be blocked before the turn is over;
    ``task`` the asyncio task it belongs to, if any. ``call`` is called when the
    turn has come, from any thread.
    """

    __slots__ = ("__weakref__", "call", "task", "thread")

    thread: int
    task: Any
    call: Callable[[], object] | None

    def blocks(self, other: Turn, *, blocking: bool) -> bool:
        """Whether this turn could not end while ``other`` waits (in a thread that stands still)."""
        if self.task is not None and self.task is other.task:
            return True
        return self.thread == other.thread and (blocking or self.task is None)


class Turns:
    """The queues of the objects of one open database. Thread-safe."""

    def __init__(self) -> None:
        self._queues: dict[Name, deque[ref[Turn]]] = {}
        # Reentrant: a finalizer or signal handler may run inside.
        self._lock = threading.RLock()

    def join(self, name: Name, turn: Turn, *, blocking: bool) -> bool:
        """Queue up; True where the turn has come at once.

        ``blocking``: the thread will stand still until the turn comes.
        SessionError where that would be never.
        """
        turn.thread = threading.get_ident()
        turn.task = current_task()
        turn.call = None
        with self._lock:
            queue = self._queues.get(name)
            if queue is None:
                self._queues[name] = deque((ref(turn),))
                return True
            for one in [found for each in queue if (found := each()) is not None]:
                if one.blocks(turn, blocking=blocking):
                    raise SessionError(
                        f"object {name!r} is in a session of this thread or task, which cannot end"
                        " while another one waits for it here: use the one there is, or end it"
                        " first (asyncio tasks wait for each other with `async with`)"
                    )
            queue.append(ref(turn))
            return self.has_come(name, turn)

    def has_come(self, name: Name, turn: Turn) -> bool:
        """Whether a turn is the first in its queue. Those before it whose sessions died go."""
        with self._lock:
            queue = self._queues.get(name)
            while queue:
                first = queue[0]()
                if first is not None:
                    return first is turn
                queue.popleft()
            return False

    def leave(self, name: Name, turn: Turn) -> None:
        """Give the turn, or the place in the queue, back. May be called again."""
        with self._lock:
            queue = self._queues.get(name)
            if queue is None:
                return
            if len(queue) == 1 and queue[0]() is turn:
                del self._queues[name]
                return
            left = deque(each for each in queue if each() not in (None, turn))
            if not left:
                del self._queues[name]
                return
            self._queues[name] = left
            following = left[0]()
            if following is not None and following.call is not None:
                following.call()

    def holder(self, name: Name) -> str:
        """Who has the object, for people."""
        with self._lock:
            first = next((found for each in self._queues.get(name, ()) if (found := each())), None)
        if first is None:
            return "nobody"
        if first.task is not None:
            return f"task {first.task.get_name()!r}"
        names = {one.ident: one.name for one in threading.enumerate()}
        return f"thread {names.get(first.thread, first.thread)!r}"

    def __len__(self) -> int:
        """Objects that somebody has or waits for."""
        with self._lock:
            return sum(any(each() is not None for each in queue) for queue in self._queues.values())


def take(turns: Turns, name: Name, turn: Turn, timeout: float | None) -> None:
    """Wait for a turn in this thread, at most ``timeout`` seconds; SessionTimeout past that.

    After any exception the caller leaves the queue.
    """
    if turns.join(name, turn, blocking=True):
        return
    bell = threading.Lock()
    bell.acquire()

    def ring() -> None:
        with suppress(RuntimeError):  # rung already
            bell.release()

    turn.call = ring
    end = math.inf if timeout is None else time.monotonic() + timeout
    while not turns.has_come(name, turn):
        left = end - time.monotonic()
        if left <= 0:
            raise timed_out(turns, name, timeout or 0)
        bell.acquire(timeout=min(left, LOOK_AGAIN))


def timed_out(turns: Turns, name: Name, seconds: float) -> SessionTimeout:
    """The error of somebody who has waited for so long."""
    return SessionTimeout(
        f"object {name!r} was in another session for all of {seconds:g} s:"
        f" {turns.holder(name)} has it"
    )


def current_task() -> Any:
    """The asyncio task that runs in this thread, if asyncio is in use at all."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or asyncio._get_running_loop() is None:
        return None
    return asyncio.current_task()
