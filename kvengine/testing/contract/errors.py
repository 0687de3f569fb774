"""Bad input and use after the end: a named error, and nothing written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from kvengine.errors import DatabaseClosed, ValueTooLarge
from kvengine.objects.state.base import State
from kvengine.objects.store import Store
from kvengine.storage.batch import Batch
from kvengine.testing.contract.home import FUTURE, Home

Verb = Callable[[Any, Any, Any, Any], object]


def batched(store: Store, verb: str, *arguments: Any) -> int:
    """Write a batch of one verb, as one that was made without a store."""
    batch = Batch()
    getattr(batch, verb)(*arguments)
    return store.write(batch)


OF_THREE_NAMES: dict[str, Verb] = {
    "get": lambda store, s, k, n: store.get(s, k, n),
    "get_many": lambda store, s, k, n: store.get_many(s, k, [n]),
    "expires_at": lambda store, s, k, n: store.expires_at(s, k, n),
    "state_keys": lambda store, s, k, n: store.state_keys(s, k, prefix=n),
    "state_keys start": lambda store, s, k, n: store.state_keys(s, k, start=n),
    "set": lambda store, s, k, n: store.set(s, k, n, b"2"),
    "clear": lambda store, s, k, n: store.clear(s, k, n),
    "pop": lambda store, s, k, n: store.pop(s, k, n),
    "clear_range": lambda store, s, k, n: store.clear_range(s, k, n),
    "object_keys": lambda store, s, k, n: list(store.object_keys(s, prefix=k, start=n)),
    "scan": lambda store, s, k, n: list(store.scan(s, start=k, stop=n)),
    "batch.set": lambda store, s, k, n: batched(store, "set", s, k, n, b"2"),
    "batch.clear": lambda store, s, k, n: batched(store, "clear", s, k, n),
    "object.get": lambda store, s, k, n: store.object(s, k).get(n),
    "object.set": lambda store, s, k, n: store.object(s, k).set(n, 2),
    "object.clear": lambda store, s, k, n: store.object(s, k).clear(n),
    "object.update": lambda store, s, k, n: store.object(s, k).update(n, int),
    "in object": lambda store, s, k, n: n in store.object(s, k),
}
OF_TWO_NAMES: dict[str, Verb] = {
    "get_all": lambda store, s, k, _: store.get_all(s, k),
    "exists": lambda store, s, k, _: store.exists(s, k),
    "load": lambda store, s, k, _: store.load(s, k),
    "load part": lambda store, s, k, _: store.load(s, k, max_bytes=9),
    "load_many": lambda store, s, k, _: store.load_many(s, [k]),
    "version": lambda store, s, k, _: store.version(s, k),
    "expires_at of an object": lambda store, s, k, _: store.expires_at(s, k),
    "count": lambda store, s, k, _: store.count(s, prefix=k),
    "clear_all": lambda store, s, k, _: store.clear_all(s, k),
    "expire": lambda store, s, k, _: store.expire(s, k, at=FUTURE),
    "expect": lambda store, s, k, _: store.write(Batch(), expect={(s, k): 0}),
    "object": lambda store, s, k, _: store.object(s, k).version(),
    "workflow": lambda store, s, k, _: store.workflow(s, k).completed,
}
OF_ONE_NAME: dict[str, Verb] = {
    "clear_service": lambda store, s, *_: store.clear_service(s),
    "workflows": lambda store, s, *_: list(store.workflows(s)),
    "services": lambda store, s, *_: store.services(s),
    "retention": lambda store, s, *_: store.retention(s),
    "set_retention": lambda store, s, *_: store.set_retention(s, 1),
    "watch": lambda store, s, *_: store.watch(s),
}
ASK_NO_STORE = {"batch.set", "batch.clear", "object", "workflow"}
"""What is made or checked without the store, which knows its limits and whether it is open."""

MAY_BE_NONE = {
    *(("expires_at", 2), ("clear_range", 2), ("object_keys", 2)),
    *(("scan", 0), ("scan", 1), ("scan", 2)),
}
"""Verbs and places in which None is not a wrong name, but leaves the argument out."""


class Errors(Home):
    """What every verb refuses."""

    @contextmanager
    def unchanged(self, store: Store) -> Iterator[None]:
        """Hold the block to writing nothing."""
        store.set("s", "k", "n", b"1")
        before = [store.services(), list(store.scan())]
        yield
        assert [store.services(), list(store.scan())] == before

    @pytest.mark.parametrize("verb", [*OF_THREE_NAMES, *OF_TWO_NAMES, *OF_ONE_NAME])
    def test_names_that_are_none(self, store: Store, verb: str) -> None:
        """TypeError for what is no str, ValueError for what has no UTF-8; in every place."""
        use = {**OF_THREE_NAMES, **OF_TWO_NAMES, **OF_ONE_NAME}[verb]
        places = 2 if verb in OF_TWO_NAMES else 1 if verb in OF_ONE_NAME else 3
        with self.unchanged(store):
            for place in range(places):
                for wrong in (b"k", 7, ["k"], None, "\ud800", "a\udfff"):
                    if wrong is None and (verb, place) in MAY_BE_NONE:
                        continue
                    names: list[Any] = ["s", "k", "n"]
                    names[place] = wrong
                    with pytest.raises(ValueError if isinstance(wrong, str) else TypeError):
                        use(store, *names)
                        pytest.fail(f"{wrong!r} was taken in place {place}")

    def test_names_that_are_too_long(self, store: Store) -> None:
        """ValueTooLarge, by verbs that read too."""
        wrong = "x" * (store.limits.name + 1)
        with self.unchanged(store):
            for verbs, places in ((OF_THREE_NAMES, 3), (OF_TWO_NAMES, 2), (OF_ONE_NAME, 1)):
                for verb in verbs.keys() - ASK_NO_STORE:
                    for place in range(places):
                        names = ["s", "k", "n"]
                        names[place] = wrong
                        with pytest.raises(ValueTooLarge):
                            verbs[verb](store, *names)
                            pytest.fail(f"{verb}: taken in place {place}")

    @pytest.mark.parametrize("value", [None, "text", 5, [1], object()])
    def test_values_that_are_no_bytes(self, store: Store, value: Any) -> None:
        """TypeError, in a batch as soon as it is set."""
        with self.unchanged(store):
            with pytest.raises(TypeError, match="value must be bytes, not "):
                store.set("s", "k", "n", value)
            with pytest.raises(TypeError, match="value must be bytes, not "):
                with store.batch() as batch:
                    batch.set("s", "k", "m", b"1")
                    batch.set("s", "k", "n", value)

    @pytest.mark.parametrize(
        ("ttl", "error"),
        [
            (float("inf"), ValueError),
            (float("nan"), ValueError),
            ("5", TypeError),
            (True, TypeError),
            (b"5", TypeError),
        ],
    )
    def test_ttls_that_make_no_sense(self, store: Store, ttl: Any, error: type[Exception]) -> None:
        """By every verb that takes one."""
        obj = store.object("s", "k")
        with self.unchanged(store):
            for use in (
                lambda: store.set("s", "k", "n", b"", ttl=ttl),
                lambda: store.expire("s", "k", ttl=ttl),
                lambda: Batch().set("s", "k", "n", b"", ttl=ttl),
                lambda: Batch().expire("s", "k", ttl=ttl),
                lambda: obj.set("n", 1, ttl=ttl),
                lambda: obj.expire(ttl=ttl),
            ):
                with pytest.raises(error, match="ttl must be"):
                    use()
            with pytest.raises(error, match="ttl must be"), obj.session() as state:
                state.set("n", 1, ttl=ttl)

    @pytest.mark.parametrize(
        ("at", "error"),
        [
            (-1.0, ValueError),
            (float("nan"), ValueError),
            (float("inf"), ValueError),
            (datetime(1969, 12, 31, tzinfo=UTC), ValueError),
            (datetime(2030, 1, 1), ValueError),
            ("tomorrow", TypeError),
            (True, TypeError),
        ],
    )
    def test_times_that_make_no_sense(self, store: Store, at: Any, error: type[Exception]) -> None:
        """Before 1970, without a zone, or no time at all."""
        with self.unchanged(store):
            for use in (
                lambda: store.set("s", "k", "n", b"", expires_at=at),
                lambda: store.expire("s", "k", at=at),
                lambda: Batch().set("s", "k", "n", b"", expires_at=at),
                lambda: store.object("s", "k").set("n", 1, expires_at=at),
            ):
                with pytest.raises(error):
                    use()

    def test_two_times_at_once(self, store: Store) -> None:
        """A ttl and a time exclude each other."""
        with self.unchanged(store):
            with pytest.raises(ValueError, match="ttl= or expires_at=, not both"):
                store.set("s", "k", "n", b"", ttl=1, expires_at=FUTURE)
            with pytest.raises(ValueError, match="at= or ttl=, not both"):
                store.expire("s", "k", at=FUTURE, ttl=1)

    @pytest.mark.parametrize("limit", ["5", 1.0, True, [1], -1, 1 << 70])
    def test_limits_that_make_no_sense(self, store: Store, limit: Any) -> None:
        """TypeError for what is no int, ValueError for one below zero or beyond all counting."""
        error = ValueError if type(limit) is int else TypeError
        for use in (
            lambda: list(store.object_keys("s", limit=limit)),
            lambda: list(store.scan("s", limit=limit)),
            lambda: store.state_keys("s", "k", limit=limit),
            lambda: store.services(limit=limit),
            lambda: store.load("s", "k", max_bytes=limit),
        ):
            with pytest.raises(error):
                use()

    @pytest.mark.parametrize("bound", ["prefix", "start", "stop"])
    def test_bounds_need_a_service(self, store: Store, bound: str) -> None:
        """Keys are ordered within a service: across services a bound would mean nothing."""
        with pytest.raises(ValueError, match="name a service"):
            list(store.scan(**{bound: "a"}))  # type: ignore[arg-type]

    def test_one_str_is_not_many(self, store: Store) -> None:
        """A name where an iterable of names belongs would be taken for its letters."""
        with pytest.raises(TypeError, match="an iterable of str, not one str"):
            store.get_many("s", "k", "name")
        with pytest.raises(TypeError, match="an iterable of str, not one str"):
            store.load_many("s", "keys")
        with pytest.raises(TypeError):
            store.workflows("s", "yes")  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "expect",
        [
            [("s", "k")],
            {"s": 1},
            {("s",): 1},
            {("s", "k", "n"): 1},
            {("s", 7): 1},
            {("s", "k"): "1"},
            {("s", "k"): None},
            {("s", "k"): True},
        ],
    )
    def test_expectations_that_are_none(self, store: Store, expect: Any) -> None:
        """TypeError, never a conflict and never a write: the caller has a bug, not a race."""
        batch = Batch()
        batch.set("s", "k", "n", b"2")
        with self.unchanged(store), pytest.raises(TypeError):
            store.write(batch, expect=expect)

    def test_a_write_of_something_else(self, store: Store) -> None:
        """What is no batch is refused, and so is a durability that there is not."""
        batch: Any
        for batch in ({}, None, "batch"):
            with pytest.raises(TypeError, match=r"batch must be a kvengine\.Batch"):
                store.write(batch)
        batch = Batch()
        batch.set("s", "k", "n", b"1")
        with pytest.raises(ValueError, match="durability must be"):
            store.write(batch, durability="fast")  # type: ignore[arg-type]
        assert not store.exists("s", "k")

    def test_a_closed_store_refuses_every_verb(self, store: Store) -> None:
        """DatabaseClosed, also of what was begun before. Closing it again is no error."""
        for number in range(500):
            store.set("s", f"{number:03}", "n", b"1")
        obj, flow = store.object("s", "k"), store.workflow("w", "k")
        walk, snapshot = store.scan(), store.snapshot()
        assert next(walk).key == "000"
        batch = Batch()
        batch.set("s", "k", "n", b"1")
        store.close()
        store.close()
        uses: list[Callable[[], object]] = [
            *(partial(verb, store, "s", "k", "n") for verb in _of_the_store()),
            lambda: store.write(batch),
            lambda: list(store.scan()),
            lambda: list(walk),
            store.snapshot,
            store.stats,
            lambda: snapshot.get("s", "000", "n"),
            lambda: list(snapshot.scan()),
            obj.get_all,
            obj.state_keys,
            obj.version,
            obj.expires_at,
            lambda: obj.increment("n"),
            lambda: obj.pop("n"),
            obj.clear_all,
            lambda: obj.expire(ttl=1),
            lambda: obj.session().__enter__(),
            flow.complete,
            lambda: flow.completed,
        ]
        for number, use in enumerate(uses):
            with pytest.raises(DatabaseClosed, match="closed"):
                use()
                pytest.fail(f"use {number} was answered")
        snapshot.close()

    @pytest.mark.parametrize("preload", [True, False])
    def test_a_store_that_is_closed_under_a_session(self, store: Store, preload: bool) -> None:
        """The end of the session says so: what it had to write is not written."""
        store.object("s", "k").set("n", 1)
        with pytest.raises(DatabaseClosed):
            with store.object("s", "k").session(preload=preload) as state:
                state.set("n", 2)
                store.close()

    def test_a_store_is_a_context(self, store: Store) -> None:
        """It is open within its block, and closed behind it."""
        with store as found:
            found.set("s", "k", "n", b"1")
            assert store.exists("s", "k")
        with pytest.raises(DatabaseClosed):
            store.exists("s", "k")

    def test_figures(self, store: Store) -> None:
        """stats() tells them while the store is open, and disturbs nothing."""
        store.set("s", "k", "n", b"1")
        assert store.stats() is not None and store.stats().open_snapshots >= 0
        assert store.get("s", "k", "n") == b"1"

    @pytest.mark.parametrize(
        ("settings", "error"),
        [
            ({"preload": "name"}, TypeError),
            ({"preload": 3}, TypeError),
            ({"preload": [1]}, TypeError),
            ({"preload_limit": -1}, ValueError),
            ({"preload_limit": 1.5}, TypeError),
            ({"preload_limit": 1, "preload": False}, ValueError),
            ({"timeout": -1}, ValueError),
            ({"timeout": "1"}, TypeError),
            ({"timeout": float("nan")}, ValueError),
            ({"durability": "maybe"}, ValueError),
            ({"state": int}, TypeError),
            ({"state": State()}, TypeError),
        ],
    )
    def test_settings_of_sessions_that_make_no_sense(
        self, store: Store, settings: Any, error: type[Exception]
    ) -> None:
        """session() refuses them itself, before anything waits, and names the setting."""
        named = "kvengine.State" if "state" in settings else next(iter(settings))
        with pytest.raises(error, match=named):
            store.object("s", "k").session(**settings)


def _of_the_store() -> Iterator[Verb]:
    for name, verb in {**OF_THREE_NAMES, **OF_TWO_NAMES, **OF_ONE_NAME}.items():
        if name not in ASK_NO_STORE:
            yield verb
