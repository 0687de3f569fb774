"""The write verbs of one commit each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from kvengine.objects.store import Store
from kvengine.testing.contract.home import FUTURE, NFC, NFD, Home, in_threads, keys


class Writes(Home):
    """set, clear, pop, clear_all, clear_service, clear_range."""

    def test_set_replaces_and_clear_removes(self, store: Store) -> None:
        """An entry has its last value; clearing what is not there is no error."""
        store.set("s", "k", "a", b"1")
        store.set("s", "k", "b", b"1")
        store.set("s", "k", "a", b"2")
        store.clear("s", "k", "b")
        store.clear("s", "k", "never")
        assert store.get_all("s", "k") == {"a": b"2"}
        store.clear("s", "k", "a")
        assert keys(store) == [] and store.version("s", "k") == 0
        store.clear("s", "k", "a")
        store.clear_all("s", "never")
        assert store.services() == []

    def test_bytes_like_values_are_copied(self, store: Store) -> None:
        """What the caller does with its buffer afterwards changes nothing."""
        buffer: Any = bytearray(b"ab")
        store.set("s", "k", "bytearray", buffer)
        with store.batch() as batch:
            batch.set("s", "k", "in a batch", buffer)
            buffer[:] = b"zz"
        view: Any = memoryview(b"xabx")[1:3]
        store.set("s", "k", "memoryview", view)
        assert set(store.get_all("s", "k").values()) == {b"ab"}
        assert {type(value) for value in store.get_all("s", "k").values()} == {bytes}

    def test_pop_clears_and_gives_the_value(self, store: Store) -> None:
        """The value that there was, or None; then nothing is written."""
        assert store.pop("s", "k", "n") is None and store.version("s", "k") == 0
        store.set("s", "k", "n", b"")
        version = store.set("s", "k", "other", b"1")
        assert store.pop("s", "k", "never") is None and store.version("s", "k") == version
        assert store.pop("s", "k", "n") == b"" and store.version("s", "k") > version
        assert store.pop("s", "k", "n") is None
        assert store.get_all("s", "k") == {"other": b"1"}
        assert store.pop("s", "k", "other") == b"1" and not store.exists("s", "k")

    def test_pop_gives_each_value_to_one_caller(
        self, store: Store, another: Callable[[], Store]
    ) -> None:
        """Of threads and clients that pop the same entries each value is given to one."""
        expected = [b"%d" % number for number in range(40)]
        for value in expected:
            store.set("s", "k", value.decode(), value)
        taken: list[bytes] = []

        def take(client: Store) -> None:
            for value in expected:
                found = client.pop("s", "k", value.decode())
                if found is not None:
                    taken.append(found)

        in_threads(*(partial(take, client) for client in (store, store, another(), another())))
        assert sorted(taken) == sorted(expected)
        assert not store.exists("s", "k")

    def test_clear_all_removes_every_entry(self, store: Store) -> None:
        """Of that object alone; a set behind it starts anew, without the old expiry."""
        with store.batch() as batch:
            for number in range(500):
                batch.set("s", "k", f"n{number}", b"x")
        store.expire("s", "k", at=FUTURE)
        store.set("s", "other", "n", b"1")
        store.set("t", "k", "n", b"1")
        store.clear_all("s", "k")
        assert store.get_all("s", "k") == {} and store.state_keys("s", "k") == []
        assert keys(store) == ["other"] and keys(store, "t") == ["k"]
        store.set("s", "k", "fresh", b"1")
        assert store.get_all("s", "k") == {"fresh": b"1"} and store.expires_at("s", "k") is None

    def test_clear_service_removes_that_service_alone(self, store: Store) -> None:
        """Services whose names begin alike, contain NUL or are spelt otherwise are others."""
        services = ["", "\0", NFD, NFC, "s", "s\0", "s\0\x01", "s\x01", "sa", "t"]
        with store.batch() as batch:
            for service in services:
                for key in ("", "\0", "k", "\U0010ffff"):
                    batch.set(service, key, "n", b"1")
        for service in ("s", "", NFC):
            store.clear_service(service)
            services.remove(service)
            assert store.services() == sorted(services)
        assert all(len(keys(store, service)) == 4 for service in services)
        store.clear_service("never")
        store.set("s", "k", "new", b"1")
        assert keys(store) == ["k"] and store.get_all("s", "k") == {"new": b"1"}

    @pytest.mark.parametrize(
        ("start", "stop", "left"),
        [
            ("b", "d", ["", "a", "d"]),
            ("", None, []),
            ("b", None, ["", "a"]),
            ("", "b", ["b", "c", "d"]),
            ("", "", ["", "a", "b", "c", "d"]),
            ("c", "c", ["", "a", "b", "c", "d"]),
            ("d", "b", ["", "a", "b", "c", "d"]),
            ("", "\0", ["a", "b", "c", "d"]),
            ("bb", "cc", ["", "a", "b", "d"]),
        ],
    )
    def test_clear_range_takes_start_to_before_stop(
        self, store: Store, start: str, stop: str | None, left: list[str]
    ) -> None:
        """``start >= stop`` clears nothing; without a stop it goes to the end of the service."""
        for key in ("", "a", "b", "c", "d"):
            store.set("s", key, "n", b"1")
        store.set("t", "", "n", b"1")
        store.set("r", "zzz", "n", b"1")
        store.clear_range("s", start, stop)
        assert keys(store) == left
        assert (keys(store, "t"), keys(store, "r")) == ([""], ["zzz"])
        for key in ("", "a", "b", "c", "d"):
            assert store.get("s", key, "n") == (b"1" if key in left else None)
        store.set("s", "b", "m", b"2")
        assert store.get_all("s", "b") == ({"m": b"2", "n": b"1"} if "b" in left else {"m": b"2"})

    def test_clear_range_goes_by_bytes(self, store: Store) -> None:
        """Bounds are compared as UTF-8: an astral key lies above every one of the basic plane."""
        names = ["a", "\0", "\uffff", "\U0001f600", NFC, NFD]
        for key in names:
            store.set("s", key, "n", b"1")
        store.clear_range("s", "\ue000", "\U0001f600")
        assert keys(store) == ["\0", "a", NFD, NFC, "\U0001f600"]
        store.clear_range("s", NFC, None)
        assert keys(store) == ["\0", "a", NFD]
        store.clear_range("s", "", "\0\0")
        assert keys(store) == ["a", NFD]
