"""Rows to memtable states: what a commit, or its replay, will make visible."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kvengine.storage import range_tombstones as tombstones
from kvengine.storage.memtable import (
    TOMBSTONES,
    Memtable,
    State,
    States,
    TombstoneState,
    of_rows,
    successor,
    whole,
)
from kvengine.storage.names import Name, encode_object
from kvengine.storage.row import Resolved, Row

Whole = Callable[[Name, Row, State | None], Resolved | None]
"""The whole object after a row, given the state it is laid over; None where not known."""


def stage(
    memtable: Memtable,
    staged: States,
    rows: Sequence[tuple[Name, Row]],
    ranges: Sequence[tuple[bytes, bytes]],
    stamp: int,
    now: int,
    known: Whole | None = None,
) -> States:
    """The states that a commit at ``now`` makes of the newest ones, published or ``staged``.

    A range tombstone leaves states of smaller stamps as they are: they are
    covered by it, and what a later row is laid over is then nothing.
    """
    states: States = {}
    marks = None
    if ranges or memtable.has_tombstones or TOMBSTONES in staged or TOMBSTONES in memtable.states:
        before = staged.get(TOMBSTONES) or memtable.states.get(TOMBSTONES)
        marks = before.tombstones if isinstance(before, TombstoneState) else ()
        for start, stop in ranges:
            marks = tombstones.add(marks, start, stop, stamp)
        if ranges:
            memtable.first_deletion = memtable.first_deletion or now
            memtable.timed = True
            memtable.has_tombstones = True
            states[TOMBSTONES] = TombstoneState(marks, stamp, before)
    for name, row in rows:
        current = staged.get(name) or memtable.states.get(name)
        cover = tombstones.covering(marks, encode_object(*name)) if marks else 0
        base = None if current is not None and current.version < cover else current
        full = None
        if known is not None and not cover and not row.cleared:
            full = known(name, row, base)
        if full is not None and full.soonest is None:
            states[name] = whole(full, current)
        else:
            states[name] = of_rows(successor(base, row), stamp, current, full)
        if (
            row.expires_at is not None
            or row.ttls
            or row.cleared
            or row.extends
            or None in row.entries.values()
        ):
            memtable.note(name, row, now)
    return states
