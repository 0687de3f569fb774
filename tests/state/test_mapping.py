"""State as a MutableMapping, over an object or a session: what CPython's own tests do not ask."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest

import kvengine
from tests.api.refusals import refuses


@pytest.fixture(params=["object", "session", "lazy session"])
def mapping(
    request: pytest.FixtureRequest, db: kvengine.Engine
) -> Iterator[MutableMapping[str, Any]]:
    """The mapping of an object with the entries a, b and c."""
    obj = db.object("S", "k")
    for number, name in enumerate("cab"):
        obj.set(name, number)
    if request.param == "object":
        yield obj.mapping()
        return
    with obj.session(preload=request.param == "session") as state:
        yield state.mapping()


def test_it_is_a_mutable_mapping(mapping: MutableMapping[str, Any]) -> None:
    """In key order, equal to a dict of the same entries, with a repr that shows them."""
    assert isinstance(mapping, MutableMapping)
    assert list(mapping) == ["a", "b", "c"] and len(mapping) == 3 and bool(mapping)
    assert list(mapping.items()) == [("a", 1), ("b", 2), ("c", 0)]
    assert list(mapping.values()) == [1, 2, 0] and list(reversed(list(mapping))) == ["c", "b", "a"]
    assert mapping == {"c": 0, "b": 2, "a": 1} != {}
    assert repr(mapping) == "StateMapping({'a': 1, 'b': 2, 'c': 0})"


def test_what_is_absent(mapping: MutableMapping[str, Any]) -> None:
    """KeyError names the key; get, pop and setdefault take a default."""
    for use in (mapping.__getitem__, mapping.__delitem__, mapping.pop):
        with pytest.raises(KeyError) as raised:
            use("missing")
        assert raised.value.args == ("missing",)
    assert mapping.get("missing") is None and mapping.get("missing", 7) == 7
    assert mapping.pop("missing", 7) == 7 and "missing" not in mapping
    assert mapping.setdefault("missing", 7) == 7 and mapping["missing"] == 7
    assert mapping.setdefault("a", 7) == 1
    assert mapping == {"a": 1, "b": 2, "c": 0, "missing": 7}


def test_none_is_a_value(mapping: MutableMapping[str, Any]) -> None:
    """An entry that holds None is there."""
    mapping["a"] = None
    assert "a" in mapping and mapping["a"] is None and mapping.get("a", 7) is None
    assert mapping.setdefault("a", 7) is None and mapping.pop("a", 7) is None
    assert "a" not in mapping


def test_popitem(mapping: MutableMapping[str, Any]) -> None:
    """popitem takes entries until there are none, then it is a KeyError."""
    assert dict(mapping.popitem() for _ in range(3)) == {"a": 1, "b": 2, "c": 0}
    with pytest.raises(KeyError):
        mapping.popitem()
    assert not mapping


@pytest.mark.parametrize("key", [1, None, b"a", ("a",), []])
def test_keys_that_are_not_names(mapping: MutableMapping[Any, Any], key: Any) -> None:
    """Nothing but a str is a key: not there to read, a TypeError to set."""
    assert key not in mapping and mapping.get(key, 7) == 7
    for use in (mapping.__getitem__, mapping.__delitem__):
        with pytest.raises(KeyError):
            use(key)
    with refuses(TypeError, "state_key must be str"):
        mapping[key] = 1
    assert len(mapping) == 3


def test_changes_while_it_is_walked(mapping: MutableMapping[str, Any]) -> None:
    """A walk is over the keys there were; entries may come and go meanwhile."""
    for key in mapping:
        mapping[key + key] = mapping.pop(key)
    assert mapping == {"aa": 1, "bb": 2, "cc": 0}


def test_what_is_read_is_a_copy(mapping: MutableMapping[str, Any]) -> None:
    """A value changed in place is stored only when it is set."""
    mapping["a"] = [1]
    mapping["a"].append(2)
    assert mapping["a"] == [1]
    mapping["a"] += [2]
    assert mapping["a"] == [1, 2]


def test_values_that_do_not_encode(mapping: MutableMapping[str, Any]) -> None:
    """The error of the object's serde; the entry stays as it was."""
    with refuses(kvengine.SerdeError, "'S', 'k', 'a'"):
        mapping["a"] = object()
    with refuses(kvengine.SerdeError, "'S', 'k', 'b'"):
        mapping.update(a=7, b=object())
    assert mapping == {"a": 7, "b": 2, "c": 0}


def test_an_entry_that_does_not_decode(db: kvengine.Engine) -> None:
    """It is there and its value is an error; it can be deleted and set like any other."""
    db.set("S", "k", "bad", b"\xff")
    with db.object("S", "k").session() as state:
        for mapping in (db.object("S", "k").mapping(), state.mapping()):
            assert list(mapping) == ["bad"] and "bad" in mapping
            with refuses(kvengine.SerdeError, "'S', 'k', 'bad'"):
                mapping["bad"]
            with refuses(kvengine.SerdeError, "'S', 'k', 'bad'"):
                mapping.get("bad", 7)
    del db.object("S", "k").mapping()["bad"]
    assert db.version("S", "k") == 0


def test_commits_of_an_object(db: kvengine.Engine) -> None:
    """Over an object each change is a commit; clear is one, whatever the number of entries."""
    mapping = db.object("S", "k").mapping()

    def commits() -> int:
        return db.stats().commits

    mapping.update({str(number): number for number in range(20)})
    assert commits() == 20
    db.expire("S", "k", ttl=100)
    before = commits()
    mapping.clear()
    assert commits() == before + 1
    assert not mapping and db.expires_at("S", "k") is None
    with pytest.raises(KeyError):
        del mapping["missing"]
    assert commits() == before + 1
    mapping["a"] = 1
    mapping.setdefault("a", 2)
    assert commits() == before + 2


@pytest.mark.parametrize("preload", [True, False])
def test_a_session_is_one_commit(db: kvengine.Engine, preload: bool) -> None:
    """Over a session the changes are the session's: one commit at its end, none when it raises."""
    obj = db.object("S", "k")
    obj.mapping().update(a=1, b=2)
    before = db.stats().commits
    with pytest.raises(LookupError):
        with obj.session(preload=preload) as state:
            state.mapping().clear()
            raise LookupError
    with obj.session(preload=preload) as state:
        mapping = state.mapping()
        mapping.clear()
        mapping.update(c=3, d=4)
        mapping["e"] = mapping.pop("d")
        assert state.get_all() == mapping == {"c": 3, "e": 4}
        assert obj.mapping() == {"a": 1, "b": 2}
    assert db.stats().commits == before + 1
    assert obj.mapping() == {"c": 3, "e": 4}


def test_a_read_only_session(db: kvengine.Engine) -> None:
    """The mapping of a read-only session reads; every change is refused at once."""
    obj = db.object("S", "k")
    obj.set("a", 1)
    with obj.session(read_only=True) as state:
        mapping = state.mapping()
        assert mapping == {"a": 1}
        for write in (
            lambda: mapping.update(a=2),
            lambda: mapping.pop("a"),
            mapping.popitem,
            mapping.clear,
        ):
            with refuses(kvengine.ReadOnly, "read-only"):
                write()
        assert mapping == {"a": 1}


def test_the_serde_is_that_of_the_handle(db: kvengine.Engine) -> None:
    """A mapping encodes as its handle does."""
    mapping = db.object("S", "k", serde="bytes").mapping()
    mapping["a"] = b"\xff"
    assert mapping == {"a": b"\xff"} and db.get("S", "k", "a") == b"\xff"
