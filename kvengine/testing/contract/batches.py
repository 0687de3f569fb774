"""Batches: write verbs in order, one atomic commit, and what it expects."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from kvengine.errors import KVEngineError, VersionConflict
from kvengine.objects.store import Store
from kvengine.storage.batch import Batch
from kvengine.testing.contract.home import FUTURE, LONG, PAST, Home, in_threads, keys


class Batches(Home):
    """batch, write."""

    def test_a_batch_commits_when_its_block_ends(self, store: Store) -> None:
        """One stamp for everything in it, across objects and services; nothing shows before."""
        with store.batch() as batch:
            assert batch.set("s", "a", "n", b"1") is None  # type: ignore[func-returns-value]
            batch.set("s", "b", "n", b"2")
            batch.set("t", "c", "n", b"3")
            assert store.services() == [] and batch.stamp is None and len(batch) == 3
        stamps = {store.version(*name) for name in (("s", "a"), ("s", "b"), ("t", "c"))}
        assert stamps == {batch.stamp}
        assert store.get_all("t", "c") == {"n": b"3"}

    def test_a_batch_whose_block_raises_writes_nothing(self, store: Store) -> None:
        """What the block raises is raised, and no write of it is there."""
        before = store.set("s", "a", "n", b"1")
        with pytest.raises(LookupError, match="no luck"):
            with store.batch() as batch:
                batch.set("s", "a", "n", b"2")
                batch.set("s", "b", "n", b"2")
                raise LookupError("no luck")
        assert store.version("s", "a") == before and keys(store) == ["a"]

    def test_verbs_apply_in_order(self, store: Store) -> None:
        """Each verb acts on what those before it in the batch have made."""
        for key in "abcde":
            store.set("s", key, "old", b"1")
        with store.batch() as batch:
            batch.set("s", "a", "n", b"1")
            batch.clear_all("s", "a")
            batch.set("s", "a", "m", b"2")
            batch.set("s", "b", "n", b"1")
            batch.clear("s", "b", "n")
            batch.clear("s", "c", "n")
            batch.set("s", "c", "n", b"1")
            batch.set("s", "d", "n", b"1")
            batch.clear_range("s", "d", "e")
            batch.set("s", "d", "after", b"1")
            batch.set("s", "e", "n", b"1")
            batch.set("s", "e", "n", b"2")
            batch.clear("s", "e", "old")
        assert {found.key: found.entries for found in store.scan("s")} == {
            "a": {"m": b"2"},
            "b": {"old": b"1"},
            "c": {"n": b"1", "old": b"1"},
            "d": {"after": b"1"},
            "e": {"n": b"2"},
        }

    def test_expiries_apply_in_order(self, store: Store) -> None:
        """An expire acts on an object that the batch has made, and on none that it has not yet."""
        for key in "abcd":
            store.set("s", key, "old", b"1")
        with store.batch() as batch:
            batch.expire("s", "a", at=FUTURE)
            batch.expire("s", "b", at=FUTURE)
            batch.expire("s", "b")
            batch.set("s", "b", "lasting", b"1", ttl=self.brief)
            batch.set("s", "b", "lasting", b"2")
            batch.expire("s", "c", at=PAST)
            batch.set("s", "c", "new", b"1")
            batch.expire("s", "d", at=FUTURE)
            batch.clear_all("s", "d")
            batch.set("s", "d", "new", b"1")
            batch.set("s", "made", "n", b"1", ttl=LONG)
            batch.expire("s", "made", at=FUTURE)
            batch.expire("s", "early", at=FUTURE)
            batch.set("s", "early", "n", b"1")
            batch.set("s", "over", "n", b"1")
            batch.expire("s", "over", ttl=-1)
        found = {each.key: each for each in store.scan("s")}
        assert list(found) == ["a", "b", "c", "d", "early", "made"]
        assert {key for key, each in found.items() if each.expires_at} == {"a", "made"}
        assert found["a"].expires_at == FUTURE == found["made"].expires_at
        assert found["c"].entries == {"new": b"1"} == found["d"].entries
        assert list(found["made"].expiries or ()) == ["n"] and found["b"].expiries is None
        self.outlast(store)
        assert store.get_all("s", "b") == {"lasting": b"2", "old": b"1"}

    def test_a_service_cleared_and_written_in_one_batch(self, store: Store) -> None:
        """A clear covers what was there and what the batch wrote before it, nothing behind it."""
        for key in "abc":
            store.set("s", key, "n", b"old")
            store.expire("s", key, at=FUTURE)
        with store.batch() as batch:
            batch.set("s", "a", "n", b"lost")
            batch.clear_service("s")
            batch.set("s", "b", "m", b"new")
        (found,) = store.scan()
        assert (found.key, found.entries, found.expires_at) == ("b", {"m": b"new"}, None)
        assert found.version == batch.stamp

    def test_an_object_that_begins_more_than_once_in_one_batch(self, store: Store) -> None:
        """What a batch wrote before it cleared the object again, by whatever verb, is gone."""
        for key in "abcd":
            store.set("s", key, "n", b"old")
        with store.batch() as batch:
            batch.clear_service("s")
            for key in "abcd":
                batch.set("s", key, "lost", b"1")
            batch.clear_range("s", "a", "b")
            batch.clear_range("s", "b", "c")
            batch.expire("s", "c", at=PAST)
            batch.clear_all("s", "d")
            for key in "abcd":
                batch.set("s", key, "new", b"1")
        assert {each.key: each.entries for each in store.scan("s")} == {
            key: {"new": b"1"} for key in "abcd"
        }

    def test_an_empty_batch_writes_nothing(self, store: Store) -> None:
        """Nor does one whose verbs have no effect. Both are written without an error."""
        version = store.set("s", "k", "n", b"1")
        with store.batch():
            pass
        store.write(Batch())
        store.write(Batch(), expect={("s", "k"): version, ("s", "never"): 0})
        with store.batch() as batch:
            batch.clear_range("s", "z", "a")
            batch.expire("s", "never", at=FUTURE)
        assert store.version("s", "k") == version and keys(store) == ["k"]

    def test_expectations_hold_or_nothing_is_written(self, store: Store) -> None:
        """Versions of any objects, 0 for an absent one; the error names object and versions."""
        version = store.set("s", "k", "n", b"1")
        store.set("s", "cleared", "n", b"1")
        store.clear_all("s", "cleared")

        def write(expect: dict[tuple[str, str], int]) -> int:
            batch = Batch()
            batch.set("s", "k", "n", b"2")
            batch.set("t", "other", "n", b"2")
            return store.write(batch, expect=expect)

        for expect, name, expected, actual in (
            ({("s", "k"): 0}, ("s", "k"), 0, version),
            ({("s", "k"): version + 1}, ("s", "k"), version + 1, version),
            ({("s", "k"): version, ("s", "never"): 7}, ("s", "never"), 7, 0),
            ({("s", "cleared"): 7, ("s", "k"): version}, ("s", "cleared"), 7, 0),
        ):
            with pytest.raises(VersionConflict, match="read it again and retry") as conflict:
                write(expect)
            error = conflict.value
            assert (error.service, error.key) == name
            assert (error.expected, error.actual) == (expected, actual)
            assert store.get_all("s", "k") == {"n": b"1"} and keys(store, "t") == []
        absent = {("s", "never"): 0, ("s", "cleared"): 0, ("t", "other"): 0}
        stamp = write({("s", "k"): version, **absent})
        assert store.version("s", "k") == stamp == store.version("t", "other") > version
        assert write({}) > stamp

    def test_only_what_is_expected_is_written_by(self, store: Store) -> None:
        """An empty batch checks its expectations too, of objects that it does not write."""
        version = store.set("s", "k", "n", b"1")
        with pytest.raises(VersionConflict):
            store.write(Batch(), expect={("s", "k"): version + 1})

    def test_what_has_expired_has_version_zero(self, store: Store) -> None:
        """An expectation sees an expired object, or one whose last entry expired, as absent."""
        store.set("s", "expired", "n", b"1")
        store.expire("s", "expired", ttl=self.brief)
        old = store.set("s", "entry", "n", b"1", ttl=self.brief)
        self.outlast(store)
        batch = Batch()
        batch.set("s", "k", "n", b"1")
        with pytest.raises(VersionConflict) as conflict:
            store.write(batch, expect={("s", "entry"): old})
        assert conflict.value.actual == 0
        store.write(batch, expect={("s", "expired"): 0, ("s", "entry"): 0})
        assert keys(store) == ["k"]

    def test_a_conflicting_batch_may_be_written_again(self, store: Store) -> None:
        """Nothing of it was written, so it is still unwritten; then it is written once."""
        batch = Batch()
        batch.set("s", "k", "n", b"1")
        with pytest.raises(VersionConflict):
            store.write(batch, expect={("s", "k"): 5})
        batch.set("s", "k", "m", b"2")
        stamp = store.write(batch, expect={("s", "k"): 0})
        assert store.get_all("s", "k") == {"m": b"2", "n": b"1"} and batch.stamp == stamp
        for use in (
            lambda: store.write(batch),
            lambda: batch.set("s", "k", "n", b"3"),
            lambda: batch.clear_service("s"),
        ):
            with pytest.raises(KVEngineError, match="this batch was written; make a new one"):
                use()
        assert store.version("s", "k") == stamp

    @pytest.mark.parametrize("durability", ["sync", "os", None])
    def test_a_write_may_choose_its_durability(self, store: Store, durability: str | None) -> None:
        """Either is taken, and the commit shows as soon as write returns."""
        batch = Batch()
        batch.set("s", "k", "n", b"1")
        stamp = store.write(batch, durability=durability)  # type: ignore[arg-type]
        assert store.version("s", "k") == stamp

    def test_a_batch_of_many_objects_is_one_commit(self, store: Store) -> None:
        """1,000 objects have one version, in the order of their keys."""
        with store.batch() as batch:
            for number in range(1000):
                batch.set("s", f"{number:04}", "n", b"x")
        found = list(store.scan("s"))
        assert [each.key for each in found] == [f"{number:04}" for number in range(1000)]
        assert {each.version for each in found} == {batch.stamp}

    def test_a_reader_sees_a_batch_whole_or_not_at_all(
        self, store: Store, another: Callable[[], Store]
    ) -> None:
        """Readers of several objects at one moment never see one written and the other not."""
        done = threading.Event()
        reader, torn = another(), list[list[bytes]]()

        def write() -> None:
            try:
                for number in range(60):
                    with store.batch() as batch:
                        for key in "abc":
                            batch.set("s", key, "n", b"%d" % number)
            finally:
                done.set()

        def read() -> None:
            while not done.is_set():
                for found in (reader.load_many("s", ["c", "b", "a"]).values(), reader.scan("s")):
                    values = [each.entries["n"] for each in found]
                    if values and values != values[:1] * 3:
                        torn.append(values)

        in_threads(write, read)
        assert torn == []
