"""States: what a memtable says of an object as of one commit, linked to what it said before.

And commits, with the changes that they consist of. Beside this stands a compiled twin. What it
makes is no container to the garbage collector, which else looks at each state of a memtable, and
at its name, again and again; and a long chain is freed link by link. The types of a `.pxd` can ask
for neither.
"""

from __future__ import annotations

from _thread import LockType, allocate_lock
from contextlib import suppress
from typing import TYPE_CHECKING

from kvengine.storage.decoded import CLEARED
from kvengine.storage.names import Name
from kvengine.storage.range_tombstones import Tombstones
from kvengine.storage.resolved import Resolved

if TYPE_CHECKING:
    from kvengine.storage.memtable import Memtable

NO_ROW = bytes(2)
"""Stands for a row that is not there: it has no flags and no entries."""


class State:
    """What this memtable says of an object as of one commit. Immutable but for ``prev``.

    ``row``: the newest row, encoded. ``below``: the state whose rows follow it; None if it is the
    last one here, or is cleared. ``fresh``: how many of the first rows have not been folded.
    ``hides``: whether the last row is cleared, so that no older layer shows through. ``stamp``: of
    the newest commit. ``prev``: the state before, while an open snapshot can see it. Each state is
    complete: reads of now never follow ``prev``.
    """

    __slots__ = ("below", "fresh", "hides", "prev", "row", "stamp")

    def __init__(
        self, stamp: int, row: bytes, below: State | None, fresh: int, prev: State | None
    ) -> None:
        self.stamp: int = stamp
        self.row: bytes = row
        self.below: State | None = below
        self.fresh: int = fresh
        self.prev: State | None = prev
        self.hides: bool = below.hides if below is not None else row[1] & CLEARED != 0

    @property
    def rows(self) -> tuple[bytes, ...]:
        """The rows, newest first; none follows one that is cleared."""
        found = [self.row]
        state = self.below
        while state is not None:
            found.append(state.row)
            state = state.below
        return tuple(found)


class TombstoneState(State):
    """All range tombstones of the memtable as of one commit. It has no row of its own."""

    __slots__ = ("tombstones",)

    def __init__(self, found: Tombstones, stamp: int, prev: State | None) -> None:
        super().__init__(stamp, NO_ROW, None, 0, prev)
        self.tombstones: Tombstones = found


class Change:
    """What one commit does to one object, from what it was asked to what becomes visible.

    ``entries``: what it assigns to entries, None for one that it clears. It is None as a whole if
    the object is cleared, or if only ``row`` tells. ``row``: encoded; ``state``: which it makes.
    ``known``: what the memo knew of the object, while the change is published.
    """

    __slots__ = ("entries", "known", "name", "row", "state")

    state: State

    def __init__(self, name: Name, entries: dict[str, bytes | None] | None, row: bytes) -> None:
        self.name: Name = name
        self.entries: dict[str, bytes | None] | None = entries
        self.row: bytes = row
        self.known: Resolved | None = None


class Commit:
    """A commit on its way from the log to its visibility. `format.Commit` is one in a WAL file.

    ``now``: the time at which it was resolved. ``changes``: to its objects. ``marks``: the state of
    the range tombstones, if it made any. ``start`` and ``end``: of its record in the log.
    ``token``: its name, empty if it has none. ``waiter``: the lock that its thread waits for if it
    is published later, perhaps by another thread.

    The committer makes one by `new_commit` and fills in all fields: a call with so many arguments
    would cost more.
    """

    __slots__ = (
        "changes",
        "end",
        "marks",
        "memtable",
        "now",
        "published",
        "stamp",
        "start",
        "token",
        "waiter",
    )

    stamp: int
    now: int
    changes: list[Change]
    marks: TombstoneState | None
    memtable: Memtable
    start: int
    end: int
    published: bool
    token: bytes
    waiter: LockType | None

    def defer(self) -> None:
        """Prepare this commit to be published later, so that its thread can `wait` for that."""
        self.waiter = allocate_lock()
        self.waiter.acquire()

    def wait(self, seconds: float) -> None:
        """Wait until somebody calls `wake`, at most ``seconds``."""
        if self.waiter is not None:
            self.waiter.acquire(timeout=seconds)

    def wake(self) -> None:
        """Let the thread that waits look again. May be called more than once."""
        if self.waiter is not None:
            with suppress(RuntimeError):  # it is not waiting
                self.waiter.release()


state_of = State
change_of = Change
new_commit = Commit
"""Make a state, a change, a commit. The compiled twin makes them in C."""
