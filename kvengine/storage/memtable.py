"""The memtable: the newest layer, written by commits and read without a lock.

A commit stages new immutable states and publishes them by one ``dict.update``,
so a batch appears at once to readers in other threads. A state links to its
predecessor while an open snapshot can see it. Range tombstones live in the
same dict (under `TOMBSTONES`), so that they too appear with their batch; they
carry their stamp and reach states of smaller stamps, and every older layer.

Writing and reading sort nothing. The ordered view takes in new names when a
listing or scan asks for it.
"""

from __future__ import annotations

import threading
from itertools import islice
from typing import cast

from sortedcontainers import SortedList

from kvengine.storage import range_tombstones as tombstones
from kvengine.storage.names import Name, encode_object
from kvengine.storage.range_tombstones import Tombstones
from kvengine.storage.row import Resolved, Row, overlay_row

SMALL_ROW = 64
"""Entries up to which a commit copies a row; a larger one is a chain of deltas."""

TOMBSTONES = None
"""The key of the range tombstones among the states: no object's name."""


class State:
    """What this memtable says of an object as of one commit: rows, or the whole object.

    ``prev`` is the state before, while an open snapshot can see it. ``full`` is
    the object as all layers state it, where somebody has worked it out. What lies
    below a state changes only in that a compaction drops what has expired, so for
    reads of now it holds as long as the state does; a snapshot may not take it.
    A state made by `whole` keeps nothing but that.
    No ``__init__``, which takes as long as all the rest; and not a msgspec.Struct:
    a long chain of those overflows the C stack when freed.
    """

    __slots__ = ("_rows", "full", "prev", "version")
    _rows: tuple[Row, ...] | None
    version: int
    prev: State | None
    full: Resolved | None

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows, newest first. That of a whole object lets nothing older show through."""
        if self._rows is not None:
            return self._rows
        assert self.full is not None
        entries: dict[str, bytes | None] = self.full.entries  # type: ignore[assignment]
        return (Row(self.version, entries, True),)


def of_rows(
    rows: tuple[Row, ...], version: int, prev: State | None, full: Resolved | None
) -> State:
    """A state of rows; ``full`` where the whole object is known too."""
    state = State()
    state._rows = rows
    state.version = version
    state.prev = prev
    state.full = full
    return state


def whole(full: Resolved, prev: State | None) -> State:
    """The state of an object that is known in whole and of which nothing expires."""
    state = State()
    state._rows = None
    state.version = full.version
    state.prev = prev
    state.full = full
    return state


class TombstoneState(State):
    """All range tombstones of the memtable as of one commit."""

    __slots__ = ("tombstones",)

    def __init__(self, found: Tombstones, version: int, prev: State | None) -> None:
        self._rows = ()
        self.version = version
        self.prev = prev
        self.full = None
        self.tombstones = found


States = dict[Name | None, State]


class Memtable:
    """One layer in memory, backed by one WAL file.

    Only the committer writes, under its lock. ``extended`` names objects whose
    expiry some commit here extends; ``expiring``: some row here states an expiry;
    ``has_tombstones``: set before the first range tombstone is published;
    ``first_deletion``: when the first row, range or entry was cleared, 0 for none;
    ``first_expiry``: when the first of anything here expires; ``timed``: there is
    either, so time alone may bring work (``announced``: the lanes know). All are
    kept before the commit is visible, and never taken back. ``memo_bytes``: about
    what is remembered in `State.full`.
    """

    __slots__ = (
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
        "memo_bytes",
        "states",
        "timed",
        "wal",
    )

    def __init__(self, wal: int) -> None:
        self.wal = wal
        self.states: States = {}
        self.extended: set[Name] = set()
        self.expiring = False
        self.first_deletion = 0
        self.timed = False
        self.announced = False
        self.memo_bytes = 0
        self.first_expiry: int | None = None
        self.has_tombstones = False
        self._fresh: list[Name] = []
        self._ordered: SortedList = SortedList()
        self._order_lock = threading.Lock()
        self._torn = False

    def __len__(self) -> int:
        return len(self.states) - (TOMBSTONES in self.states)

    def publish(self, states: States, newest_snapshot: int = -1, oldest_snapshot: int = -1) -> None:
        """Make staged states visible at once; stamps of open snapshots, -1 for none open.

        States that no open snapshot can see are unlinked. New names are noted
        first: a listing that finds a name without a visible state passes it
        over. May be repeated after an interrupt (a name noted twice lists once).
        """
        mine = self.states
        for name, state in states.items():
            prev = state.prev
            if prev is None:
                if name is not None and name not in mine:
                    self._fresh.append(name)
            elif newest_snapshot < 0:
                state.prev = None
            elif newest_snapshot < prev.version:
                state.prev = prev.prev
            elif prev.version <= oldest_snapshot:
                prev.prev = None
        mine.update(states)

    def note(self, name: Name, row: Row, now: int) -> None:
        """Keep what a row states of expiry and deletion, before it is published."""
        self.timed = True
        if row.expires_at is not None:
            self.expiring = True
        if row.extends:
            self.extended.add(name)
        if not self.first_deletion and (row.cleared or None in row.entries.values()):
            self.first_deletion = now
        ends = [*(row.ttls or {}).values(), *([row.expires_at] if row.expires_at else [])]
        if ends:
            self.first_expiry = min([*ends, *([self.first_expiry] if self.first_expiry else [])])

    def tombstones(self, stamp: int | None = None) -> Tombstones:
        """The range tombstones, as of a snapshot's stamp or of now."""
        state = self.states.get(TOMBSTONES)
        while state is not None and stamp is not None and state.version > stamp:
            state = state.prev
        return cast(TombstoneState, state).tombstones if state is not None else ()

    def find(self, name: Name, stamp: int | None = None) -> tuple[State | None, bool]:
        """An object's state as of ``stamp``, and whether it hides every older layer.

        A batch that clears a range and writes into it must not be seen by half: a
        state counts only with the tombstones that were in force when it was read.
        """
        states = self.states
        if stamp is None:
            while True:
                marks = states.get(TOMBSTONES)
                state = states.get(name)
                if states.get(TOMBSTONES) is marks:
                    break
            found = cast(TombstoneState, marks).tombstones if marks is not None else ()
        else:
            found = self.tombstones(stamp)
            state = states.get(name)
            while state is not None and state.version > stamp:
                state = state.prev
        cover = tombstones.covering(found, encode_object(*name)) if found else 0
        if state is None or state.version < cover:
            return None, cover > 0
        return state, cover > 0 or state.rows[-1].cleared

    def find_staged(self, name: Name, staged: States) -> tuple[State | None, bool]:
        """`find` as it will be once ``staged`` is published. For the committer."""
        marks = staged.get(TOMBSTONES) or self.states.get(TOMBSTONES)
        cover = 0
        if marks is not None:
            found = cast(TombstoneState, marks).tombstones
            cover = tombstones.covering(found, encode_object(*name))
        state = staged.get(name) or self.states.get(name)
        if state is None or state.version < cover:
            return None, cover > 0
        return state, cover > 0 or state.rows[-1].cleared

    def names_from(self, start: Name, count: int) -> list[Name]:
        """Up to ``count`` names from ``start`` on, in order. Some may have no visible state."""
        with self._order_lock:
            return list(dict.fromkeys(islice(self._take_in().irange(start), count)))

    def names_before(self, stop: Name | None, count: int) -> list[Name]:
        """Up to ``count`` names below ``stop``, in reverse order."""
        with self._order_lock:
            ordered = self._take_in()
            names = ordered.irange(None, stop, (True, False), True)
            return list(dict.fromkeys(islice(names, count)))

    def count(self, start: Name, stop: Name | None) -> int:
        """How many names lie in ``[start, stop)``. Some may have no visible state."""
        with self._order_lock:
            ordered = self._take_in()
            end = len(ordered) if stop is None else ordered.bisect_left(stop)
            return max(0, end - int(ordered.bisect_left(start)))

    def _take_in(self) -> SortedList:
        """The ordered view with all new names. Commits append meanwhile: never swap the list."""
        count = len(self._fresh)
        if self._torn:  # an interrupt broke off an update: what the view holds is not known
            self._ordered = SortedList(name for name in list(self.states) if name is not TOMBSTONES)
            self._torn = False
        elif count:
            self._torn = True
            self._ordered.update(self._fresh[:count])
            self._torn = False
        del self._fresh[:count]
        return self._ordered


def successor(current: State | None, row: Row) -> tuple[Row, ...]:
    """The rows of a state after one more commit.

    A small row is copied and overlaid. A large one becomes a chain whose parts
    double in size, so that a commit to an object of n entries costs O(log n),
    not O(n) (the logarithmic method of Bentley and Saxe).
    """
    if current is None or row.cleared:
        return (row,)
    rows = current.rows
    if len(rows[0].entries) > SMALL_ROW:
        rows = (row, *rows)
    else:
        rows = (overlay_row(row, rows[0]), *rows[1:])
    while len(rows) > 1 and len(rows[0].entries) * 2 >= len(rows[1].entries):
        rows = (overlay_row(rows[0], rows[1]), *rows[2:])
    return rows
