"""The lines of the table: number, name, and the ratio that each has to reach.

A benchmark belongs to a line by its group, which is the line's name. The ratio is the figure of the
best peer by that of kvengine. Groups without a line are printed below, without number and bar.
Lines 14 to 19 are those of `make bench-full`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from benchmarks.workload import LARGE_ENTRIES, TASKS, THREADS

_NONE: Mapping[str, float] = MappingProxyType({})


class Unit(NamedTuple):
    """Of the figures of a line: what is printed behind its name, and how many make one."""

    name: str
    scale: float


MICROSECONDS = Unit("", 1e6)
MILLISECONDS = Unit("ms", 1e3)
SECONDS = Unit("s", 1)
TIMES = Unit("times", 1)


class Line(NamedTuple):
    """One line of the table.

    ``bar`` is the ratio to reach against the best peer, ``bars`` those against peers by name, and
    ``at_most`` what kvengine's own figure must not exceed. The ratio is also printed without the
    peer ``apart``, whose way of doing it no other peer has; the bar is then for the others.
    ``against``: the line whose peers' times count, where peers have nothing of the kind.
    """

    number: int
    name: str
    bar: float | None = None
    bars: Mapping[str, float] = _NONE
    apart: str | None = None
    against: str | None = None
    at_most: float | None = None
    unit: Unit = MICROSECONDS


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
GET_UNREAD_MAPPED = f"{GET_UNREAD}, mapped_reads"
GET_ZIPF = "get, zipf 0.99, cache a tenth"
GET_UNIFORM = "get, uniform, cache a tenth"
GET_UNIFORM_MAPPED = f"{GET_UNIFORM}, mapped_reads"
LOAD = "load in random order until quiet, per entry"
SPACE_BACK = "workflows expire, until their space is back"
READS_MEANWHILE = "get while they expire, by get before"
OPEN_CLEAN = "open after the load of line 14"
OPEN_KILLED = "open after kill -9, 64 MB of WAL"
GET_TAIL = "p99.9 of get beside compaction"
COMMIT_TAIL = "p99.9 of commit of 3 beside compaction"
GET_TAIL_GROWTH = f"{GET_TAIL}, by without"
COMMIT_TAIL_GROWTH = f"{COMMIT_TAIL}, by without"
WRITTEN = "bytes written in line 14 by bytes of data"
SPACE = "bytes of files after it by bytes of data"
YCSB = {
    "A": "YCSB A: half reads, half updates",
    "B": "YCSB B: 95% reads, 5% updates",
    "C": "YCSB C: reads",
    "D": "YCSB D: 95% reads of the latest, 5% inserts",
    "E": "YCSB E: 95% scans of 1-100, 5% inserts",
    "F": "YCSB F: half reads, half read-modify-writes",
}
YCSB_BAR = 1.3
NOISE = 1.05  # where a figure must not grow at all

LINES = (
    Line(1, GET_IN_USE, 3),
    Line(1, GET_ALL_IN_USE, 15),
    Line(1, STATE_KEYS_IN_USE, 12),
    Line(2, GET_UNREAD, 1.1),
    Line(2, GET_UNREAD_MAPPED, 1.4, against=GET_UNREAD),
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
    Line(13, GET_ZIPF, 1),
    Line(13, GET_UNIFORM, 0.85),
    Line(13, GET_UNIFORM_MAPPED, 1.2, against=GET_UNIFORM),
    Line(14, LOAD, 1.1),
    Line(15, SPACE_BACK, bars={"SQLite": 10}, unit=SECONDS),
    Line(15, READS_MEANWHILE, at_most=NOISE, unit=TIMES),
    Line(16, OPEN_CLEAN, at_most=50, unit=MILLISECONDS),
    Line(16, OPEN_KILLED, bars={"LevelDB": 1.5}, unit=MILLISECONDS),
    Line(17, GET_TAIL, bars={"RocksDB": 0.9}),
    Line(17, GET_TAIL_GROWTH, at_most=2, unit=TIMES),
    Line(17, COMMIT_TAIL, bars={"RocksDB": 0.9}),
    Line(17, COMMIT_TAIL_GROWTH, at_most=2, unit=TIMES),
    Line(18, WRITTEN, bars={"RocksDB": 1}, unit=TIMES),
    Line(18, SPACE, bars={"RocksDB": 1}, unit=TIMES),
    *(Line(19, name, YCSB_BAR) for name in YCSB.values()),
)

BY_NAME = {line.name: line for line in LINES}
