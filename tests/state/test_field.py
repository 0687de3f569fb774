"""field(...): aliases of renamed fields, entries of other names, factories, serdes of one field."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any

import msgspec
import pytest

import kvengine
from kvengine import State, field
from tests.api.refusals import refuses


class Renamed(State):
    full_name: str = field(default="nobody", alias=("name", "title"))
    tags: list[str] = field(default_factory=list, alias="labels")
    count: int = 0


def test_an_alias_loads_old_state(obj: kvengine.VirtualObject, db: kvengine.Engine) -> None:
    """A renamed field reads the entries it had before, the nearest first; reading moves nothing."""
    obj.set("title", "Lady")
    obj.set("labels", ["a"])
    before = db.stats().commits
    with obj.session(Renamed) as state:
        assert (state.full_name, state.tags) == ("Lady", ["a"])
    obj.set("name", "Ada")
    with obj.session(Renamed) as state:
        assert state.full_name == "Ada"
    obj.set("full_name", "Ada L.")
    with obj.session(Renamed) as state:
        assert state.full_name == "Ada L."
    assert db.stats().commits == before + 2
    assert obj.state_keys() == ["full_name", "labels", "name", "title"]


@pytest.mark.parametrize("preload", [True, False])
def test_set_moves_an_alias(obj: kvengine.VirtualObject, preload: bool) -> None:
    """Setting the field, or changing it in place, writes its entry and clears the old ones."""
    obj.mapping().update(title="Lady", name="Ada", labels=["a"], other=1)
    with obj.session(Renamed, preload=preload) as state:
        state.full_name = "Ada L."
        state.tags.append("b")
        assert state.full_name == "Ada L."
    assert obj.get_all() == {"full_name": "Ada L.", "other": 1, "tags": ["a", "b"]}
    with obj.session(Renamed, preload=preload) as state:
        assert (state.full_name, state.tags) == ("Ada L.", ["a", "b"])


@pytest.mark.parametrize("preload", [True, False])
def test_del_clears_aliases_too(obj: kvengine.VirtualObject, preload: bool) -> None:
    """`del` clears the entry and every old one, so that the default is what is read."""
    obj.mapping().update(title="Lady", name="Ada", full_name="Ada L.", labels=["a"])
    with obj.session(Renamed, preload=preload) as state:
        del state.full_name, state.tags
        assert (state.full_name, state.tags) == ("nobody", [])
    assert obj.version() == 0


def test_an_alias_that_does_not_fit(obj: kvengine.VirtualObject) -> None:
    """The error names the entry that holds the value, and the field."""
    obj.set("name", [1])
    with obj.session(Renamed) as state:
        with refuses(
            kvengine.SerdeError, r"'Greeter', 'alice', 'name'.*Renamed\.full_name: expected"
        ):
            _ = state.full_name


class Elsewhere(State):
    clear_: int = field(default=0, state_key="clear_all")
    nameless: int = field(default=0, state_key="")
    odd: str = field(default="", state_key="a b/c\0\N{GRINNING FACE}")
    plain: str = field(default="x")
    packed: dict[str, bytes] = field(default_factory=dict, serde="msgpack")
    raw: bytes = field(default=b"", serde="bytes")


def test_state_keys_and_serdes_of_fields(obj: kvengine.VirtualObject) -> None:
    """A field lives in the entry that state_key= names, encoded by its serde=."""
    with obj.session(Elsewhere) as state:
        state.clear_, state.odd, state.plain = 1, "odd", "y"
        state.packed["a"] = b"\xff"
        state.raw = b"\xfe"
    assert {name: obj.get(name, type=bytes) for name in obj.state_keys()} == {
        "a b/c\0\N{GRINNING FACE}": b'"odd"',
        "clear_all": b"1",
        "packed": b"\x81\xa1a\xc4\x01\xff",
        "plain": b'"y"',
        "raw": b"\xfe",
    }
    with obj.session(Elsewhere) as state:
        assert (state.clear_, state.odd, state.packed) == (1, "odd", {"a": b"\xff"})
        del state.clear_
    assert "clear_all" not in obj


def test_the_empty_state_key(obj: kvengine.VirtualObject) -> None:
    """The empty name is a name like any other."""
    with obj.session(Elsewhere) as state:
        state.nameless = 1
    assert obj.get_all() == {"": 1}


def test_bytes_that_may_be_absent(obj: kvengine.VirtualObject) -> None:
    """serde="bytes" is what JSON's error advises: it serves an optional or limited field too."""

    class Picture(State):
        image: bytes | None = field(default=None, serde="bytes")
        small: Annotated[bytes, msgspec.Meta(max_length=3)] = field(default=b"", serde="bytes")

    with obj.session(Picture) as state:
        assert (state.image, state.small) == (None, b"")
        state.image = b"\xff"
        state.small = b"abc"
    with obj.session(Picture) as state:
        assert (state.image, state.small) == (b"\xff", b"abc")
        with refuses(kvengine.FieldError, r"Picture\.image"):
            state.image = "text"  # type: ignore[assignment]
        del state.image
        assert state.image is None


