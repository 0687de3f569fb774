"""A wrong clock over several short lives, and options that cannot work together."""

from __future__ import annotations

import pytest

import kvengine
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage.clock import ManualClock

START = 1_700_000_000.0
DAY = 86_400.0
YEARS = 3650 * DAY


def life(disk: MemoryFileSystem, now: float, seconds: float = 0.0) -> None:
    """Open, write and rewrite what there is under a clock, stay open for a while, close."""
    clock = ManualClock(now)
    with kvengine.open("db", fs=disk, clock=clock, background="none") as db:
        clock.advance(seconds)
        db.set("other", "k", "n", b"1")
        db.flush()
        db.compact()


@pytest.mark.parametrize("lives", [2, 3, 5])
def test_short_lives_under_a_wrong_clock(lives: int) -> None:
    """State outlives any number of short opens under a clock that is years ahead.

    The first life doubted its clock and dropped nothing, but stated its time as
    known when it closed. The second found nothing to doubt, and wiped for good
    what was to be kept for another day. A clock that is right is believed in
    time: what has expired goes once the database has been open for the grace.
    """
    disk = MemoryFileSystem()
    clock = ManualClock(START)
    with kvengine.open("db", fs=disk, clock=clock, background="none") as db:
        db.set("s", "k", "n", b"1" * 5000)
        db.expire("s", "k", ttl=DAY)
        db.flush()
    for n in range(lives):
        life(disk, START + YEARS + n)
    with kvengine.open("db", fs=disk, clock=ManualClock(START + 5), background="none") as db:
        assert db.get("s", "k", "n") == b"1" * 5000
    for n in range(lives):
        life(disk, START + YEARS + 1000 * (n + 1), seconds=100)
    with kvengine.open("db", fs=disk, clock=clock, background="none") as db:
        assert sum(level.bytes for level in db.stats().levels) < 5000


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"l0_compact": 30, "l0_slow": 4, "l0_stop": 5}, "l0_compact"),
        ({"l0_compact": 21}, "l0_compact"),
        ({"level_ratio": 1}, "level_ratio"),
    ],
)
def test_options_that_cannot_work(options: dict[str, int], named: str) -> None:
    """Options with which work would never end, or never begin, are refused by name at open.

    Writers waited for a compaction that was due only at more segments than stop
    writers; levels that grow by a ratio of one were searched for one large enough, for ever.
    """
    disk = MemoryFileSystem()
    with pytest.raises(ValueError, match=named):
        kvengine.open("db", fs=disk, background="none", **options).close()
    assert not disk.exists("db")
