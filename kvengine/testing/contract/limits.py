"""Limits: what the store says that it takes it takes, and past it nothing is written."""

from __future__ import annotations

import pytest

from kvengine.errors import ValueTooLarge
from kvengine.objects.store import Store
from kvengine.storage.batch import Batch
from kvengine.testing.contract.home import Home

Names = tuple[str, str, str]


class Limits(Home):
    """limits."""

    largest: int = 8 << 20
    """The longest value in bytes that a test writes, where the store would take a longer one."""

    def test_what_the_limits_are(self, store: Store) -> None:
        """Names of 2,000 bytes together, values of 1 MB, commits of some of them: no store less."""
        limits = store.limits
        assert 600 <= limits.name <= limits.names <= 3 * limits.name and limits.names >= 2000
        assert 1_000_000 <= limits.value <= limits.commit

    def longest(self, store: Store) -> list[Names]:
        """Return names that are as long as they may be: one of the three, and all together."""
        limits = store.limits
        alone = "x" * min(limits.name, limits.names)
        third = limits.names // 3
        key = "\u00e9" * (third // 2) + "k" * (third % 2)
        together = ("s" * third, key, "n" * (limits.names - 2 * third))
        return [(alone, "", ""), ("", alone, ""), ("", "", alone), together]

    def test_names_at_the_limit_are_taken(self, store: Store) -> None:
        """Each of the longest names there may be is written, read, listed and cleared."""
        for service, key, name in self.longest(store):
            stamp = store.set(service, key, name, b"1")
            assert store.get(service, key, name) == b"1"
            assert store.get_all(service, key) == {name: b"1"}
            assert store.state_keys(service, key) == [name]
            assert store.version(service, key) == stamp and store.services() == [service]
            assert list(store.object_keys(service)) == [key]
            assert list(store.object_keys(service, start=key)) == [key]
            with store.object(service, key).session(preload=False) as state:
                state.set(name, 2)
            assert store.object(service, key).get(name) == 2
            assert [found.entries for found in store.scan()] == [{name: b"2"}]
            store.clear_all(service, key)
            assert not store.exists(service, key)

    def test_names_past_the_limit_are_refused(self, store: Store) -> None:
        """ValueTooLarge, which is a ValueError, by every verb that writes; nothing is there."""
        name = "x" * (store.limits.name + 1)
        too_long: list[Names] = [(name, "k", "n"), ("s", name, "n"), ("s", "k", name)]
        if store.limits.names < 3 * store.limits.name:
            service, key, last = self.longest(store)[-1]
            too_long += [(service, key, last + "x"), (service, key + "x", last)]
        for names in too_long:
            with pytest.raises(ValueTooLarge) as error:
                store.set(*names, b"1")
            assert isinstance(error.value, ValueError)
            with pytest.raises(ValueTooLarge):
                with store.batch() as batch:
                    batch.set("s", "other", "n", b"1")
                    batch.set(*names, b"1")
            with pytest.raises(ValueTooLarge):
                with store.object(*names[:2]).session() as state:
                    state.set("n", 1)
                    state.set(names[2], 1)
            with pytest.raises(ValueTooLarge):
                store.object(*names[:2]).set(names[2], 1)
        assert store.services() == []

    def test_a_large_value_is_a_value(self, store: Store) -> None:
        """As long as the limit, or as `largest`: it comes back, by bytes and by a session."""
        value = bytes(range(256)) * (min(store.limits.value, self.largest) // 256 + 1)
        value = value[: min(store.limits.value, self.largest)]
        store.set("s", "k", "n", value)
        assert store.get("s", "k", "n") == value == store.get_all("s", "k")["n"]
        with store.object("s", "k", serde="bytes").session() as state:
            assert state.get("n") == value
            state.set("n", value[::-1])
        assert store.object("s", "k", serde="bytes").get("n") == value[::-1]

    def test_a_value_past_the_limit_is_refused(self, store: Store) -> None:
        """ValueTooLarge by each verb, before anything is written."""
        value = bytes(store.limits.value + 1)
        obj = store.object("s", "k", serde="bytes")
        before = store.set("s", "k", "n", b"1")
        with pytest.raises(ValueTooLarge):
            store.set("s", "k", "n", value)
        with pytest.raises(ValueTooLarge):
            obj.set("n", value)
        with pytest.raises(ValueTooLarge), store.batch() as batch:
            batch.set("s", "k", "m", b"1")
            batch.set("s", "k", "n", value)
        own = Batch()
        own.set("s", "k", "m", b"1")
        own.set("s", "k", "n", value)
        with pytest.raises(ValueTooLarge):
            store.write(own)
        with pytest.raises(ValueTooLarge), obj.session() as state:
            state.set("m", b"1")
            state.set("n", value)
        with obj.session(timeout=0) as state, pytest.raises(ValueTooLarge):
            state.set("n", value)
        assert store.version("s", "k") == before and store.get_all("s", "k") == {"n": b"1"}

    def test_a_commit_past_the_limit_is_refused(self, store: Store) -> None:
        """ValueTooLarge, nothing of it is written, and the next commit works."""
        limits = store.limits
        value = bytes(limits.value)
        batch = Batch()
        for number in range(limits.commit // limits.value + 1):
            batch.set("s", f"{number}", "n", value)
        with pytest.raises(ValueTooLarge):
            store.write(batch)
        with pytest.raises(ValueTooLarge):
            with store.object("s", "k", serde="bytes").session() as state:
                for number in range(limits.commit // limits.value + 1):
                    state.set(f"{number}", value)
        assert store.services() == []
        store.set("s", "k", "n", b"1")
        assert store.get("s", "k", "n") == b"1"
