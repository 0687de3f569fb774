"""Time: an entry's ttl, an object's expiry, and what ends them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from kvengine.objects.store import Store
from kvengine.testing.contract.home import FUTURE, LONG, PAST, Home, keys

LAST_SECOND = 253_402_300_799
"""The end of the year 9999, in seconds since the epoch: no expiry lies beyond."""


class Expiry(Home):
    """set with a ttl or a time, expire, expires_at."""

    def test_an_entry_is_absent_once_its_ttl_is_over(self, store: Store) -> None:
        """In every verb; its object goes with its last entry, and keeps its version until then."""
        store.set("s", "k", "n", b"1", ttl=self.brief)
        store.set("s", "k", "as timedelta", b"1", ttl=timedelta(seconds=self.brief))
        version = store.set("s", "k", "m", b"1", ttl=LONG)
        store.set("s", "gone", "n", b"1", ttl=self.brief)
        with store.batch() as batch:
            batch.set("t", "gone", "n", b"1", ttl=self.brief)
            batch.set("t", "gone", "m", b"1", ttl=self.brief)
        self.outlast(store)
        assert store.get("s", "k", "n") is None
        assert store.get_many("s", "k", ["n", "m"]) == {"m": b"1"} == store.get_all("s", "k")
        assert store.state_keys("s", "k") == ["m"]
        found = store.load("s", "k")
        assert found is not None and found.entries == {"m": b"1"} and found.expires_at is None
        assert list(found.expiries or ()) == ["m"] and list(store.scan()) == [found]
        assert store.expires_at("s", "k", "n") is None is store.expires_at("s", "k")
        assert store.version("s", "k") == version, "a ttl that runs out changes no version"
        for service in "st":
            assert store.load(service, "gone") is None and not store.exists(service, "gone")
            assert store.version(service, "gone") == 0
        assert keys(store) == ["k"] and store.services() == ["s"]
        assert store.count("s") == 1 and store.count("t") == 0
        assert store.pop("s", "k", "n") is None and store.version("s", "k") == version

    def test_a_set_decides_the_ttl_anew(self, store: Store) -> None:
        """One without a ttl removes the old one, one with a ttl replaces it."""
        for name in ("kept", "longer", "again", "lost"):
            store.set("s", "k", name, b"1", ttl=self.brief)
        store.set("s", "k", "shorter", b"1", ttl=LONG)
        store.set("s", "k", "kept", b"2")
        store.set("s", "k", "longer", b"2", ttl=LONG)
        store.set("s", "k", "shorter", b"2", ttl=self.brief)
        store.clear("s", "k", "again")
        store.set("s", "k", "again", b"2")
        assert store.expires_at("s", "k", "kept") is None is store.expires_at("s", "k", "again")
        self.outlast(store)
        assert store.get_all("s", "k") == {"again": b"2", "kept": b"2", "longer": b"2"}

    def test_an_object_is_absent_once_it_has_expired(self, store: Store) -> None:
        """In every verb, with all its entries; one without an expiry stays."""
        store.set("s", "kept", "n", b"1")
        store.set("s", "k", "n", b"1")
        store.set("s", "k", "m", b"1", ttl=LONG)
        assert store.expire("s", "k", ttl=self.brief) is True
        self.outlast(store)
        assert store.get("s", "k", "n") is None
        assert store.get_many("s", "k", ["n"]) == {} == store.get_all("s", "k")
        assert store.load("s", "k") is None is store.load("s", "k", max_bytes=100)
        assert store.state_keys("s", "k") == [] and store.version("s", "k") == 0
        assert not store.exists("s", "k") and store.load_many("s", ["k"]) == {}
        assert store.expires_at("s", "k") is None is store.expires_at("s", "k", "m")
        assert keys(store) == ["kept"] == [found.key for found in store.scan()]
        assert store.count("s") == 1

    def test_a_write_to_an_expired_object_starts_a_new_one(self, store: Store) -> None:
        """Neither old entries nor the old expiry show in it. A clear makes nothing."""
        for key in ("k", "cleared"):
            store.set("s", key, "old", b"1")
            store.expire("s", key, ttl=self.brief)
        self.outlast(store)
        store.clear("s", "cleared", "old")
        store.set("s", "k", "new", b"2")
        assert store.get_all("s", "k") == {"new": b"2"} and store.expires_at("s", "k") is None
        assert keys(store) == ["k"]
        assert store.expire("s", "cleared") is False

    def test_a_write_before_the_expiry_keeps_it(self, store: Store) -> None:
        """Setting and clearing entries leaves the expiry of their object."""
        store.set("s", "k", "n", b"1")
        store.expire("s", "k", at=FUTURE)
        store.set("s", "k", "n", b"2")
        store.set("s", "k", "m", b"2", ttl=LONG)
        store.clear("s", "k", "n")
        assert store.expires_at("s", "k") == FUTURE
        assert store.expire("s", "k", ttl=self.brief)
        store.set("s", "other", "n", b"1")
        self.outlast(store)
        assert keys(store) == ["other"]

    def test_expire_sets_moves_and_removes(self, store: Store) -> None:
        """At a time, after a time, never: each is a commit, which gives a version."""
        version = store.set("s", "k", "n", b"1")
        moment = datetime.fromtimestamp(FUTURE + 20, UTC)
        for given, expected in (
            ({"at": FUTURE}, FUTURE),
            ({"at": FUTURE + 0.25}, FUTURE + 0.25),
            ({"at": moment}, FUTURE + 20),
            ({"at": moment.astimezone(timezone(timedelta(hours=5)))}, FUTURE + 20),
            ({}, None),
            ({"at": FUTURE}, FUTURE),
        ):
            assert store.expire("s", "k", **given) is True
            assert store.expires_at("s", "k") == expected
            assert store.version("s", "k") > version
            version = store.version("s", "k")
        assert store.expire("s", "k", ttl=LONG) is True
        soon = store.expires_at("s", "k")
        assert store.expire("s", "k", ttl=timedelta(seconds=2 * LONG)) is True
        later = store.expires_at("s", "k")
        assert soon is not None and later is not None and PAST < soon < later < FUTURE

    def test_an_expiry_that_is_taken_back(self, store: Store) -> None:
        """An object whose expiry was removed or moved in time is there when it would have ended."""
        for key, ttl in self.lifetimes():
            store.set("s", key, "n", b"1")
            store.set("s", f"{key} moved", "n", b"1")
            if not (store.expire("s", key, ttl=ttl) and store.expire("s", f"{key} moved", ttl=ttl)):
                continue
            if store.expire("s", key) and store.expire("s", f"{key} moved", ttl=LONG):
                self.outlast(store, ttl)
                assert store.get("s", key, "n") == b"1" == store.get("s", f"{key} moved", "n")
                return

    def test_expire_of_an_absent_object_writes_nothing(self, store: Store) -> None:
        """Never there, cleared or expired: False, and a later set does not expire."""
        store.set("s", "emptied", "n", b"1")
        store.clear("s", "emptied", "n")
        store.set("s", "cleared", "n", b"1")
        store.clear_all("s", "cleared")
        store.set("s", "over", "n", b"1")
        store.expire("s", "over", at=PAST)
        for key in ("never", "emptied", "cleared", "over"):
            for given in ({"ttl": LONG}, {"at": FUTURE}, {}):
                assert store.expire("s", key, **given) is False
            store.set("s", key, "n", b"1")
            assert store.expires_at("s", key) is None

    def test_an_expiry_in_the_past_ends_the_object_at_once(self, store: Store) -> None:
        """By a time that is over, or by a ttl of 0 or less. What comes next is a new object."""
        for key, given in (
            ("at", {"at": PAST}),
            ("zero", {"ttl": 0}),
            ("negative", {"ttl": -5.5}),
            ("timedelta", {"ttl": timedelta(days=-1)}),
        ):
            store.set("s", key, "old", b"1")
            assert store.expire("s", key, **given) is True
            assert store.get("s", key, "old") is None and store.version("s", key) == 0
            assert store.expire("s", key) is False
            store.set("s", key, "new", b"1")
            assert store.get_all("s", key) == {"new": b"1"}
            assert store.expires_at("s", key) is None

    @pytest.mark.parametrize("ttl", [0, -1, -1e300, timedelta(0), timedelta(days=-1)])
    def test_a_ttl_that_is_over_clears_at_once(self, store: Store, ttl: float | timedelta) -> None:
        """A deadline that has just passed makes a negative ttl, which is no error."""
        for name in ("n", "m", "past"):
            store.set("s", "k", name, b"old")
        assert store.set("s", "k", "n", b"new", ttl=ttl) > 0
        with store.batch() as batch:
            batch.set("s", "k", "m", b"new", ttl=ttl)
        assert store.state_keys("s", "k") == ["past"]
        store.set("s", "k", "past", b"new", expires_at=PAST)
        assert not store.exists("s", "k") and store.version("s", "k") == 0

    def test_an_entry_expires_at_a_time(self, store: Store) -> None:
        """As seconds or as an aware datetime; expires_at gives back what was set, or None."""
        moment = datetime.fromtimestamp(FUTURE + 20, UTC)
        store.set("s", "k", "seconds", b"1", expires_at=FUTURE)
        with store.batch() as batch:
            batch.set(
                "s", "k", "zone", b"1", expires_at=moment.astimezone(timezone(-timedelta(1) / 8))
            )
        store.set("s", "k", "ttl", b"1", ttl=LONG)
        store.set("s", "k", "kept", b"1")
        assert store.expires_at("s", "k", "seconds") == FUTURE
        assert store.expires_at("s", "k", "zone") == FUTURE + 20
        found = store.expires_at("s", "k", "ttl")
        assert found is not None and PAST < found < FUTURE
        assert store.expires_at("s", "k", "kept") is None is store.expires_at("s", "k", "never")
        assert store.expires_at("s", "never", "n") is None is store.expires_at("s", "k")

    def test_a_time_is_kept_to_the_microsecond(self, store: Store) -> None:
        """What expires_at gives back can be set again, and is the same time then."""
        for micros in range(1_900_000_000_000_001, 1_900_000_000_000_030):
            moment = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros)
            store.set("s", "k", "n", b"", expires_at=moment)
            found = store.expires_at("s", "k", "n")
            assert found == micros / 1e6
            store.set("s", "k", "n", b"", expires_at=found)
            assert store.expires_at("s", "k", "n") == found
            store.expire("s", "k", at=found)
            assert store.expires_at("s", "k") == found

    def test_times_beyond_any_calendar(self, store: Store) -> None:
        """Every expiry is a date: what lies further off ends with the year 9999."""
        for far in (1e18, 1e305, timedelta.max):
            store.set("s", "k", "n", b"1", ttl=far)
            assert store.expires_at("s", "k", "n") == LAST_SECOND
            assert store.expire("s", "k", ttl=far) and store.expires_at("s", "k") == LAST_SECOND
        store.set("s", "k", "n", b"1", expires_at=1e305)
        assert store.expires_at("s", "k", "n") == LAST_SECOND
        assert store.expire("s", "k", at=1e305) and store.expires_at("s", "k") == LAST_SECOND
        assert store.get("s", "k", "n") == b"1"

    def test_what_ends_the_expiry_of_an_object(self, store: Store) -> None:
        """clear_all, a range clear, expire without a time; not clearing entries one by one."""
        for key in "abcd":
            store.set("s", key, "n", b"1")
            store.expire("s", key, at=FUTURE)
        store.clear("s", "a", "n")
        assert store.expires_at("s", "a") is None, "of an absent object"
        store.clear_all("s", "b")
        store.clear_range("s", "c", "d")
        store.expire("s", "d")
        for key in "abcd":
            store.set("s", key, "n", b"2")
        assert [store.expires_at("s", key) for key in "abcd"] == [FUTURE, None, None, None]
        store.clear_service("s")
        store.set("s", "a", "n", b"3")
        assert store.expires_at("s", "a") is None
