"""The listing verbs: services, object_keys, scan. Order, bounds, and one moment for each walk."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice, product

import pytest

import kvengine

Settle = Callable[[kvengine.Engine], kvengine.Engine]

KEYS = [
    "",
    "\0",
    "\0\x01",
    "a",
    "a\0",
    "ab",
    "b",
    "ba",
    "bb",
    "b\U0001f600",
    "c",
    "é",
    "\uffff",
    "\U0001f600",
]


def fill(db: kvengine.Engine) -> None:
    for key in reversed(KEYS):
        db.set("s", key, "n", key.encode())
    db.set("r", "z", "n", b"")
    db.set("s\0", "", "n", b"")
    db.set("t", "", "n", b"")


@pytest.mark.parametrize("reverse", [False, True])
def test_object_keys_by_every_bound(db: kvengine.Engine, settle: Settle, reverse: bool) -> None:
    """prefix, start, stop, reverse and limit together answer what a sorted list would.

    `scan` had a prefix only, so that a page of objects was read by listing keys and loading each.
    """
    fill(db)
    db = settle(db)
    db.clear_all("s", "ba")
    db.set("s", "new", "n", b"")
    live = sorted({*KEYS, "new"} - {"ba"}, key=str.encode, reverse=reverse)
    starts = [None, "", "a", "aa", "ba", "b\uffff", "é", "\U0010ffff"]
    stops = [None, "", "ab", "b", "\U0010ffff"]
    prefixes = ["", "a", "b", "\0", "x"]
    for prefix, start, stop, limit in product(prefixes, starts, stops, [None, 0, 1, 3]):
        expected = [
            key
            for key in live
            if key.startswith(prefix)
            and (start is None or (key <= start if reverse else key >= start))
            and (stop is None or (key > stop if reverse else key < stop))
        ][:limit]
        bounds = {"prefix": prefix, "start": start, "stop": stop, "limit": limit}
        found = db.object_keys("s", reverse=reverse, **bounds)
        assert list(found) == expected, bounds
        objects = list(db.scan("s", reverse=reverse, **bounds))
        assert [one.key for one in objects] == expected, bounds
        assert all(one == db.load("s", one.key) for one in objects)


def test_services_are_those_with_a_live_object(
    db: kvengine.Engine, settle: Settle, clock: kvengine.storage.clock.ManualClock
) -> None:
    """In order; one whose last object was cleared or has expired is not among them."""
    fill(db)
    db.set("expired", "k", "n", b"")
    db.expire("expired", "k", ttl=5)
    db.set("ttl", "k", "n", b"", ttl=5)
    db.set("", "", "", b"")
    db = settle(db)
    db.clear_service("t")
    assert db.services() == ["", "expired", "r", "s", "s\0", "ttl"]
    clock.advance(6)
    assert db.services() == ["", "r", "s", "s\0"]
    assert list(db.object_keys("expired")) == [] == list(db.scan("ttl"))


def test_scan_gives_every_object_in_order(db: kvengine.Engine, settle: Settle) -> None:
    """Of all services, of one, of a prefix of the key; with version, expiry and entries."""
    fill(db)
    db.expire("s", "b", at=1_900_000_000)
    db = settle(db)
    db.set("s", "b", "m", b"2")
    everything = list(db.scan())
    assert [(one.service, one.key) for one in everything] == [
        ("r", "z"),
        *(("s", key) for key in sorted(KEYS, key=str.encode)),
        ("s\0", ""),
        ("t", ""),
    ]
    for one in everything:
        assert one == db.load(one.service, one.key)
    assert [one.key for one in db.scan("s", prefix="b")] == ["b", "ba", "bb", "b\U0001f600"]
    assert next(one.entries for one in db.scan("s", prefix="b")) == {"m": b"2", "n": b"b"}
    backward = list(db.scan(reverse=True))
    assert backward == everything[::-1] and list(db.scan(limit=3)) == everything[:3]
    assert list(db.scan(reverse=True, limit=2)) == backward[:2]
    assert list(db.scan("absent")) == []
    assert list(db.scan("s", prefix="zz")) == []


def test_a_walk_is_of_one_moment(db: kvengine.Engine, settle: Settle) -> None:
    """Writes, flushes and compactions during a walk are not seen by it, and it by none of them."""
    for number in range(300):
        db.set("s", f"{number:03}", "n", b"before")
    db = settle(db)
    keys = db.object_keys("s")
    backward = db.object_keys("s", reverse=True)
    objects = db.scan("s")
    assert next(keys) == "000" and next(backward) == "299"
    assert next(objects).entries == {"n": b"before"}
    db.clear_range("s", "100", "200")
    db.set("s", "250", "n", b"after")
    db.set("s", "000a", "n", b"after")
    db.flush()
    db.clear_service("s")
    db.compact()
    assert list(keys) == [f"{number:03}" for number in range(1, 300)]
    assert list(backward) == [f"{number:03}" for number in range(298, -1, -1)]
    assert all(one.entries == {"n": b"before"} for one in objects)
    assert list(db.object_keys("s")) == []


def test_a_walk_begins_when_it_is_asked_for(db: kvengine.Engine) -> None:
    """Its moment is that of the call, not of the first step."""
    db.set("s", "a", "n", b"1")
    keys, objects = db.object_keys("s"), db.scan("s")
    db.set("s", "b", "n", b"1")
    assert list(keys) == ["a"]
    assert [one.key for one in objects] == ["a"]


def test_a_walk_gives_back_what_it_holds(db: kvengine.Engine) -> None:
    """Walked to its end, closed early, never begun, or dropped: no snapshot stays open."""
    for number in range(5):
        db.set("s", f"{number}", "n", b"")
    list(db.object_keys("s"))
    list(db.scan())
    db.services()
    part = db.object_keys("s", limit=2)
    list(part)
    never = db.scan()
    del never
    dropped = db.scan()
    next(dropped)
    del dropped, part
    with db.snapshot() as snapshot:
        list(snapshot.scan())
        assert len(list(islice(snapshot.object_keys("s"), 2))) == 2
        assert db.stats().open_snapshots == 1
    assert db.stats().open_snapshots == 0


@pytest.mark.parametrize("reverse", [False, True])
def test_a_limited_walk_reads_only_what_it_returns(db: kvengine.Engine, reverse: bool) -> None:
    """The first keys of a large service cost a block or two, wherever the walk starts."""
    from tests.api.test_reads import count_reads

    for number in range(3000):
        db.set("s", f"{number:04}", "n", b"x" * 50)
    db.compact()
    reads = count_reads(db)
    found = list(db.object_keys("s", start="1500", reverse=reverse, limit=3))
    assert found == (["1500", "1499", "1498"] if reverse else ["1500", "1501", "1502"])
    assert 0 < len(reads) <= 4
    reads.clear()
    assert next(db.scan("s", prefix="29")).key == "2900"
    assert 0 < len(reads) <= 4


def test_a_limit_reads_no_more_than_it_gives(db: kvengine.Engine) -> None:
    """The newest ten of a prefix are one call, and it does not read all that comes after them."""
    for number in range(2000):
        db.set("s", f"run/{number:05}", "n", bytes(100))
    db.compact()
    db.set("s", "run/00003", "n", b"changed")
    newest = [one.key for one in db.scan("s", prefix="run/", reverse=True, limit=10)]
    assert newest == [f"run/{number:05}" for number in range(1999, 1989, -1)]
    assert db.stats().cache_bytes < 20_000
    assert db.stats().open_snapshots == 0, "a walk that gave its limit holds no moment"


def test_count_is_exact(
    db: kvengine.Engine, settle: Settle, clock: kvengine.storage.clock.ManualClock
) -> None:
    """Of live objects: what was cleared or has expired does not count."""
    fill(db)
    db.set("s", "brief", "n", b"", ttl=5)
    db = settle(db)
    db.clear_all("s", "a")
    assert db.count("s") == len(KEYS) and db.count("s", prefix="b") == 5
    clock.advance(6)
    assert db.count("s") == len(KEYS) - 1 and db.count("s", prefix="b") == 4
    assert db.count("none") == 0
