"""Huge rows: a segment of its own, which compactions leave alone unless they bring it something."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import kvengine
from kvengine.fs import MemoryFileSystem
from kvengine.storage.clock import ManualClock
from tests.rules.place import opened

HUGE = b"h" * 5000
KEYS = [f"{number:02}" for number in range(20)]


def grown(fs: MemoryFileSystem, clock: ManualClock) -> kvengine.Engine:
    """Return a database of one huge value among small ones, compacted."""
    db = opened(fs, clock, segment_size=4000, level_base=1)
    for key in KEYS:
        db.set("s", key, "n", b"old" * 40)
    db.set("s", "10", "n", HUGE)
    db.compact()
    return db


def huge_segment(db: kvengine.Engine) -> kvengine.SegmentStats:
    (found,) = (each for each in db.segments() if each.size > len(HUGE))
    return found


def test_neighbours_are_compacted_around_it(fs: MemoryFileSystem, clock: ManualClock) -> None:
    """Each compaction of all objects beside it leaves the file of the huge value as it is."""
    with grown(fs, clock) as db:
        before = huge_segment(db)
        assert before.objects == 1
        for value in (b"1", b"2", b"3"):
            for key in KEYS:
                if key != "10":
                    db.set("s", key, "n", value)
            written = db._db.counters.compacted_bytes
            db.compact()
            assert db._db.counters.compacted_bytes - written < len(HUGE)
            assert huge_segment(db).number == before.number
        assert [db.get("s", key, "n") for key in KEYS] == [
            HUGE if key == "10" else b"3" for key in KEYS
        ]
        db.verify()
    with opened(fs, clock) as db:
        assert len(list(db.scan())) == len(KEYS) and db.get("s", "10", "n") == HUGE


def test_it_moves_to_a_deeper_level_unread(fs: MemoryFileSystem, clock: ManualClock) -> None:
    """Not even a segment beneath that spans its object makes a compaction write it again."""
    with opened(fs, clock, segment_size=4000, level_base=1) as db:
        for key in KEYS:
            if key != "10":
                db.set("s", key, "n", b"x")
        db.compact()
        db.set("s", "10", "n", HUGE)
        db.flush()
        before = huge_segment(db)
        assert before.level == 0
        db.compact()
        after = huge_segment(db)
        assert after.number == before.number and after.level > 0
        assert list(db.object_keys("s")) == KEYS and db.get("s", "10", "n") == HUGE
        db.verify()


CHANGES: dict[str, Callable[[kvengine.Engine], object]] = {
    "its object is cleared": lambda db: db.clear_all("s", "10"),
    "its entry is cleared": lambda db: db.clear("s", "10", "n"),
    "its range is cleared": lambda db: db.clear_range("s", "05", "15"),
    "it is replaced": lambda db: db.set("s", "10", "n", b"small"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_changes_its_object_is_compacted_into_it(
    fs: MemoryFileSystem, clock: ManualClock, change: Callable[[kvengine.Engine], object]
) -> None:
    """The space of the old value comes back, and nothing of it does."""
    with grown(fs, clock) as db:
        number = huge_segment(db).number
        change(db)
        expected = db.get("s", "10", "n")
        db.compact()
        assert number not in {each.number for each in db.segments()}
        assert db.get("s", "10", "n") == expected != HUGE
        assert sum(each.size for each in db.segments()) < len(HUGE)


def test_an_expired_one_goes(fs: MemoryFileSystem, clock: ManualClock) -> None:
    """A huge value past its expiry is no longer left alone: the next compaction drops it."""
    with grown(fs, clock) as db:
        db.set("s", "10", "n", HUGE, ttl=10)
        db.compact()
        number = huge_segment(db).number
        clock.advance(11)
        db.compact()
        assert number not in {each.number for each in db.segments()}
        assert db.get("s", "10", "n") is None
