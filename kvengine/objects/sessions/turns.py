"""Turns: one session at a time writes an object, in order of arrival.

Who has an object, and who waits for it, is noted by weak references: a session
whose frame is gone (an interrupt hit the very beginning of its ``__exit__``)
has nothing any more, without a line of code that another interrupt could hit.

A session within one of the same object would wait for itself, so it is refused. Nesting is
recognised by the task; without one by the thread and its *flow*. A thread of a pool runs one
request after the other, and a session may end in another thread than it began in: so a holder that
began in this thread need not be beneath the newcomer. A flow is a mark in the context
(contextvars), set by the first session there. Web frameworks, anyio and asyncio.to_thread run each
request in a context of its own. Calls within a session inherit its mark, in contexts copied from it
too.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from sys import modules
from types import BuiltinFunctionType
from typing import Any, Final
from weakref import ref

from kvengine.errors import SessionError, SessionTimeout
from kvengine.real_time import monotonic
from kvengine.storage.machine import get_ident
from kvengine.storage.names import Name

LOOK_AGAIN = 0.25
"""Seconds after which a waiter looks for itself: an interrupt may have cost it its call.

Nothing that calls a waiter can be safe from interrupts itself. A session that gives its object
back takes it from a dict and then calls the next: an interrupt may come in between. The callback
of a weak reference, which would tell that a session died, is Python where the waiter is a task,
for a loop is woken by Python; what interrupts it there is swallowed, and the call with it. So
waiters look for themselves. Measured, 1,000 of them that wait for an hour cost 5 seconds of CPU as
threads and 7 as tasks, for one object or for many (for many 230, when only those of one object
took turns).
"""

_LOOKERS = 16
"""About so many look every `LOOK_AGAIN` seconds; if more wait, each looks less often."""

_RARELY = 60.0
"""Seconds after which every waiter looks for itself, however many there are."""


class Flow:
    """The mark of one flow of calls, in one thread. A context copied into another is a new one."""

    __slots__ = ("thread",)

    def __init__(self, thread: int) -> None:
        self.thread: int = thread


_flow: Final[ContextVar[Flow | None]] = ContextVar("kvengine_flow", default=None)


class Turn:
    """A claim on an object: a place in its queue, and in the end the object.

    ``claim``: the weak reference by which it is noted; whoever makes a turn makes
    this too. `Turns.join` sets the rest. ``thread`` is the thread that it began in; ``task``
    the asyncio task it belongs to, and ``flow`` the flow of calls of one without a loop, if any.
    ``call`` is called when the turn has come, from any thread.
    """

    __slots__ = ("__weakref__", "call", "claim", "flow", "task", "thread")

    claim: ref[Turn]
    thread: int
    task: Any
    flow: Flow | None
    call: Callable[[], object] | None

    def blocks(self, other: Turn, blocking: bool) -> bool:
        """Whether this turn could not end while ``other`` waits (in a thread that stands still)."""
        if self.thread != other.thread:
            return False
        if self.task is not None:
            return blocking or self.task is other.task
        # Two flows of a thread that has no event loop: the one before has left the thread.
        return self.flow is None or other.flow is None or self.flow is other.flow

    def shown(self) -> str:
        """Return whose turn this is, for people."""
        if self.task is not None:
            return f"task {self.task.get_name()!r}"
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        return f"thread {names.get(self.thread, self.thread)!r}"


class _Queue:
    """The turns that wait for one object, in order of arrival.

    Whether one of them would never end because of a newcomer is looked up by its task or thread,
    so that a queue of thousands costs each no more than a short one. Turns whose sessions died are
    found when they are the first, or looked up.
    """

    __slots__ = ("_alone", "_in_tasks", "_tasks", "order")

    def __init__(self) -> None:
        self.order: OrderedDict[ref[Turn], None] = OrderedDict()
        self._tasks: dict[int, ref[Turn]] = {}
        """By the identity of the task."""
        self._alone: dict[int, ref[Turn]] = {}
        """Those of no task, by thread."""
        self._in_tasks: dict[int, dict[ref[Turn], None]] = {}
        """All turns of tasks in one thread."""

    def add(self, turn: Turn) -> None:
        self.order[turn.claim] = None
        if turn.task is None:
            self._alone[turn.thread] = turn.claim
        else:
            self._tasks[id(turn.task)] = turn.claim
            self._in_tasks.setdefault(turn.thread, {})[turn.claim] = None

    def remove(self, turn: Turn) -> None:
        """Remove a turn, if it is here."""
        self.order.pop(turn.claim, None)
        if turn.task is None:
            if self._alone.get(turn.thread) is turn.claim:
                del self._alone[turn.thread]
            return
        if self._tasks.get(id(turn.task)) is turn.claim:
            del self._tasks[id(turn.task)]
        if turn.thread in self._in_tasks:
            self._in_tasks[turn.thread].pop(turn.claim, None)

    def first(self) -> ref[Turn] | None:
        """Return the first that lives."""
        while self.order:
            claim = next(iter(self.order))
            if claim() is not None:
                return claim
            self.order.pop(claim, None)
        return None

    def would_block(self, turn: Turn, blocking: bool) -> bool:
        """Return whether one that waits here blocks ``turn``, as `Turn.blocks` has it."""
        for claim in (self._tasks.get(id(turn.task)), self._alone.get(turn.thread)):
            other = claim() if claim is not None else None
            if other is not None and other.blocks(turn, blocking):
                return True
        others = self._in_tasks.get(turn.thread) if blocking else None
        while others:
            claim = next(iter(others))
            if claim() is not None:
                return True
            others.pop(claim, None)
        return False


class Turns:
    """Who has the objects of one open database, and who waits for them. Thread-safe.

    An object that nobody waits for is taken and given back by single steps of a
    dict, which are atomic to other threads under the interpreter lock. Who waits
    is noted under a lock, and looks once more after that; who gives back looks for
    waiters once more after that: so one of the two sees the other.
    """

    __slots__ = ("_holders", "_lock", "_running_loop", "_thread_of_greenlet", "_waiting")

    def __init__(self) -> None:
        self._holders: dict[Name, ref[Turn]] = {}
        self._waiting: dict[Name, _Queue] = {}
        self._running_loop: Callable[[], object] | None = None  # once somebody imports asyncio
        # gevent and eventlet put functions of their own here: greenlets are threads to them.
        named: Any = threading.get_ident
        self._thread_of_greenlet: Callable[[], int] | None = (
            None if type(named) is BuiltinFunctionType else named
        )
        # Reentrant: a finalizer or signal handler may run inside.
        self._lock = threading.RLock()

    def join(self, name: Name, turn: Turn, blocking: bool, timeout: float | None = None) -> bool:
        """Take the object, or queue up; True where it was free.

        ``blocking``: the thread will stand still until the turn comes, for at most ``timeout``
        seconds. SessionError where it cannot come, unless nobody waits for it (a timeout of 0).
        """
        me = turn.claim
        thread = get_ident() if self._thread_of_greenlet is None else self._thread_of_greenlet()
        turn.thread = thread
        turn.task = turn.flow = turn.call = None
        running = self._running_loop
        if running is None and "asyncio" in modules:
            # Another thread may be just importing it.
            running = self._running_loop = getattr(modules["asyncio"], "_get_running_loop", None)
        if running is not None and running() is not None:
            turn.task = modules["asyncio"].current_task()
        else:
            flow = _flow.get()
            if flow is None or flow.thread != thread:
                flow = Flow(thread)
                _flow.set(flow)
            turn.flow = flow
        # Asked first whether anybody waits at all: a name is a tuple, hashed at each look-up.
        waiting = self._waiting
        if (not waiting or name not in waiting) and self._holders.setdefault(name, me) is me:
            return True
        with self._lock:
            if timeout != 0:
                self._refuse_deadlock(name, turn, blocking)
            self._waiting.setdefault(name, _Queue()).add(turn)
        return self.has_come(name, turn)

    def _refuse_deadlock(self, name: Name, turn: Turn, blocking: bool) -> None:
        claim, queue = self._holders.get(name), self._waiting.get(name)
        holder = claim() if claim is not None else None
        if (holder is not None and holder.blocks(turn, blocking)) or (
            queue is not None and queue.would_block(turn, blocking)
        ):
            raise SessionError(
                f"object {name!r} is in a session of this thread or task, which cannot end"
                " while another one waits for it here: use the one there is, or end it"
                " first (asyncio tasks wait for each other with `async with`; what a pool of"
                " threads runs for several requests needs contextvars.copy_context().run)"
            )

    def has_come(self, name: Name, turn: Turn) -> bool:
        """Whether a turn that waited has come. Those before it whose sessions died go."""
        with self._lock:
            holder = self._holders.get(name)
            if holder is not None and holder() is None:
                del self._holders[name]  # nobody else does: a dead turn does not leave
                holder = None
            if holder is None:
                self._pass_on(name)
            if self._holders.get(name) is not turn.claim:
                return False
            self._unwait(name, turn)
            return True

    def leave(self, name: Name, turn: Turn) -> None:
        """Give the object, or the place in the queue, back. May be called again."""
        waiting = self._waiting
        if not waiting or name not in waiting:
            holders = self._holders
            if holders.get(name) is turn.claim:
                del holders[name]
            if not waiting or name not in waiting:
                return
        with self._lock:
            self._unwait(name, turn)
            if self._holders.get(name) is turn.claim:
                del self._holders[name]
            if name not in self._holders:
                self._pass_on(name)

    def _pass_on(self, name: Name) -> None:
        """Give a free object to the first that waits and lives."""
        queue = self._waiting.get(name)
        claim = queue.first() if queue is not None else None
        following = claim() if claim is not None else None
        if claim is None or following is None:
            return
        if self._holders.setdefault(name, claim) is claim and following.call is not None:
            following.call()

    def _unwait(self, name: Name, turn: Turn) -> None:
        queue = self._waiting.get(name)
        if queue is not None:
            queue.remove(turn)
            if queue.first() is None:
                self._waiting.pop(name, None)

    def patience(self, name: Name) -> float:
        """Return the seconds after which somebody who waits looks for himself.

        Thousands that wait, for one object or for many, look one after the other, not all of them
        four times a second.
        """
        queue = self._waiting.get(name)
        about = len(self._waiting) * len(queue.order) if queue is not None else 0
        return min(_RARELY, LOOK_AGAIN * (1 + about // _LOOKERS))

    def holder(self, name: Name) -> str:
        """Who has the object, for people."""
        found = self._holders.get(name)
        first = found() if found is not None else None
        return "nobody" if first is None else first.shown()

    def holds(self, name: Name, turn: Turn) -> bool:
        """Return whether it is this turn that has the object."""
        return self._holders.get(name) is turn.claim

    def is_taken(self, name: Name) -> bool:
        """Return whether somebody has the object."""
        found = self._holders.get(name)
        return found is not None and found() is not None

    def claims(self, name: Name) -> int:
        """Sessions that have the object or wait for it."""
        with self._lock:
            queue = self._waiting.get(name)
            found = [self._holders.get(name), *(queue.order if queue is not None else ())]
            return len({each for each in found if each is not None and each() is not None})

    def __len__(self) -> int:
        """Objects that somebody has or waits for."""
        with self._lock:
            return sum(self.claims(name) > 0 for name in {*self._holders, *self._waiting})


def wait(turns: Turns, name: Name, turn: Turn, timeout: float | None) -> None:
    """Wait for a turn in this thread, at most ``timeout`` seconds; SessionTimeout past that.

    After any exception the caller leaves the queue.
    """
    bell = threading.Lock()
    bell.acquire()

    def ring() -> None:
        with suppress(RuntimeError):  # rung already
            bell.release()

    turn.call = ring
    end = math.inf if timeout is None else monotonic() + timeout
    while not turns.has_come(name, turn):
        left = end - monotonic()
        if left <= 0:
            raise timed_out(turns, name, timeout or 0)
        bell.acquire(timeout=min(left, turns.patience(name)))


def timed_out(turns: Turns, name: Name, seconds: float) -> SessionTimeout:
    """The error of somebody who has waited for so long."""
    return timed_out_by(turns.holder(name), name, seconds)


def timed_out_by(holder: str, name: Name, seconds: float) -> SessionTimeout:
    """Return the error of somebody who has waited for so long while ``holder`` had an object."""
    how = f"was in another session for all of {seconds:g} s" if seconds else "is in a session"
    return SessionTimeout(f"object {name!r} {how}: {holder} has it")
