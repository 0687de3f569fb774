"""The memtable: the newest layer, written by commits and read without a lock.

A commit prepares new immutable states and publishes them by one ``dict.update``, so a batch appears
at once to readers in other threads. A state holds the rows that the memtable has of an object, as
the bytes that were logged, and links to the state before it while an open snapshot can see that
one. Range tombstones live in the same dict (under `TOMBSTONES`), so they too appear with their
batch; they carry their stamp and reach states of smaller stamps, and every older layer.

Writing and reading sort nothing. New names enter the ordered view when a walk asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final, cast

from sortedcontainers import SortedList

from kvengine.errors import KVEngineError
from kvengine.storage import range_tombstones
from kvengine.storage.fold import fold
from kvengine.storage.machine import Lock
from kvengine.storage.names import Name, encode_object
from kvengine.storage.range_tombstones import Tombstones
from kvengine.storage.row import (
    CLEARED,
    ENTRY_TTLS,
    EXPIRES,
    EXTENDS,
    decode,
    entry_count,
)
from kvengine.storage.row import (
    TOMBSTONES as HAS_TOMBSTONES,
)
from kvengine.storage.state import Change, State, TombstoneState, change_of, state_of

if TYPE_CHECKING:
    from kvengine.storage.wal.format import Commit

FRESH_ROWS: Final = 8
"""Rows of single commits that a state keeps as they are before they are folded into one."""
_FOLD_RATIO = 4
"""A row is folded into the older one behind it if that has at most so many times its entries."""

_LARGE_COMMIT = 1024
"""A row of a commit with more entries than this is folded at once."""

_HEAVY = 256 * 1024
"""Bytes of a row that take long to free, since the system must take the memory back."""

TOMBSTONES: Final = None
"""The key of the range tombstones among the states; no object has this name. (`row.TOMBSTONES`,
the flag of a row, is `HAS_TOMBSTONES` here.)"""


States = dict[Name | None, State]


class Memtable:
    """One layer in memory, backed by one WAL file. Only the committer writes, under its lock.

    ``expiring``: the objects whose expiry some row here states. ``extended``: those whose expiry
    some row here extends. ``has_tombstones``: set before the first range tombstone is published.
    ``first_deletion``: when the first row, range or entry was cleared, 0 for none.
    ``first_expiry``: when the first row or entry expires. ``timed``: something here was cleared or
    may expire, so that work may become due as time passes. ``announced``: background work knows
    of that. All are set before a commit is visible, and never taken back.
    """

    __slots__ = (
        "_cleared",
        "_fresh",
        "_order_lock",
        "_ordered",
        "_torn",
        "announced",
        "expiring",
        "extended",
        "first_deletion",
        "first_expiry",
        "has_tombstones",
        "states",
        "timed",
        "wal",
    )

    def __init__(self, wal: int) -> None:
        self.wal: int = wal
        self.states: States = {}
        self.expiring: set[Name] = set()
        self.extended: set[Name] = set()
        self.first_deletion: int = 0
        self.timed: bool = False
        self.announced: bool = False
        self.first_expiry: int | None = None
        self.has_tombstones: bool = False
        self._fresh: list[Name] = []
        self._cleared: list[State] = []
        """Heavy states that were cleared: they go with the memtable, so no commit waits to free
        them. Its log holds them too, and the size of that is bounded."""
        self._ordered: SortedList = SortedList()
        self._order_lock = Lock()
        self._torn = False

    def __len__(self) -> int:
        return len(self.states) - (TOMBSTONES in self.states)

    # --- writing

    def prepare_states(
        self,
        unpublished: States,
        changes: Sequence[Change],
        ranges: Sequence[tuple[bytes, bytes]],
        stamp: int,
        now: int,
    ) -> TombstoneState | None:
        """Give each change of a commit at ``now`` the state that it makes of the newest one.

        Return that of the range tombstones, None if the commit clears no ``ranges``.
        ``unpublished``: the newest states of commits that are not visible yet. A range tombstone
        leaves states of smaller stamps as they are: it covers them, and a later row is laid over
        nothing.
        """
        published = self.states
        marks: Tombstones = ()
        before = None
        if self.has_tombstones or ranges:
            before = unpublished.get(TOMBSTONES) or published.get(TOMBSTONES)
            marks = before.tombstones if isinstance(before, TombstoneState) else ()
            for start, stop in ranges:
                marks = range_tombstones.add(marks, start, stop, stamp)
            if ranges:
                self.first_deletion = self.first_deletion or now
                self.timed = self.has_tombstones = True
        for change in changes:
            name, row = change.name, change.row
            current = unpublished.get(name) if unpublished else None
            if current is None:
                current = published.get(name)
            flags, cleared = row[1], False
            if flags:
                self._note(name, row, now)
                cleared = flags & CLEARED != 0
            # An entry takes two bytes at least.
            large = len(row) > 2048 and entry_count(row) > _LARGE_COMMIT
            if (
                current is None
                or cleared
                or (
                    marks and current.stamp < range_tombstones.covering(marks, encode_object(*name))
                )
            ):
                change.state = state_of(stamp, row, None, 0 if large else 1, current)
            elif current.fresh < FRESH_ROWS and not large:
                change.state = state_of(stamp, row, current, current.fresh + 1, current)
            else:
                change.state = _folded(stamp, row, current)
        return TombstoneState(marks, stamp, before) if ranges else None

    def prepare_logged(self, commit: Commit) -> tuple[list[Change], TombstoneState | None]:
        """Return the changes of a commit read from a log, and its range tombstones, prepared."""
        changes = []
        for service, key, row in commit.rows:
            changes.append(change_of((service, key), None, row))
        now = commit.now or commit.stamp
        return changes, self.prepare_states({}, changes, commit.tombstones, commit.stamp, now)

    def replay(self, commit: Commit) -> None:
        """Make a commit read from a log a part of this memtable."""
        changes, marks = self.prepare_logged(commit)
        self.publish(changes, marks)

    def publish(
        self,
        changes: Sequence[Change],
        marks: TombstoneState | None = None,
        newest_snapshot: int = -1,
        oldest_snapshot: int = -1,
    ) -> None:
        """Make the states of a commit visible, all at once.

        ``marks``: that of the range tombstones, if there is a new one.
        ``newest_snapshot``, ``oldest_snapshot``: stamps of the open ones, -1 if none is open.
        States that no open snapshot can see are unlinked. New names are noted first: a walk that
        finds a name without a visible state skips it. May be repeated after an interrupt: a name
        noted twice is listed once.
        """
        for change in changes:
            state = change.state
            prev = state.prev
            if prev is None:
                self._fresh.append(change.name)
            elif newest_snapshot < 0:
                if state.below is None and _is_heavy(prev):
                    self._cleared.append(prev)
                state.prev = None
            elif newest_snapshot < prev.stamp:
                state.prev = prev.prev
            elif prev.stamp <= oldest_snapshot:
                prev.prev = None
        if marks is not None and marks.prev is not None:
            _unlink(marks, marks.prev, newest_snapshot, oldest_snapshot)
        if len(changes) == 1 and marks is None:
            change = changes[0]
            self.states[change.name] = change.state
        else:
            self.states.update(states_of(changes, marks))

    def _note(self, name: Name, row: bytes, now: int) -> None:
        """Note what a row states of expiry and deletion, before it is published."""
        flags = row[1]
        self.timed = True
        if flags & EXPIRES:
            self.expiring.add(name)
        if flags & EXTENDS:
            self.extended.add(name)
        if not self.first_deletion and flags & (CLEARED | HAS_TOMBSTONES):
            self.first_deletion = now
        if flags & (EXPIRES | ENTRY_TTLS):
            found = decode(row)
            ends = [entry[0] for entry in found.entries.values() if isinstance(entry, tuple)]
            if found.expires_at is not None:
                ends.append(found.expires_at)
            if self.first_expiry is not None:
                ends.append(self.first_expiry)
            self.first_expiry = min(ends, default=None)

    # --- reading

    def tombstones(self, stamp: int | None = None) -> Tombstones:
        """Return the range tombstones, as of a snapshot's stamp or of now."""
        state = self.states.get(TOMBSTONES)
        while state is not None and stamp is not None and state.stamp > stamp:
            state = state.prev
        return cast(TombstoneState, state).tombstones if state is not None else ()

    def find(
        self, name: Name, stamp: int | None = None, unpublished: States | None = None
    ) -> tuple[State | None, bool]:
        """Return an object's state as of ``stamp``, and whether this layer hides every older one.

        ``unpublished``: states of commits that are not visible yet, for a commit that follows them.

        No reader may see half of a batch that clears a range and writes into it. So a state counts
        only together with the tombstones that were in force when it was read.
        """
        states = self.states
        if unpublished:
            marks = unpublished.get(TOMBSTONES) or states.get(TOMBSTONES)
            state = unpublished.get(name) or states.get(name)
        elif stamp is None:
            while True:
                marks = states.get(TOMBSTONES)
                state = states.get(name)
                if states.get(TOMBSTONES) is marks:
                    break
        else:
            marks, state = states.get(TOMBSTONES), states.get(name)
            while marks is not None and marks.stamp > stamp:
                marks = marks.prev
            while state is not None and state.stamp > stamp:
                state = state.prev
        cover = 0
        if marks is not None:
            found = cast(TombstoneState, marks).tombstones
            cover = range_tombstones.covering(found, encode_object(*name))
        if state is None or state.stamp < cover:
            return None, cover > 0
        return state, cover > 0 or state.hides

    def rows(self) -> Iterator[tuple[bytes, tuple[bytes, ...]]]:
        """Yield encoded objects and their rows, in order. The memtable must be frozen."""
        with self._ordering():
            names = list(dict.fromkeys(self._take_in()))
        for name in names:
            state, _ = self.find(name)
            if state is not None:
                yield encode_object(*name), state.rows

    def names_from(self, start: Name, count: int) -> list[Name]:
        """Return up to ``count`` names from ``start`` on, in order.

        Some may have no visible state.
        """
        with self._ordering():
            return list(dict.fromkeys(islice(self._take_in().irange(start), count)))

    def names_before(self, stop: Name | None, count: int) -> list[Name]:
        """Return up to ``count`` names below ``stop``, in reverse order."""
        with self._ordering():
            ordered = self._take_in()
            names = ordered.irange(None, stop, (True, False), True)
            return list(dict.fromkeys(islice(names, count)))

    def count(self, start: Name, stop: Name | None) -> int:
        """Return how many names lie in ``[start, stop)``. Some may have no visible state."""
        with self._ordering():
            ordered = self._take_in()
            end = len(ordered) if stop is None else ordered.bisect_left(stop)
            return max(0, end - int(ordered.bisect_left(start)))

    def _ordering(self) -> Lock:
        """Return the lock of the ordered view. KVEngineError if this thread has it already."""
        if self._order_lock.mine():
            raise KVEngineError("called inside a walk, by a signal handler or a finalizer")
        return self._order_lock

    def _take_in(self) -> SortedList:
        """Return the ordered view, with all new names in it.

        Commits append to ``_fresh`` meanwhile, so that list must never be replaced.
        """
        count = len(self._fresh)
        if self._torn:  # an interrupt broke off an update: what the view contains is not known
            # New names too: a commit notes them before it publishes them.
            self._ordered = SortedList({*self.states, *self._fresh[:count]} - {TOMBSTONES})
            self._torn = False
        elif count:
            self._torn = True
            self._ordered.update(self._fresh[:count])
            self._torn = False
        del self._fresh[:count]
        return self._ordered


