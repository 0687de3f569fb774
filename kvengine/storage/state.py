"""States: what a memtable says of an object as of one commit, linked to what it said before.

Beside this stands a compiled twin, which frees a long chain of states link by link: the types of a
`.pxd` cannot ask for that.
"""

from __future__ import annotations

from kvengine.storage.range_tombstones import Tombstones


class State:
    """What this memtable says of an object as of one commit. Immutable but for ``prev``.

    ``rows``: encoded, newest first; none follows one that is cleared. ``fresh``: how many of the
    first have not been folded. ``stamp``: of the newest commit. ``prev``: the state before, while
    an open snapshot can see it. Each state is complete: reads of now never follow ``prev``.
    """

    __slots__ = ("fresh", "prev", "rows", "stamp")

    def __init__(self, stamp: int, rows: tuple[bytes, ...], fresh: int, prev: State | None) -> None:
        self.stamp = stamp
        self.rows = rows
        self.fresh = fresh
        self.prev = prev


class TombstoneState(State):
    """All range tombstones of the memtable as of one commit."""

    __slots__ = ("tombstones",)

    def __init__(self, found: Tombstones, stamp: int, prev: State | None) -> None:
        super().__init__(stamp, (), 0, prev)
        self.tombstones = found
