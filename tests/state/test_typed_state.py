"""Typed state: attributes that are entries, with defaults; what clears them, what they are not."""

from __future__ import annotations

import pytest

import kvengine
from tests.api.refusals import refuses
from tests.state.values import Greeter, Point


def test_defaults(obj: kvengine.VirtualObject, db: kvengine.Engine) -> None:
    """A field without an entry reads as its default; reading writes nothing."""
    with obj.session(Greeter) as state:
        assert (state.name, state.count, state.ratio, state.on) == ("world", 0, 0.5, False)
        assert (state.nick, state.tags, state.limits) == (None, [], {"low": 1})
        assert state.point == Point(0)
    assert db.stats().commits == 0 and obj.version() == 0


def test_attributes_are_entries(obj: kvengine.VirtualObject, db: kvengine.Engine) -> None:
    """What is set is one commit of entries by the attributes' names; entries load as attributes."""
    with obj.session(Greeter) as state:
        state.name = "Ada"
        state.count += 3
        state.nick = None
        state.tags = ["a"]
        state.point = Point(1, 2)
        assert (state.name, state.count, state.tags) == ("Ada", 3, ["a"])
        assert obj.get_all() == {}
    assert db.stats().commits == 1
    assert obj.get_all() == {
        "count": 3,
        "name": "Ada",
        "nick": None,
        "point": {"x": 1, "y": 2},
        "tags": ["a"],
    }
    obj.set("on", True)
    with obj.session(Greeter) as state:
        assert (state.name, state.count, state.nick, state.on) == ("Ada", 3, None, True)
        assert state.tags == ["a"] and state.point == Point(1, 2)


def test_methods_and_properties(obj: kvengine.VirtualObject) -> None:
    """A state has methods and properties like any class; a setter sets fields."""
    with obj.session(Greeter) as state:
        assert state.greet() == "Hello world"
        state.shown = "Ada"
        assert state.greet() == "Hello Ada"
        with pytest.raises(AttributeError):
            state.greet_count = 1  # type: ignore[attr-defined]
    assert obj.get_all() == {"count": 2, "nick": "Ada"}


def test_entries_that_no_field_names(obj: kvengine.VirtualObject) -> None:
    """Other entries are kept as they are, whatever they hold."""
    obj.set("other", b"\xff", serde="bytes")
    obj.set("count", 1)
    with obj.session(Greeter) as state:
        state.count += 1
        del state.name
    assert obj.get("other", serde="bytes") == b"\xff" and obj.get("count") == 2
    with obj.session(Greeter) as state:
        state.clear_all()
        assert state.count == 0
    assert obj.version() == 0


def test_a_required_field(obj: kvengine.VirtualObject) -> None:
    """A field without a default is an AttributeError until it is set, and after it is deleted."""
    with obj.session(Greeter) as state:
        assert not hasattr(state, "token")
        with refuses(AttributeError, r"Greeter\.token is not set, and has no default"):
            _ = state.token
        state.token = "t"
        assert state.token == "t"
        del state.token
        assert getattr(state, "token", "none") == "none"
        state.token = "t"
    with obj.session(Greeter) as state:
        assert state.token == "t"


def test_del_clears(obj: kvengine.VirtualObject) -> None:
    """`del` clears the entry: the field reads as its default again, as often as one likes."""
    obj.set("count", 3)
    obj.set("tags", ["a"])
    with obj.session(Greeter) as state:
        assert (state.count, state.tags) == (3, ["a"])
        for _ in range(2):
            del state.count, state.tags
            assert (state.count, state.tags) == (0, [])
        state.count = 1
    assert obj.get_all() == {"count": 1}


@pytest.mark.parametrize("name", ["cuont", "_count", "greeting"])
def test_a_typo(obj: kvengine.VirtualObject, name: str) -> None:
    """An attribute that is no field is refused: what is set there would not be stored."""
    with obj.session(Greeter) as state:
        with refuses(AttributeError, f"Greeter has no field '{name}'.*would not be stored"):
            setattr(state, name, 1)
        with refuses(AttributeError, f"Greeter has no field '{name}'"):
            delattr(state, name)
        with pytest.raises(AttributeError):
            getattr(state, name)
    assert obj.version() == 0


def test_a_property_without_a_setter() -> None:
    """It is Python's own error."""

    class Loud(Greeter):
        @property
        def loud(self) -> str:
            return self.name.upper()

    state = Loud(name="ada")
    assert state.loud == "ADA"
    with pytest.raises(AttributeError):
        state.loud = "x"  # type: ignore[misc]


def test_two_states_of_one_object(obj: kvengine.VirtualObject) -> None:
    """Two classes may share an object: each has its fields, and keeps the other's."""

    class Counter(kvengine.State):
        count: int = 0
        total: int = 0

    with obj.session(Greeter) as greeter:
        greeter.count, greeter.name = 2, "Ada"
    with obj.session(Counter) as counter:
        counter.total = counter.count * 2
        del counter.count
    assert obj.get_all() == {"name": "Ada", "total": 4}


def test_made_by_itself() -> None:
    """A state made by itself lives in memory, with the values given: for tests of handlers."""
    state = Greeter(count=3, tags=["a"])
    assert state.greet() == "Hello world" and state.count == 4 and state.tags == ["a"]
    state.tags.append("b")
    assert state.tags == ["a", "b"]
    del state.count
    assert state.count == 0 and Greeter().tags == []
    with refuses(kvengine.FieldError, r"Greeter\.count"):
        Greeter(count="x")
    with refuses(AttributeError, "no field 'cuont'"):
        Greeter(cuont=1)
    state.complete()
    assert state.commit() is None and state.tags == ["a", "b"]
    state.clear_all()
    assert state.tags == [] and state.name == "world"
    with refuses(kvengine.SessionError, "Greeter belongs to no session"):
        kvengine.session_of(state)


def test_the_repr_of_a_state(obj: kvengine.VirtualObject) -> None:
    """The class, and what it has read or set so far."""
    obj.set("tags", ["a"])
    with obj.session(Greeter) as state:
        assert repr(state) == "Greeter()"
        state.count = 1
        assert state.tags == ["a"]
        assert repr(state) == "Greeter(count=1, tags=['a'])"
    assert repr(Greeter.count) == "<field count: int, entry 'count'>"
