"""The read verbs of one object."""

from __future__ import annotations

from itertools import product

from kvengine.objects.store import Store
from kvengine.store import StoredObject
from kvengine.testing.contract.home import FUTURE, LONG, NAMES, NFC, NFD, Home, by_bytes, walked


class Reads(Home):
    """get, get_many, get_all, load, load_many, exists, state_keys."""

    def test_what_is_absent_reads_as_nothing(self, store: Store) -> None:
        """None, empty, 0 and False, for an object that never was and for one that was cleared."""
        store.set("s", "cleared", "n", b"1")
        store.clear_all("s", "cleared")
        store.set("s", "emptied", "n", b"1")
        store.clear("s", "emptied", "n")
        for key in ("never", "cleared", "emptied"):
            assert store.get("s", key, "n") is None
            assert store.get_many("s", key, ["n", "m"]) == {}
            assert store.get_all("s", key) == {}
            assert store.load("s", key) is None
            assert store.load("s", key, max_bytes=10) is None
            assert store.state_keys("s", key) == []
            assert store.exists("s", key) is False
            assert store.version("s", key) == 0
            assert store.expires_at("s", key) is None
            assert store.expires_at("s", key, "n") is None
        assert store.load_many("s", ["never", "cleared", "emptied"]) == {}
        assert store.services() == []

    def test_an_empty_value_is_a_value(self, store: Store) -> None:
        """``b""`` is not absence: the entry, its object and its service exist."""
        store.set("s", "k", "n", b"")
        assert store.get("s", "k", "n") == b""
        assert store.get("s", "k", "m") is None
        assert store.get_many("s", "k", ["m", "n"]) == {"n": b""}
        assert store.get_all("s", "k") == {"n": b""}
        assert store.state_keys("s", "k") == ["n"] and store.exists("s", "k")
        assert store.services() == ["s"] and list(store.object_keys("s")) == ["k"]

    def test_any_bytes_are_a_value(self, store: Store) -> None:
        """Bytes come back as they were set, whatever they are, as ``bytes``."""
        values = [bytes(range(256)), b"\0", b"\0" * 1000, b"null", "é\U0001f600".encode(), b"\xff"]
        for number, value in enumerate(values):
            store.set("s", "k", f"{number}", value)
        assert list(store.get_all("s", "k").values()) == values
        for number, value in enumerate(values):
            found = store.get("s", "k", f"{number}")
            assert found == value and type(found) is bytes

    def test_every_name_is_its_own(self, store: Store) -> None:
        """No two names are mixed up, in any place: NUL, NFC and NFD, astral characters."""
        places = ("", "\0", "x\0\x01y", NFC, NFD)
        expected = {}
        with store.batch() as batch:
            for service, key, name in product(NAMES, places, places):
                value = repr((service, key, name)).encode()
                expected[service, key, name] = value
                batch.set(service, key, name, value)
        for (service, key, name), value in expected.items():
            if len(service) < 2 or name == key:
                assert store.get(service, key, name) == value
        assert store.services() == by_bytes(NAMES)
        for service in NAMES:
            assert list(store.object_keys(service)) == by_bytes(places)
        assert {
            (found.service, found.key, name): value
            for found in store.scan()
            for name, value in found.entries.items()
        } == expected

    def test_entries_are_in_byte_order(self, store: Store) -> None:
        """Every verb gives entries in the byte order of UTF-8, whichever order they came in."""
        for name in reversed(NAMES):
            store.set("s", "k", name, b"old")
        for name in ("ab", "zz", "A"):
            store.set("s", "k", name, b"new")
        store.clear("s", "k", "b")
        expected = by_bytes({*NAMES, "zz", "A"} - {"b"})
        assert list(store.get_all("s", "k")) == expected
        assert store.state_keys("s", "k") == expected
        assert store.state_keys("s", "k", reverse=True) == expected[::-1]
        loaded = store.load("s", "k")
        assert loaded is not None and list(loaded.entries) == expected
        assert [list(found.entries) for found in store.scan("s")] == [expected]
        assert list(store.load_many("s", ["k"])["k"].entries) == expected

    def test_get_many_answers_in_the_order_asked(self, store: Store) -> None:
        """Entries come in the order of the names asked for, once each; any iterable will do."""
        for name in ("a", "b", "c", ""):
            store.set("s", "k", name, name.encode())
        found = store.get_many("s", "k", ["c", "x", "", "a", "c"])
        assert list(found.items()) == [("c", b"c"), ("", b""), ("a", b"a")]
        assert store.get_many("s", "k", []) == {}
        assert store.get_many("s", "k", (name for name in "ab")) == {"a": b"a", "b": b"b"}

    def test_results_belong_to_the_caller(self, store: Store) -> None:
        """Changing what a read returned changes nothing that is stored."""
        store.set("s", "k", "n", b"1")
        for _ in range(3):
            store.get_all("s", "k").clear()
            store.get_many("s", "k", ["n"]).clear()
            loaded = store.load("s", "k")
            assert loaded is not None
            loaded.entries["n"] = b"changed"
            next(store.scan("s")).entries.clear()
            assert store.get_all("s", "k") == {"n": b"1"}

    def test_load_is_the_whole_object(self, store: Store) -> None:
        """load gives names, version, expiries and entries, as the other verbs give them."""
        store.set("s", "k", "b", b"22", ttl=LONG)
        store.set("s", "k", "a", b"1")
        store.set("s", "k", "c", b"", expires_at=FUTURE)
        store.expire("s", "k", at=FUTURE + 0.5)
        ttl = store.expires_at("s", "k", "b")
        assert ttl is not None
        expected = StoredObject(
            "s",
            "k",
            store.version("s", "k"),
            FUTURE + 0.5,
            {"a": b"1", "b": b"22", "c": b""},
            {"b": ttl, "c": FUTURE},
        )
        assert store.load("s", "k") == expected
        assert store.load("s", "k", max_bytes=1000) == expected
        store.expire("s", "k")
        store.set("s", "k", "b", b"")
        store.clear("s", "k", "c")
        entries = {"a": b"1", "b": b""}
        expected = StoredObject("s", "k", store.version("s", "k"), None, entries)
        assert store.load("s", "k") == expected

    def test_load_of_some_bytes_gives_the_first_entries(self, store: Store) -> None:
        """At most ``max_bytes`` of names and values, in key order; ``partial`` tells of more."""
        for number in range(5):
            store.set("s", "k", f"n{number}", b"x" * 8, ttl=LONG if number == 1 else None)
        version = store.version("s", "k")
        for most, count in ((0, 0), (9, 0), (10, 1), (19, 1), (20, 2), (49, 4), (50, 5), (51, 5)):
            found = store.load("s", "k", max_bytes=most)
            assert found is not None, most
            assert list(found.entries) == [f"n{number}" for number in range(count)], most
            assert list(found.expiries or ()) == (["n1"] if count > 1 else []), most
            assert found.partial is (count < 5), most
            assert found.version == version

    def test_load_many_gives_those_that_exist(self, store: Store) -> None:
        """Objects come by key, in the order asked for, once each, as `load` gives them."""
        for key in "abc":
            store.set("s", key, "n", key.encode())
        store.set("t", "d", "n", b"1")
        store.expire("s", "b", at=FUTURE)
        found = store.load_many("s", (key for key in ("c", "never", "b", "d", "a", "c")))
        assert list(found) == ["c", "b", "a"]
        assert found == {key: store.load("s", key) for key in "cba"}
        assert store.load_many("s", []) == {}

    def test_an_object_exists_while_an_entry_lives(self, store: Store) -> None:
        """From its first entry on until the last one is cleared."""
        store.set("s", "k", "a", b"")
        store.set("s", "k", "b", b"")
        assert store.exists("s", "k")
        assert not store.exists("s", "") and not store.exists("t", "k")
        store.clear("s", "k", "a")
        assert store.exists("s", "k")
        store.clear("s", "k", "b")
        assert not store.exists("s", "k") and store.version("s", "k") == 0

    def test_state_keys_by_every_bound(self, store: Store) -> None:
        """prefix, start, reverse and limit, in each combination, answer as a sorted list would."""
        for name in NAMES:
            store.set("s", "k", name, b"")
        prefixes = ("", "a", "\0", "x", "\U0001f600")
        starts = ("", "a\0", "aa", "b", "\uffff", "\U0010ffff")
        for prefix, start, reverse, limit in product(
            prefixes, starts, (False, True), (None, 0, 1, 3)
        ):
            found = store.state_keys(
                "s", "k", prefix=prefix, start=start, reverse=reverse, limit=limit
            )
            bounds = {"prefix": prefix, "start": start or None, "reverse": reverse, "limit": limit}
            assert found == walked(NAMES, **bounds), bounds  # type: ignore[arg-type]

    def test_a_large_object_reads_as_a_small_one(self, store: Store) -> None:
        """3,000 entries, some of them changed since and one of 300 KB: no verb loses any."""
        entries = {f"k{number:05}": b"%d" % number * 7 for number in range(3000)}
        entries["k01000"] = b"large" * 60_000
        with store.batch() as batch:
            for name, value in entries.items():
                batch.set("s", "k", name, value)
        with store.batch() as batch:
            for number in range(0, 3000, 7):
                name = f"k{number:05}"
                if number % 2:
                    batch.clear("s", "k", name)
                    del entries[name]
                else:
                    batch.set("s", "k", name, b"new")
                    entries[name] = b"new"
        names = list(entries)
        assert store.get_all("s", "k") == entries
        for name in (names[0], names[-1], "k01000", "k00007", "", "zzz"):
            assert store.get("s", "k", name) == entries.get(name), name
        asked = ["k02000", "never", "k00000", "k01000", "k00007"]
        assert store.get_many("s", "k", asked) == {n: entries[n] for n in asked if n in entries}
        assert store.state_keys("s", "k") == names
        assert store.state_keys("s", "k", start="k02990", limit=3) == walked(
            names, start="k02990", limit=3
        )
        (scanned,) = store.scan("s")
        assert scanned.entries == entries
        part = store.load("s", "k", max_bytes=5000)
        assert part is not None and part.partial
        assert list(part.entries) == names[: len(part.entries)]
        size = sum(len(name) + len(value) for name, value in part.entries.items())
        following = names[len(part.entries)]
        assert size <= 5000 < size + len(following) + len(entries[following])
