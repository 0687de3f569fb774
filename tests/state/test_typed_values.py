"""Values of typed state: what fits a field, read or set, and the error that names it."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any

import pytest

import kvengine
from tests.api.refusals import refuses
from tests.state.values import Color, Greeter, Place, Point, User

WRONG_ENTRIES: dict[str, tuple[bytes, str]] = {
    "name": (b"1", "expected str"),
    "count": (b'"text"', "expected int"),
    "on": (b"1", "expected bool"),
    "nick": (b"[]", r"expected str \| None"),
    "tags": (b'["a",1]', r"expected list\[str\].*\$\[1\]"),
    "limits": (b'{"low":"1"}', r"expected dict\[str, int\]"),
    "point": (b"{}", "x"),
    "ratio": (b"{", "expected float"),
}


@pytest.mark.parametrize("name", WRONG_ENTRIES)
def test_an_entry_of_another_type(obj: kvengine.VirtualObject, name: str) -> None:
    """A stored value that does not fit its field is an error when it is read, and stays."""
    data, message = WRONG_ENTRIES[name]
    obj.set(name, data, serde="bytes")
    with obj.session(Greeter) as state:
        with refuses(kvengine.SerdeError, rf"'Greeter', 'alice', '{name}'.*Greeter\.{name}"):
            getattr(state, name)
        with refuses(kvengine.SerdeError, message):
            getattr(state, name)
    assert obj.get(name, serde="bytes") == data
    with obj.session(Greeter) as state:
        delattr(state, name)
        getattr(state, name)
    assert name not in obj


WRONG_VALUES: dict[str, Any] = {
    "name": 1,
    "count": "text",
    "ratio": "0.5",
    "on": 1,
    "nick": 1,
    "tags": ["a", 1],
    "limits": {"low": None},
    "point": [1, 2],
    "token": None,
}


@pytest.mark.parametrize("name", WRONG_VALUES)
def test_a_value_of_another_type(obj: kvengine.VirtualObject, name: str) -> None:
    """Setting one is a FieldError that names the field; the field stays as it was."""
    with obj.session(Greeter) as state:
        before = getattr(state, name, None)
        with pytest.raises(kvengine.FieldError) as raised:
            setattr(state, name, WRONG_VALUES[name])
        assert getattr(state, name, None) == before
    error = raised.value
    assert (error.service, error.key, error.state_key) == ("Greeter", "alice", name)
    assert f"Greeter.{name}: expected" in str(error) and "\n" not in str(error)
    assert isinstance(error, TypeError) and isinstance(error, kvengine.SerdeError)
    assert obj.version() == 0


@pytest.mark.parametrize("value", [float("nan"), "\ud800", object(), b"bytes", [float("inf")]])
@pytest.mark.parametrize("name", ["ratio", "name", "tags", "any"])
def test_a_value_that_no_serde_takes(name: str, value: Any) -> None:
    """What JSON refuses a field refuses too, whatever its type."""

    class Loose(kvengine.State):
        ratio: float = 0.0
        name: str = ""
        tags: list[Any] = []
        any: Any = None

    state = Loose()
    with refuses(kvengine.FieldError, rf"Loose\.{name}: "):
        setattr(state, name, value)


def test_values_are_read_back_as_they_load(obj: kvengine.VirtualObject) -> None:
    """What fits the type is taken, and reads at once as it will from the entry."""

    class Loose(kvengine.State):
        ratio: float = 0.0
        born: date | None = None
        color: Color = Color.RED

    with obj.session(Loose) as state:
        state.ratio = 1
        state.born = "1815-12-10"  # type: ignore[assignment]
        state.color = "green"  # type: ignore[assignment]
        read = (state.ratio, state.born, state.color)
        assert read == (1.0, date(1815, 12, 10), Color.GREEN)
        assert [type(one) for one in read] == [float, date, Color]
    with obj.session(Loose) as state:
        assert (state.ratio, state.born, state.color) == read


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [("point", {"x": 1}, Point), ("tags", ("a",), list), ("limits", Point(1), dict)],
)
def test_an_attribute_is_of_its_type(name: str, value: Any, kind: type) -> None:
    """A value that only looks like the type once stored is refused, or turned into one."""
    state = Greeter()
    with suppress(kvengine.FieldError):
        setattr(state, name, value)
    assert isinstance(getattr(state, name), kind)


def test_types_of_fields(obj: kvengine.VirtualObject) -> None:
    """Fields of every kind of type that a serde knows."""

    class Kinds(kvengine.State):
        place: Place = Place("home")
        user: User = User(name="Ada")
        color: Color = Color.RED
        when: datetime = datetime(2024, 2, 29, tzinfo=UTC)
        pair: tuple[int, str] = (1, "a")
        names: set[str] = set()
        either: int | str | list[Point] = 0
        anything: Any = None
        raw: bytes = b"\xff"

    assert Kinds().user.name == "Ada" and Kinds().when.year == 2024
    values: dict[str, Any] = {
        "place": Place("away", [Point(1)]),
        "user": User(name="Bob", born=date(2000, 1, 1)),
        "color": Color.GREEN,
        "when": datetime(2025, 1, 1, tzinfo=UTC),
        "pair": (2, "b"),
        "names": {"a", "b"},
        "either": [Point(2)],
        "anything": {"x": [None]},
        "raw": b"\0\xfe",
    }
    with obj.session(Kinds) as state:
        for name, value in values.items():
            setattr(state, name, value)
    with obj.session(Kinds) as state:
        assert {name: getattr(state, name) for name in values} == values
    assert obj.get("raw", type=bytes) == b"\0\xfe"