def _is_heavy(state: State) -> bool:
    """Return whether one of the rows of a state takes long to free."""
    below: State | None = state
    while below is not None:
        if len(below.row) > _HEAVY:
            return True
        below = below.below
    return False


def _unlink(state: State, prev: State, newest_snapshot: int, oldest_snapshot: int) -> None:
    """Let go of the states before ``state`` that no open snapshot can see, as `publish` does."""
    if newest_snapshot < prev.stamp:
        state.prev = prev.prev if newest_snapshot >= 0 else None
    elif oldest_snapshot >= prev.stamp:
        prev.prev = None


def states_of(changes: Sequence[Change], marks: TombstoneState | None) -> States:
    """Return the states of a commit, by name."""
    states: States = {change.name: change.state for change in changes}
    if marks is not None:
        states[TOMBSTONES] = marks
    return states


def _folded(stamp: int, row: bytes, current: State) -> State:
    """Return the state of a row over ``current``, with all rows that are not folded yet folded.

    Older rows are folded in too while they are not much larger. So a commit to an object of n
    entries costs O(log n) on average (the logarithmic method of Bentley and Saxe, 1980).
    """
    rows = (row, *current.rows)
    end = current.fresh + 1
    count = 0
    for fresh in rows[:end]:
        count += entry_count(fresh)
    while end < len(rows) and entry_count(rows[end]) <= count * _FOLD_RATIO:
        count += entry_count(rows[end])
        end += 1
    below: State | None = None
    for older in reversed(rows[end:]):  # anew, since the old states may have a long past
        below = state_of(stamp, older, below, 0, None)
    return state_of(stamp, fold(rows[:end]), below, 0, current)
