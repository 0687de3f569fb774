"""Snapshots: every read verb, as of one moment."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kvengine.errors import DatabaseClosed
from kvengine.objects.store import Store
from kvengine.store import Reads as ReadVerbs
from kvengine.testing.contract.home import FUTURE, LONG, NAMES, PAST, Home, by_bytes, keys


def everything(source: ReadVerbs) -> list[object]:
    """Return what every read verb says of services "s" and "t", as one value to compare."""
    found: list[object] = [source.services(), list(source.scan()), list(source.scan(reverse=True))]
    for service in ("s", "t"):
        listed = list(source.object_keys(service))
        found += [
            listed,
            list(source.object_keys(service, reverse=True, limit=2)),
            source.count(service),
            source.count(service, prefix="k"),
            source.load_many(service, [*listed, "never"]),
            list(source.workflows(service)),
        ]
        for key in [*listed, "never", "new"]:
            found += [
                source.get(service, key, "n"),
                source.get_many(service, key, ["m", "n"]),
                source.get_all(service, key),
                source.load(service, key),
                source.load(service, key, max_bytes=3),
                source.exists(service, key),
                source.state_keys(service, key, reverse=True),
                source.version(service, key),
                source.expires_at(service, key),
                source.expires_at(service, key, "m"),
            ]
    return found


class Snapshots(Home):
    """snapshot."""

    def test_a_snapshot_is_fixed(self, store: Store, another: Callable[[], Store]) -> None:
        """No verb of it sees what any client writes, clears or lets expire afterwards."""
        other = another()
        for number in range(6):
            store.set("s", f"k{number}", "n", b"before")
        store.set("s", "k1", "m", b"before", ttl=LONG)
        store.set("t", "", "n", b"before")
        store.expire("s", "k2", at=FUTURE)
        expected = everything(store)
        changes: list[Callable[[], object]] = [
            lambda: store.set("s", "k1", "n", b"after"),
            lambda: other.clear("s", "k1", "m"),
            lambda: other.clear_all("s", "k2"),
            lambda: store.set("s", "k2", "m", b"after"),
            lambda: store.expire("s", "k3", at=PAST),
            lambda: store.expire("s", "k4", ttl=LONG),
            lambda: other.pop("s", "k5", "n"),
            lambda: store.set("s", "new", "n", b"after"),
            lambda: store.clear_range("s", "k4", None),
            lambda: other.clear_service("t"),
            lambda: store.clear_service("s"),
            lambda: store.set("s", "k1", "n", b"before"),
        ]
        with store.snapshot() as snapshot:
            objects = list(snapshot.scan())
            for change in changes:
                change()
                assert list(snapshot.scan()) == objects
            assert everything(snapshot) == expected
            assert keys(store) == ["k1"] and everything(store) != expected

    def test_a_snapshot_fixes_now(self, store: Store) -> None:
        """What was alive when it was taken stays alive in it, while it expires outside."""
        for key, ttl in self.lifetimes():
            store.set("s", key, "n", b"1")
            store.expire("s", key, ttl=ttl)
            store.set("s", f"{key} entry", "n", b"1", ttl=ttl)
            with store.snapshot() as snapshot:
                found = snapshot.load_many("s", [key, f"{key} entry"])
                if len(found) < 2:
                    continue
                self.outlast(store, ttl)
                assert store.load_many("s", found) == {}
                assert snapshot.load_many("s", found) == found
                assert snapshot.get("s", key, "n") == b"1" == snapshot.get("s", f"{key} entry", "n")
                assert {*found} <= {*snapshot.object_keys("s")}
                assert snapshot.expires_at("s", key) is not None
                store.set("s", key, "n", b"2")
                assert snapshot.load_many("s", found) == found
                return

    def test_snapshots_of_different_moments(self, store: Store) -> None:
        """Each has its own moment, in whatever order they are read and closed."""
        snapshots = []
        for number in range(5):
            store.set("s", "k", "n", b"%d" % number)
            snapshots.append(store.snapshot())
        for number in (3, 0, 4, 1, 2):
            assert snapshots[number].get("s", "k", "n") == b"%d" % number
            snapshots[number].close()
        assert store.get("s", "k", "n") == b"4"

    def test_a_snapshot_lists_in_byte_order(self, store: Store) -> None:
        """Bounds and order of its listings are those of the store."""
        with store.batch() as batch:
            for name in NAMES:
                batch.set("s", name, name, b"1")
        with store.snapshot() as snapshot:
            store.clear_service("s")
            assert list(snapshot.object_keys("s")) == by_bytes(NAMES)
            backward = snapshot.scan("s", start="b", reverse=True, limit=2)
            assert [found.key for found in backward] == ["b", "ab"]
            assert snapshot.state_keys("s", NAMES[5], prefix=NAMES[5]) == [NAMES[5]]

    def test_a_closed_snapshot_refuses_every_verb(self, store: Store) -> None:
        """Also a walk that was begun before. Closing it again is no error."""
        for number in range(500):
            store.set("s", f"{number:03}", "n", b"1")
        snapshot = store.snapshot()
        walk = snapshot.object_keys("s")
        assert next(walk) == "000"
        snapshot.close()
        snapshot.close()
        uses: list[Callable[[], object]] = [
            lambda: snapshot.get("s", "000", "n"),
            lambda: snapshot.get_many("s", "000", ["n"]),
            lambda: snapshot.get_all("s", "000"),
            lambda: snapshot.load("s", "000"),
            lambda: snapshot.load_many("s", ["000"]),
            lambda: snapshot.exists("s", "000"),
            lambda: snapshot.state_keys("s", "000"),
            lambda: snapshot.version("s", "000"),
            lambda: snapshot.expires_at("s", "000"),
            lambda: snapshot.count("s"),
            snapshot.services,
            lambda: list(snapshot.object_keys("s")),
            lambda: list(snapshot.scan()),
            lambda: list(snapshot.workflows("s")),
            lambda: list(walk),
            snapshot.__enter__,
        ]
        for use in uses:
            with pytest.raises(DatabaseClosed, match="closed"):
                use()
        assert store.get("s", "000", "n") == b"1"
