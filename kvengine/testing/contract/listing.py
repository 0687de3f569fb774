"""Listings and scans: order, bounds, pages, and one moment for each walk."""

from __future__ import annotations

from itertools import product

import pytest

from kvengine.objects.store import Store
from kvengine.testing.contract.home import FUTURE, NAMES, Home, by_bytes, keys, walked

KEYS = (*NAMES, "ba", "bb", "b\U0001f600")


def fill(store: Store) -> None:
    """Set an object of each of `KEYS`, and some in services that sort beside theirs."""
    with store.batch() as batch:
        for key in reversed(KEYS):
            batch.set("s", key, "n", key.encode())
        for service, key in (("r", "z"), ("s\0", ""), ("t", "")):
            batch.set(service, key, "n", b"")


class Listing(Home):
    """services, object_keys, scan, count."""

    @pytest.mark.parametrize("reverse", [False, True])
    def test_walks_by_every_bound(self, store: Store, reverse: bool) -> None:
        """prefix, start, stop and limit, in each combination, answer as a sorted list would."""
        fill(store)
        store.clear_all("s", "ba")
        store.set("s", "new", "n", b"")
        live = {*KEYS, "new"} - {"ba"}
        objects = store.load_many("s", live)
        starts = (None, "", "aa", "ba", "b\uffff", "\U0010ffff")
        stops = (None, "", "ab", "b\U0001f600")
        for prefix, start, stop, limit in product(
            ("", "b", "\0", "x"), starts, stops, (None, 0, 2)
        ):
            bounds = {"prefix": prefix, "start": start, "stop": stop, "limit": limit}
            expected = walked(live, reverse=reverse, **bounds)  # type: ignore[arg-type]
            found = store.object_keys("s", reverse=reverse, **bounds)  # type: ignore[arg-type]
            assert list(found) == expected, bounds
            scanned = store.scan("s", reverse=reverse, **bounds)  # type: ignore[arg-type]
            assert list(scanned) == [objects[key] for key in expected], bounds

    def test_services_are_those_with_an_object(self, store: Store) -> None:
        """In order, from ``start`` on, so many; one whose last object is cleared is not there."""
        for service in NAMES:
            store.set(service, "k", "n", b"")
        assert store.services() == by_bytes(NAMES)
        assert store.services("b", 2) == walked(NAMES, start="b", limit=2)
        assert store.services(start="aa") == walked(NAMES, start="aa")
        assert store.services(limit=0) == []
        assert store.services("\U0010ffff\0") == []
        store.clear("a", "k", "n")
        store.clear_all("b", "k")
        store.clear_service("ab")
        store.expire("\0", "k", at=1)
        assert store.services() == by_bytes({*NAMES} - {"a", "b", "ab", "\0"})

    def test_scan_gives_every_object_in_order(self, store: Store) -> None:
        """Of all services or of one, with version, expiry and entries; in reverse; the first."""
        fill(store)
        store.expire("s", "b", at=FUTURE)
        store.set("s", "b", "m", b"2", expires_at=FUTURE)
        everything = list(store.scan())
        assert [(found.service, found.key) for found in everything] == [
            ("r", "z"),
            *(("s", key) for key in by_bytes(KEYS)),
            ("s\0", ""),
            ("t", ""),
        ]
        assert all(found == store.load(found.service, found.key) for found in everything)
        assert list(store.scan(reverse=True)) == everything[::-1]
        assert list(store.scan(limit=3)) == everything[:3]
        assert list(store.scan(reverse=True, limit=2)) == everything[::-1][:2]
        assert list(store.scan("s")) == everything[1:-2]
        assert list(store.scan("never")) == [] == list(store.object_keys("never"))

    def test_pages_meet_every_object_once(self, store: Store) -> None:
        """Pages that each begin behind the last key of the one before, forward and back."""
        expected = [f"{number:03}" for number in range(105)]
        with store.batch() as batch:
            for key in expected:
                batch.set("s", key, "n", b"")
        met: list[str] = []
        while page := [
            found.key for found in store.scan("s", start=met[-1] + "\0" if met else None, limit=10)
        ]:
            met += page
        assert met == expected
        met = []
        while page := [
            key
            for key in store.object_keys(
                "s", start=met[-1] if met else None, reverse=True, limit=11
            )
            if not met or key != met[-1]
        ]:
            met += page
        assert met == expected[::-1]

    def test_count_is_exact(self, store: Store) -> None:
        """Of live objects, of a service or of those with a prefix."""
        fill(store)
        store.clear_all("s", "a")
        store.clear("s", "ba", "n")
        store.expire("s", "bb", at=1)
        live = {*KEYS} - {"a", "ba", "bb"}
        assert store.count("s") == len(live)
        assert store.count("s", prefix="b") == len(walked(live, prefix="b")) == 2
        assert store.count("s", prefix="x") == 0 == store.count("never")

    def test_a_walk_is_of_one_moment(self, store: Store) -> None:
        """What is written after a walk has begun does not show in it."""
        expected = [f"{number:03}" for number in range(300)]
        with store.batch() as batch:
            for key in expected:
                batch.set("s", key, "n", b"before")
        walk, backward, objects = (
            store.object_keys("s"),
            store.object_keys("s", reverse=True),
            store.scan("s"),
        )
        assert next(walk) == "000" and next(backward) == "299"
        assert next(objects).entries == {"n": b"before"}
        store.clear_range("s", "100", "200")
        store.set("s", "250", "n", b"after")
        store.set("s", "000a", "n", b"after")
        store.expire("s", "251", at=1)
        store.clear_service("s")
        store.set("s", "new", "n", b"after")
        assert list(walk) == expected[1:]
        assert list(backward) == expected[-2::-1]
        left = list(objects)
        assert [found.key for found in left] == expected[1:]
        assert all(found.entries == {"n": b"before"} for found in left)
        assert keys(store) == ["new"]

    def test_walks_go_on_beside_each_other(self, store: Store) -> None:
        """Several walks at once, and one that is left before its end, disturb nothing."""
        fill(store)
        first, second, left = store.object_keys("s"), store.object_keys("s"), store.scan("s")
        next(left)
        del left
        assert list(zip(first, second, strict=True)) == [(key, key) for key in by_bytes(KEYS)]
        assert next(first, None) is None
        store.set("s", "later", "n", b"1")
        assert "later" in keys(store)
