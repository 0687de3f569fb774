"""Virtual objects: the verbs of one object, with values instead of bytes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
import pytest

from kvengine.errors import SerdeError
from kvengine.objects.store import Store
from kvengine.testing.contract.home import FUTURE, LONG, NAMES, Home, by_bytes, in_threads, walked


class Point(msgspec.Struct):
    """A value that is not of a JSON type."""

    x: int
    y: int = 0


class Objects(Home):
    """object, and the verbs of what it returns but for sessions."""

    def test_values_come_back(self, store: Store) -> None:
        """What is set is read, as a value or as ``type`` says; a default where there is none."""
        obj = store.object("S", "k")
        assert (obj.service, obj.key) == ("S", "k")
        first = obj.set("a", {"x": 1})
        second = obj.set("b", Point(1, 2))
        assert 0 < first < second == obj.version() == store.version("S", "k")
        assert obj.get("a") == {"x": 1} and obj.get("b", type=Point) == Point(1, 2)
        assert obj.get("c") is None and obj.get("c", 7) == 7 and obj.get("c", 7, type=int) == 7
        assert "a" in obj and "c" not in obj
        assert list(obj.get_all().items()) == [("a", {"x": 1}), ("b", {"x": 1, "y": 2})]
        assert obj.get_all(type=Point) == {"a": Point(1), "b": Point(1, 2)}
        assert store.get("S", "k", "b") == b'{"x":1,"y":2}'

    def test_none_is_a_value(self, store: Store) -> None:
        """None is stored, is listed, and is not the default."""
        obj = store.object("S", "k")
        obj.set("a", None)
        assert obj.get("a", "default") is None and "a" in obj and obj.state_keys() == ["a"]
        assert obj.pop("a", "default") is None and "a" not in obj

    def test_what_get_returns_is_a_copy(self, store: Store) -> None:
        """A value that is changed in place is stored only when it is set."""
        obj = store.object("S", "k")
        value = [1]
        obj.set("a", value)
        value.append(2)
        obj.get("a").append(3)
        obj.get_all()["a"].append(4)
        assert obj.get("a") == [1]

    def test_names_of_objects(self, store: Store) -> None:
        """Any names, as those of bytes; state keys are listed in byte order, by every bound."""
        for name in NAMES:
            store.object(name, name).set(name, name)
            store.object("S", "k").set(name, name)
        for name in NAMES:
            obj = store.object(name, name)
            assert (obj.service, obj.key, obj.get_all()) == (name, name, {name: name})
        obj = store.object("S", "k")
        assert obj.state_keys() == by_bytes(NAMES) == list(obj.get_all())
        assert obj.state_keys(prefix="a", start="a\0", limit=2) == walked(
            NAMES, prefix="a", start="a\0", limit=2
        )
        assert obj.state_keys(reverse=True, start="b", limit=3) == walked(
            NAMES, start="b", reverse=True, limit=3
        )

    def test_clear_and_clear_all(self, store: Store) -> None:
        """clear removes an entry, clear_all each of them and the expiry; both return a stamp."""
        obj = store.object("S", "k")
        for name in "abc":
            obj.set(name, name)
        stamp = obj.clear("b")
        assert obj.version() == stamp and obj.get_all() == {"a": "a", "c": "c"}
        assert obj.expire(at=FUTURE) and obj.expires_at() == FUTURE
        assert obj.clear_all() > stamp
        assert (obj.version(), obj.get_all(), obj.state_keys()) == (0, {}, [])
        obj.set("d", 1)
        assert obj.get_all() == {"d": 1} and obj.expires_at() is None

    def test_expiry_of_entries_and_of_the_object(self, store: Store) -> None:
        """By ttl or by time, of an entry or of the whole, as with the verbs of bytes."""
        obj = store.object("S", "k")
        assert not obj.expire(ttl=LONG) and obj.version() == 0
        obj.set("brief", 1, ttl=self.brief)
        obj.set("long", 2, ttl=timedelta(seconds=LONG))
        obj.set("far", 3, expires_at=FUTURE)
        obj.set("kept", 4)
        assert obj.expires_at("far") == FUTURE and obj.expires_at("kept") is None
        assert obj.expires_at("long") == store.expires_at("S", "k", "long") is not None
        self.outlast(store)
        assert obj.get_all() == {"far": 3, "kept": 4, "long": 2}
        assert obj.get("brief", "gone") == "gone" and "brief" not in obj
        assert obj.expire(at=FUTURE + 1) and obj.expires_at() == FUTURE + 1
        assert obj.expire() and obj.expires_at() is None
        assert obj.expire(ttl=-1) and obj.get_all() == {} and not obj.expire()

    @pytest.mark.parametrize("serde", ["json", "msgpack", "bytes"])
    def test_serdes_by_name(self, store: Store, serde: Any) -> None:
        """A handle encodes by its serde, an entry by the one that its verb names."""
        obj = store.object("S", "k", serde=serde)
        value: Any = b"\0\xff" if serde == "bytes" else [1, "é", None]
        obj.set("a", value)
        obj.set("raw", b"", serde="bytes")
        assert obj.get("a") == value and obj.get("raw", serde="bytes") == b""
        assert store.object("S", "k").get("a", serde=serde) == value
        assert store.get("S", "k", "raw") == b""

    def test_values_that_do_not_encode_or_decode(self, store: Store) -> None:
        """SerdeError names the entry, and nothing is written."""
        obj = store.object("S", "k")
        before = obj.set("a", "text")
        uses: list[Callable[[], object]] = [
            lambda: obj.set("a", object()),
            lambda: obj.set("a", float("nan")),
            lambda: obj.get("a", type=int),
            lambda: obj.update("a", lambda _: object()),
        ]
        for use in uses:
            with pytest.raises(SerdeError) as error:
                use()
            assert (error.value.service, error.value.key, error.value.state_key) == ("S", "k", "a")
        assert obj.version() == before and obj.get("a") == "text"

    def test_update(self, store: Store) -> None:
        """It sets what the function makes of the value, or of a copy of the default."""
        obj = store.object("S", "k")
        nothing: list[str] = []

        def add(item: str) -> Callable[[list[str]], list[str]]:
            def change(items: list[str]) -> list[str]:
                items.append(item)
                return items

            return change

        assert obj.update("items", add("tea"), nothing) == ["tea"]
        assert obj.update("items", add("milk"), nothing) == ["tea", "milk"]
        assert nothing == [] and obj.get("items") == ["tea", "milk"]
        assert obj.update("p", lambda p: Point(p.x + 1), Point(1), type=Point) == Point(2)
        with pytest.raises(IndexError):
            obj.update("items", lambda items: items[7])
        assert obj.get("items") == ["tea", "milk"]

    def test_update_is_atomic(self, store: Store, another: Callable[[], Store]) -> None:
        """A commit of another client in between makes it begin again with the new value."""
        obj, other = store.object("S", "k"), another().object("S", "k")
        seen = []

        def change(value: int) -> int:
            seen.append(value)
            if len(seen) < 3:
                other.set("n", 10 * len(seen))
            return value + 1

        assert obj.update("n", change, 0) == 21
        assert seen == [0, 10, 20] and other.get("n") == 21

    def test_increment(self, store: Store) -> None:
        """It adds to a number, 0 where there is none; TypeError for what is no number."""
        obj = store.object("S", "k")
        assert [obj.increment("n"), obj.increment("n", 5), obj.increment("n", -2)] == [1, 6, 4]
        assert obj.increment("n", 0.5) == 4.5
        obj.set("text", "a")
        version = obj.set("flag", True)
        for name in ("text", "flag"):
            with pytest.raises(TypeError, match=rf"entry '{name}' of object .* not a number"):
                obj.increment(name)
        by: Any
        for by in ("1", True, None):
            with pytest.raises(TypeError, match="by must be a number"):
                obj.increment("n", by)
        assert obj.get("n") == 4.5 and obj.version() == version

    def test_no_increment_is_lost(self, store: Store, another: Callable[[], Store]) -> None:
        """Threads of two clients that add to one counter: the sum is what all of them added."""
        clients = [store, store, another()]

        def add(client: Store) -> None:
            for number in range(20):
                if number % 2:
                    client.object("S", "k").increment("n")
                else:
                    client.object("S", "k").update("n", lambda value: value + 1, 0)

        in_threads(*(partial(add, client) for client in clients))
        assert store.object("S", "k").get("n") == 60

    def test_pop(self, store: Store) -> None:
        """The value, once, or the default; what does not decode stays."""
        obj = store.object("S", "k")
        version = obj.set("a", [1])
        store.set("S", "k", "bad", b"\xff{")
        assert obj.pop("a") == [1] and obj.pop("a") is None and obj.pop("a", "gone") == "gone"
        with pytest.raises(SerdeError):
            obj.pop("bad")
        assert obj.pop("bad", serde="bytes") == b"\xff{" and not store.exists("S", "k")
        assert obj.version() == 0 < version

    def test_update_and_increment_keep_the_ttl(self, store: Store) -> None:
        """update and increment leave the expiry that an entry has; set does not."""
        obj = store.object("S", "k")
        obj.set("n", 1, expires_at=FUTURE)
        obj.increment("n")
        assert obj.expires_at("n") == FUTURE
        obj.update("n", lambda value: value * 10)
        assert obj.expires_at("n") == FUTURE and obj.get("n") == 20
        obj.set("n", 1)
        obj.increment("n")
        assert obj.expires_at("n") is None

    def test_a_mapping(self, store: Store) -> None:
        """mapping() is a MutableMapping over the entries, in key order."""
        mapping = store.object("S", "k").mapping()
        mapping.update(b=2, a=[1])
        assert dict(mapping) == {"a": [1], "b": 2} and list(mapping) == ["a", "b"]
        assert mapping.setdefault("b", 3) == 2 and mapping.pop("b") == 2 and len(mapping) == 1
        with pytest.raises(KeyError):
            mapping["b"]
        with pytest.raises(KeyError):
            del mapping["b"]
        assert "a" in mapping and "b" not in mapping
        mapping.clear()
        assert not mapping and not store.exists("S", "k")
