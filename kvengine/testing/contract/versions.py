"""Versions: they grow with each commit to an object, and none comes twice."""

from __future__ import annotations

from collections.abc import Callable

from kvengine.objects.store import Store
from kvengine.testing.contract.home import FUTURE, PAST, Home, keys


class Versions(Home):
    """version, and the stamps that write verbs return."""

    def test_a_version_is_the_stamp_of_the_last_commit(self, store: Store) -> None:
        """Each write verb returns its stamp; another object's commit leaves a version alone."""
        first = store.set("s", "k", "a", b"1")
        other = store.set("s", "other", "a", b"1")
        assert 0 < first == store.version("s", "k") and other == store.version("s", "other")
        second = store.set("s", "k", "a", b"1")
        assert second > first and store.version("s", "k") == second
        third = store.clear("s", "k", "never")
        assert third > second and store.version("s", "k") == third
        fourth = store.clear_all("s", "k")
        assert fourth > third and store.version("s", "k") == 0
        fifth = store.set("s", "k", "a", b"1")
        assert fifth > fourth and store.version("s", "k") == fifth
        sixth = store.clear_range("s", "k", "l")
        assert sixth > fifth and store.version("s", "other") == other
        seventh = store.clear_service("s")
        assert seventh > other and keys(store) == []
        assert store.set("s", "k", "a", b"1") > sixth
        assert store.set("s", "other", "a", b"1") > seventh

    def test_a_version_never_comes_twice(self, store: Store) -> None:
        """However an object ends, what is written to its key afterwards has a greater version.

        So whoever expects a version that they have read is never deceived.
        """
        ends: dict[str, Callable[[str], object]] = {
            "clear": lambda key: store.clear("s", key, "n"),
            "clear_all": lambda key: store.clear_all("s", key),
            "clear_range": lambda key: store.clear_range("s", key, key + "\0"),
            "clear_service": lambda _: store.clear_service("s"),
            "expire": lambda key: store.expire("s", key, at=PAST),
            "expire in time": lambda key: store.expire("s", key, ttl=self.brief),
            "pop": lambda key: store.pop("s", key, "n"),
            "a ttl": lambda key: store.set("s", key, "n", b"", ttl=self.brief),
            "in a batch": lambda key: self._replace(store, key),
        }
        seen: dict[str, int] = dict.fromkeys(ends, 0)
        for _ in range(2):
            for key, end in ends.items():
                version = store.set("s", key, "n", b"1")
                assert version > seen[key], key
                end(key)
                seen[key] = max(version, store.version("s", key))
            self.outlast(store)
            assert keys(store) == ["in a batch"]

    def _replace(self, store: Store, key: str) -> None:
        with store.batch() as batch:
            batch.clear_all("s", key)
            batch.set("s", key, "n", b"2")

    def test_a_batch_is_above_every_version_before(self, store: Store) -> None:
        """All objects of a batch have its stamp, which is greater than what each of them had."""
        stamp = 0
        for number in range(10):
            ahead = f"{number % 3}"
            for _ in range(number):
                stamp = store.set("s", ahead, "n", b"1")
            before = [store.version("s", key) for key in "012"]
            with store.batch() as batch:
                for key in "210":
                    batch.set("s", key, "n", b"%d" % number)
            assert batch.stamp is not None and batch.stamp > max(before) >= stamp
            assert {store.version("s", key) for key in "012"} == {batch.stamp}

    def test_every_change_has_its_version(self, store: Store) -> None:
        """expire is a change too, and pop; a read is none, nor is what writes nothing."""
        version = store.set("s", "k", "n", b"1")
        store.set("s", "k", "m", b"1")
        for change in (
            lambda: store.expire("s", "k", at=FUTURE),
            lambda: store.expire("s", "k"),
            lambda: store.pop("s", "k", "m"),
        ):
            change()
            assert store.version("s", "k") > version
            version = store.version("s", "k")
        for no_change in (
            lambda: store.pop("s", "k", "m"),
            lambda: store.load("s", "k"),
            lambda: list(store.scan()),
            lambda: store.clear_range("s", "k", "k"),
        ):
            no_change()
            assert store.version("s", "k") == version

    def test_every_client_reads_what_was_committed(
        self, store: Store, another: Callable[[], Store]
    ) -> None:
        """Once a commit has returned, other clients read it, and commit after it."""
        other = another()
        for number in range(20):
            writer, reader = (store, other) if number % 2 else (other, store)
            stamp = writer.set("s", "k", "n", b"%d" % number)
            assert reader.version("s", "k") == stamp
            assert reader.get("s", "k", "n") == b"%d" % number
            assert reader.set("s", "k", "m", b"") > stamp
