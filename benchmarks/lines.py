"""The lines of the table: number, name, and the ratio that each has to reach.

A benchmark belongs to a line by its group, which is the line's name. The ratio is the time of the
best peer by that of kvengine. Groups without a line are printed below, without number and bar.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from benchmarks.workload import LARGE_ENTRIES, TASKS, THREADS

_NONE: Mapping[str, float] = MappingProxyType({})


class Line(NamedTuple):
    """One line of the table.

    ``bar`` is the ratio to reach against the best peer, ``bars`` those against peers by name. The
    ratio is also printed without the peer ``apart``, whose way of doing it no other peer has.
    ``against``: the line whose peers' times count, where peers have nothing of the kind.
    """

    number: int
    name: str
    bar: float | None = None
    bars: Mapping[str, float] = _NONE
    apart: str | None = None
    against: str | None = None


def _expiring(of: str, bar: float) -> Line:
    """Return the line of the same where some objects expire, which may cost a tenth."""
    return Line(12, f"{of}{SOME_EXPIRE}", round(0.9 * bar, 2), against=of)


SOME_EXPIRE = ", 1 in 100 expires"
GET_IN_USE = "get, object in use"
GET_ALL_IN_USE = "get_all, object in use"
STATE_KEYS_IN_USE = "state_keys, object in use"
GET_UNREAD = "get, block not read before"
GET_ALL_UNREAD = "get_all, block not read before"
GET_MISSING_OBJECT = "get, missing object, cold"
GET_MISSING_KEY = "get, missing key, cold"
SCAN_COMPACTED = "scan, per entry, compacted"
SCAN_LOADED = "scan, per entry, after load"
SET = "set of one key, any object"
COMMIT_OF_3 = "commit of 3 keys, any object"
COMMIT_OF_10 = "commit of 10 keys, any object"
COMMIT_SYNCED = "commit of 3 keys, synced"
COMMIT_THREADS = f"commit of 3 keys, synced, {THREADS} threads"
COMMIT_TASKS = f"{TASKS} asyncio tasks, peers' {THREADS} threads"
CLEAR_ALL = "clear_all of 10 keys"
CLEAR_ALL_LARGE = f"clear_all of {LARGE_ENTRIES:,} keys"
SESSION_EAGER = "eager session, 10 keys, 1 change"
SESSION_TYPED = "typed session, 1 field of 10 used"
SESSION_LAZY = "lazy session, 1 read, 1 change"

LINES = (
    Line(1, GET_IN_USE, 3),
    Line(1, GET_ALL_IN_USE, 15),
    Line(1, STATE_KEYS_IN_USE, 12),
    Line(2, GET_UNREAD, 1.1),
    Line(3, GET_ALL_UNREAD, 2.5),
    Line(4, GET_MISSING_OBJECT, 2),
    Line(4, GET_MISSING_KEY, 2),
    Line(5, SCAN_COMPACTED, 2),
    Line(5, SCAN_LOADED, 1.5),
    Line(6, SET, 1.7),
    Line(7, COMMIT_OF_3, 1.8),
    Line(7, COMMIT_OF_10, 1.6),
    Line(8, COMMIT_SYNCED, 1.2),
    Line(9, COMMIT_THREADS, bars={"LevelDB": 1.1, "RocksDB": 4}),
    Line(9, COMMIT_TASKS, 2),
    Line(10, CLEAR_ALL, 3),
    Line(10, CLEAR_ALL_LARGE, 1_000, apart="RocksDB"),
    Line(11, SESSION_EAGER, 2),
    Line(11, SESSION_TYPED, 1.2),
    Line(11, SESSION_LAZY, 0.95),
    _expiring(GET_IN_USE, 3),
    _expiring(GET_UNREAD, 1.1),
    _expiring(SET, 1.7),
    _expiring(COMMIT_OF_3, 1.8),
    _expiring(COMMIT_OF_10, 1.6),
)
