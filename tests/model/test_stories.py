"""Differences that the model test found, each cut down to its story."""

from __future__ import annotations

from typing import Any

import pytest

import kvengine
from kvengine.fs import MemoryFileSystem
from kvengine.storage.clock import SECOND, ManualClock
from kvengine.storage.compaction import picker
from tests.model.world import PATH

OPTIONS: dict[str, Any] = {"background": "none", "durability": "os", "expiry_grace": 0}


class Place:
    """A database that can be opened again under another clock."""

    def __init__(self, **options: Any) -> None:
        self.options = {**OPTIONS, **options}
        self.fs = MemoryFileSystem()
        self.clock = ManualClock()
        self.db = self.open()

    def open(self) -> kvengine.Engine:
        return kvengine.open(PATH, fs=self.fs, clock=self.clock, **self.options)

    def kill(self, jump: float) -> None:
        image = self.fs.copy()
        self.db.close()
        self.fs = image
        self.clock.step(jump)
        self.db = self.open()

    def now(self) -> int:
        return self.db._db.clock.now()


@pytest.mark.parametrize(
    ("service", "prefix"),
    [
        ("a\0b", ""),
        ("a\0", ""),
        ("a", "\x7f"),
        ("a", "\u00bf"),
        ("a", "x\U0010ffff"),
        ("a", "\ud7bf"),
        ("a", "\ud7ff"),
    ],
)
def test_listings_in_reverse_of_names_whose_range_ends_in_no_name(
    service: str, prefix: str
) -> None:
    """A reverse listing of a memtable began at the name that decodes from the end of the range.

    Where the service held a NUL, or the prefix ended in the last byte of its
    kind, that end is no name; the walk began too low and listed nothing.
    """
    place = Place()
    keys = [prefix + "1", prefix + "2"]
    for key in keys:
        place.db.set(service, key, "n", b"")
    place.db.set(service + "\0", "x", "n", b"")
    place.db.set(service, chr(ord(prefix[-1:] or "0") - 1), "n", b"")
    found = list(place.db.object_keys(service, prefix=prefix, reverse=True, limit=2))
    assert found[-len(keys) :] == keys[::-1] if prefix else keys[1] in found
    forward = list(place.db.object_keys(service, prefix=prefix))
    assert list(place.db.object_keys(service, prefix=prefix, reverse=True)) == forward[::-1]
    assert set(keys) <= set(forward)


@pytest.mark.parametrize("dead", ["clean close", "kill"])
def test_now_is_held_at_the_last_time_and_not_at_the_largest(dead: str) -> None:
    """Once the clock had been wrong by hours, no later small step back was waited for.

    The largest time ever committed at was taken for the last one; being far
    ahead it was not believed, and nothing else was known. So an object that
    expired after the wrong reading came back at a small step (P9).
    """
    place = Place()
    place.db.set("a", "1", "n", b"v")
    place.db.flush()
    place.db.set("a", "1", "n", b"w")
    place.kill(-3600)
    place.db.set("a", "2", "n", b"v")
    place.db.expire("a", "2", ttl=1)
    place.clock.advance(2)
    assert place.db.get("a", "2", "n") is None
    place.db.set("a", "3", "n", b"v")
    before = place.now()
    if dead == "clean close":
        place.db.flush()  # no WAL knows a time any more
        place.db.close()
        place.clock.step(-10)
        place.db = place.open()
    else:
        place.kill(-10)
    assert place.now() == before
    assert place.db.get("a", "2", "n") is None


def test_a_time_far_ahead_does_not_drag_now_along() -> None:
    """Retention goes on after one wrong reading of years ahead, and stamps go on growing."""
    place = Place()
    place.clock.step(1e8)
    place.db.close()
    place.db = place.open()
    far = place.db.set("a", "1", "n", b"v")
    place.kill(-1e8)
    assert place.now() == place.clock.wall()
    assert far - place.now() > 10_000 * SECOND
    assert place.db.set("a", "1", "n", b"w") == far + 1


@pytest.mark.parametrize("drop", ["whole segment", "compaction"])
def test_a_write_to_what_compaction_dropped_starts_anew(drop: str) -> None:
    """An expired object came back when written to after its segment had gone.

    The cache still held it, expiry and all; but no layer stated an expiry any
    more, so the commit looked nothing up and did not clear it, and a read laid
    the new row over the old object.
    """
    place = Place(tombstone_age=0)
    place.db.set("a", "1", "old", b"v")
    place.db.expire("a", "1", ttl=1)
    if drop == "compaction":
        place.db.set("a", "2", "n", b"stays")
    place.db.flush()
    assert place.db.get_all("a", "1") == {"old": b"v"}
    place.clock.advance(2)
    place.db.compact()
    if drop == "whole segment":
        assert not place.db.stats().segments
    place.db.set("a", "1", "new", b"w")
    assert place.db.get_all("a", "1") == {"new": b"w"}


def test_expired_data_that_must_stay_does_not_compact_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A segment half of which had expired was rewritten again and again.

    A newer layer extended the expiry, so nothing could be dropped: each
    rewrite left a segment that called for the next.
    """
    place = Place()
    for key in "12":
        place.db.set("a", key, "n", b"v" * 100)
        place.db.expire("a", key, ttl=1)
    place.db.set("a", "3", "n", b"v")
    place.db.compact()
    for key in "12":
        place.db.expire("a", key, ttl=100)
    place.clock.advance(2)
    inner, picks = picker.pick, []

    def counted(*arguments: Any) -> Any:
        picks.append(inner(*arguments))
        assert len(picks) < 10, f"still {picks[-1]}"
        return picks[-1]

    monkeypatch.setattr(picker, "pick", counted)
    place.db._scheduler.wake()
    assert not place.db.stats().last_background_error
    assert 0 < len(picks) < 10
    assert place.db.get("a", "1", "n") == b"v" * 100
