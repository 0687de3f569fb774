"""A change made inside a value of typed state is written with the commit, and nothing else is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
import msgspec
import pytest

import kvengine
from kvengine.storage.clock import ManualClock
from tests.api.refusals import refuses
from tests.state.values import Color, Part, Place, Point, User


class Deep(kvengine.State):
    items: list[Any] = [0]
    table: dict[str, list[int]] = {"a": [1]}
    names: set[str] = {"x"}
    point: Point = Point(0)
    place: Place = Place("home", [Point(1)])
    part: Part = Part(1)
    user: User = User(name="Ada")
    pair: tuple[int, list[int]] = (1, [2])
    anything: Any = None
    packed: list[bytes] = kvengine.field(default=[b"\xff"], serde="msgpack")
    count: int = 0
    color: Color = Color.RED


CHANGES: dict[str, tuple[str, Callable[[Deep], object], Any]] = {
    "append": ("items", lambda s: s.items.append(1), [0, 1]),
    "item": ("items", lambda s: s.items.__setitem__(0, None), [None]),
    "0 to False": ("items", lambda s: s.items.__setitem__(0, False), [False]),
    "0 to 0.0": ("items", lambda s: s.items.__setitem__(0, 0.0), [0.0]),
    "augmented": ("items", lambda s: s.items.extend("ab"), [0, "a", "b"]),
    "key": ("table", lambda s: s.table.update(b=[]), {"a": [1], "b": []}),
    "list in dict": ("table", lambda s: s.table["a"].append(2), {"a": [1, 2]}),
    "del of a key": ("table", lambda s: s.table.pop("a"), {}),
    "set": ("names", lambda s: s.names.clear(), []),
    "struct": ("point", lambda s: setattr(s.point, "y", 5), {"x": 0, "y": 5}),
    "struct in dataclass": (
        "place",
        lambda s: setattr(s.place.points[0], "x", 9),
        {"name": "home", "points": [{"x": 9, "y": 0}]},
    ),
    "attrs": ("part", lambda s: setattr(s.part, "name", "nut"), {"number": 1, "name": "nut"}),
    "pydantic": (
        "user",
        lambda s: s.user.tags.append("a"),
        {"name": "Ada", "born": None, "tags": ["a"]},
    ),
    "list in tuple": ("pair", lambda s: s.pair[1].append(3), [1, [2, 3]]),
}


@pytest.mark.parametrize("loaded", ["from its entry", "from its default", "as it was set"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_in_place(obj: kvengine.VirtualObject, change: str, loaded: str) -> None:
    """Found at commit and written: in a list, dict, set, struct, model, or in what they hold.

    Whether the value was stored, a default, or set in the same session.
    """
    name, alter, expected = CHANGES[change]
    default = getattr(Deep(), name)
    if loaded == "from its entry":
        obj.set(name, default)
    with obj.session(Deep) as state:
        if loaded == "as it was set":
            setattr(state, name, getattr(Deep(), name))
        alter(state)
        assert state.count == 0
    found = obj.get(name)
    assert json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True)
    assert obj.state_keys() == [name]
    assert getattr(Deep(), name) == default, "a default is a copy for each state"


@pytest.mark.parametrize("change", CHANGES)
def test_after_a_commit_in_the_middle(obj: kvengine.VirtualObject, change: str) -> None:
    """commit() writes what was changed so far; a later change in place is found too."""
    name, alter, expected = CHANGES[change]
    with obj.session(Deep) as state:
        getattr(state, name)
        state.count = 1
        assert state.commit() == obj.version()
        assert obj.state_keys() == ["count"]
        alter(state)
        state.commit()
        assert obj.get(name) == expected
        assert state.commit() is None
        state.anything = getattr(state, name)
    assert obj.get("anything") == expected


def test_each_commit_finds_its_changes(obj: kvengine.VirtualObject) -> None:
    """One list, changed between commits and after the last."""
    with obj.session(Deep) as state:
        for number in range(1, 4):
            state.items.append(number)
            state.commit()
            assert obj.get("items") == list(range(number + 1))
        state.items.append(4)
    assert obj.get("items") == [0, 1, 2, 3, 4]


STORED: dict[str, bytes] = {
    "items": b' [ 0 , {"b":1, "a": 1.50} ] ',
    "table": b'{"b": [], "a": [1]}',
    "names": b'["b", "c", "a", "b"]',
    "point": b'{"y": 0, "x": 1, "unknown": 2}',
    "place": b'{"name": "home"}',
    "part": b'{"number": 1}',
    "user": b'{"name": "Ada", "unknown": 1}',
    "pair": b"[1, [2]]",
    "anything": b'{"a": [1e2, "\\u0041"]}',
    "color": b'"\\u0067reen"',
    "count": b" 3",
}


@pytest.mark.parametrize("name", STORED)
def test_nothing_is_written_where_nothing_changed(
    obj: kvengine.VirtualObject, db: kvengine.Engine, name: str
) -> None:
    """What was only read is not rewritten, however differently it was spelled when stored."""
    db.set("Greeter", "alice", name, STORED[name])
    before = db.stats().commits
    with obj.session(Deep) as state:
        getattr(state, name)
    with obj.session(Deep) as state:
        getattr(state, name)
        assert state.commit() is None
    assert db.stats().commits == before
    assert db.get("Greeter", "alice", name) == STORED[name]


def test_nothing_is_written_where_it_was_changed_back(
    obj: kvengine.VirtualObject, db: kvengine.Engine
) -> None:
    """Reading every default, and a change undone, is no commit."""
    with obj.session(Deep) as state:
        for name in CHANGES.values():
            getattr(state, name[0])
        state.items.append(1)
        state.items.pop()
        state.table["b"] = state.table.pop("a")
        state.table["a"] = state.table.pop("b")
    assert db.stats().commits == 0 and obj.version() == 0


def test_what_did_not_change_keeps_its_ttl(obj: kvengine.VirtualObject, clock: ManualClock) -> None:
    """A field that was only read is not written again when another one changes."""
    obj.set("items", [1], ttl=100)
    with obj.session(Deep) as state:
        assert state.items == [1]
        state.table["a"].append(3)
    assert obj.get_all() == {"items": [1], "table": {"a": [1, 3]}}
    clock.advance(100)
    assert obj.get_all() == {"table": {"a": [1, 3]}}


def test_set_and_changed_by_its_owner(obj: kvengine.VirtualObject) -> None:
    """What was set stays live: whoever holds it and changes it changes the field."""
    items: list[Any] = ["mine"]
    with obj.session(Deep) as state:
        state.items = items
        items.append("too")
        assert state.items is items
        state.anything = {"a": items}
        items.append("three")
    assert obj.get_all() == {
        "anything": {"a": ["mine", "too", "three"]},
        "items": ["mine", "too", "three"],
    }


def test_deleted_after_a_change(obj: kvengine.VirtualObject) -> None:
    """`del` forgets what was changed in place, and the default is anew."""
    obj.set("items", [1])
    with obj.session(Deep) as state:
        state.items.append(2)
        del state.items
        assert state.items == [0]
    assert obj.version() == 0
    with obj.session(Deep) as state:
        state.items.append(1)
        del state.items
    assert obj.version() == 0
    with obj.session(Deep) as state:
        state.items.append(1)
        state.clear_all()
        assert state.items == [0]
        state.items.append(2)
    assert obj.get_all() == {"items": [0, 2]}


def test_a_block_that_raises(obj: kvengine.VirtualObject) -> None:
    """Changes in place are written with the commit, so not where the block raises."""
    with pytest.raises(LookupError):
        with obj.session(Deep) as state:
            state.items.append(1)
            raise LookupError
    assert obj.version() == 0


@pytest.mark.parametrize("bad", [object(), float("nan"), "\ud800", len])
def test_a_change_to_what_does_not_encode(obj: kvengine.VirtualObject, bad: Any) -> None:
    """It is found at commit: a FieldError that names the field, and nothing is written."""
    for name in ("items", "anything"):
        with refuses(kvengine.FieldError, rf"'Greeter', 'alice', '{name}'.*Deep\.{name}: "):
            with obj.session(Deep) as state:
                state.anything = []
                state.count = 1
                getattr(state, name)[:] = [bad]
    assert obj.version() == 0


def test_a_change_to_what_is_not_of_its_type(obj: kvengine.VirtualObject) -> None:
    """The type holds for what is inside, too."""
    with refuses(kvengine.FieldError, r"Deep\.table: expected dict\[str, list\[int\]\]"):
        with obj.session(Deep) as state:
            state.table["a"].append("text")  # type: ignore[arg-type]
    with refuses(kvengine.FieldError, r"Deep\.point: expected .*Point"):
        with obj.session(Deep) as state:
            state.point.x = "text"  # type: ignore[assignment]
            with refuses(kvengine.FieldError, r"Deep\.point"):
                state.commit()
    assert obj.version() == 0


class Frozen(msgspec.Struct, frozen=True):
    n: int = 0


@attrs.define(frozen=True)
class Bolt:
    size: int = 1


def test_values_that_cannot_change(obj: kvengine.VirtualObject, db: kvengine.Engine) -> None:
    """Frozen values and enums are replaced, not changed, and read without a commit."""

    class Still(kvengine.State):
        one: Frozen = Frozen()
        two: Bolt = Bolt()
        color: Color = Color.RED

    with obj.session(Still) as state:
        assert (state.one, state.two, state.color) == (Frozen(), Bolt(), Color.RED)
    assert db.stats().commits == 0
    with obj.session(Still) as state:
        state.one, state.color = Frozen(1), Color.GREEN
    with obj.session(Still) as state:
        assert (state.one, state.two, state.color) == (Frozen(1), Bolt(), Color.GREEN)