def test_default_factory(obj: kvengine.VirtualObject) -> None:
    """A factory makes a default for each state, once; a mutable default is copied for each."""
    made: list[int] = []

    class Made(State):
        number: int = field(default_factory=lambda: made.append(1) or len(made))
        mine: list[int] = [0]

    with obj.session(Made) as state:
        assert (state.number, state.number) == (1, 1)
        state.mine.append(1)
    obj.clear_all()
    with obj.session(Made) as state:
        assert (state.number, state.mine) == (2, [0])
    assert Made().mine is not Made().mine


BAD_FIELDS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "two defaults": ({"default": 1, "default_factory": int}, TypeError, "not both"),
    "no factory": ({"default_factory": 3}, TypeError, "callable"),
    "alias a number": ({"alias": 3}, TypeError, "alias|iterable"),
    "aliases of numbers": ({"alias": (3,)}, TypeError, "alias must be str"),
    "alias a surrogate": ({"alias": "\ud800"}, ValueError, "surrogates"),
    "state_key a number": ({"state_key": 3}, TypeError, "state_key must be str"),
    "state_key too long": ({"state_key": "x" * 65_537}, ValueError, "state_key"),
    "positional": ({"nonsense": 1}, TypeError, "nonsense"),
}


@pytest.mark.parametrize("name", BAD_FIELDS)
def test_bad_arguments_of_field(name: str) -> None:
    """field() refuses at once what makes no sense."""
    arguments, error, message = BAD_FIELDS[name]
    with pytest.raises(error, match=message):
        field(**arguments)


CLASHES: dict[str, dict[str, Any]] = {
    "two of one entry": {
        "a": field(default=0, state_key="x"),
        "b": field(default=0, state_key="x"),
    },
    "an alias of another": {"a": 0, "b": field(default=0, alias="a")},
    "aliases alike": {"a": field(default=0, alias="x"), "b": field(default=0, alias="x")},
    "an alias of itself": {"a": field(default=0, alias="a"), "b": 0},
}


@pytest.mark.parametrize("name", CLASHES)
def test_entries_that_clash(name: str) -> None:
    """Two fields in one entry, or an alias that is the field's own entry, would lose values."""
    declared = {"__annotations__": {"a": "int", "b": "int"}, "__module__": __name__}
    with refuses(TypeError, "Bad.*'[ax]'"):
        type("Bad", (State,), {**declared, **CLASHES[name]})


def test_one_field_object_in_two_states() -> None:
    """field() made once and used by two classes serves each with its own name and type."""
    common = field(default=None)

    class One(State):
        number: int | None = common

    with suppress(TypeError):

        class Two(State):
            text: str | None = common

        assert Two(text="a").text == "a"
    assert One(number=1).number == 1
    with refuses(kvengine.FieldError, r"One\.number: expected int \| None"):
        One(number="text")
