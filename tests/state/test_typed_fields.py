"""Declaring typed state: what names are fields, inheritance, annotations, forward names."""

from __future__ import annotations

import typing as t
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal, Optional

import msgspec
import pytest

import kvengine
from kvengine import State, field
from kvengine.storage.clock import ManualClock
from tests.api.refusals import refuses


@pytest.mark.parametrize("name", ["commit", "clear_all", "complete"])
def test_names_of_verbs(name: str) -> None:
    """A field may not take the name of a verb of states; the error says how else to have it."""
    with refuses(TypeError, rf"Bad\.{name} is a verb.*field\(state_key='{name}'\)"):
        type("Bad", (State,), {"__annotations__": {name: "int"}, name: 0, "__module__": __name__})


@pytest.mark.parametrize("name", ["_count", "__count__", "_kv_cells", "__dict__"])
def test_underscore_names(name: str) -> None:
    """A field may not begin with an underscore; the error says how else to have the entry."""
    with refuses(TypeError, rf"Bad\.{name}.*underscore.*state_key="):
        type("Bad", (State,), {"__annotations__": {name: "int"}, "__module__": __name__})


def test_names_of_session_verbs(obj: kvengine.VirtualObject) -> None:
    """The verbs of sessions are free as names: a state has three verbs."""

    class Free(State):
        get: int = 0
        set: str = ""
        key: int = 0
        version: int = 0
        clear: int = 0
        state: int = 0

    with obj.session(Free) as state:
        state.get, state.set, state.key, state.version, state.clear = 1, "s", 2, 3, 4
    assert obj.get_all() == {"clear": 4, "get": 1, "key": 2, "set": "s", "version": 3}


class Login(State):
    token: str | None = field(default=None, ttl=30)
    scopes: list[str] = field(default_factory=list, ttl=timedelta(seconds=60))
    name: str = ""


def test_ttl(obj: kvengine.VirtualObject, clock: ManualClock) -> None:
    """A token lost its ttl with the first assignment to its field, and lived for ever.

    A ttl that the field declares counts from each commit that sets or changes it.
    """
    with obj.session(Login) as state:
        state.token, state.name = "a", "Ada"
        state.scopes.append("read")
    clock.advance(20)
    with obj.session(Login) as state:
        state.token = "b"
        assert state.scopes == ["read"]
    clock.advance(29)
    with obj.session(Login) as state:
        assert state.token == "b"
        state.scopes.append("write")
    clock.advance(1)
    with obj.session(Login) as state:
        assert (state.token, state.scopes) == (None, ["read", "write"])
    clock.advance(59)
    assert obj.get_all() == {"name": "Ada"}


def test_ttl_in_memory_alone() -> None:
    """A state without a session takes the values; nothing of it expires."""
    state = Login(token="a")
    assert state.token == "a"
    for ttl, error in ((-1, ValueError), ("30", TypeError), (True, TypeError)):
        with pytest.raises(error, match="ttl"):
            field(default=0, ttl=ttl)  # type: ignore[arg-type]


class Base(State):
    kept: int = 1
    replaced: int = field(default=2, alias="old")

    def double(self) -> int:
        return self.replaced * 2


class Derived(Base):
    replaced: float = 2.5  # type: ignore[assignment]
    added: str = "new"


def test_inheritance(obj: kvengine.VirtualObject) -> None:
    """A state inherits fields, may add some, and may declare one anew; its base stays as it is."""
    obj.set("old", 7)
    with obj.session(Derived) as state:
        assert (state.kept, state.replaced, state.added, state.double()) == (1, 2.5, "new", 5.0)
        state.replaced, state.kept = 1.5, 5
    with obj.session(Base) as base:
        assert base.kept == 5
        with refuses(kvengine.SerdeError, r"Base\.replaced: expected int"):
            _ = base.replaced
    assert not hasattr(Base(), "added") and Base().replaced == 2


def test_two_bases(obj: kvengine.VirtualObject) -> None:
    """A state of two states has the fields of both."""

    class Named(State):
        name: str = ""

    class Counted(State):
        count: int = 0

    class Both(Named, Counted):
        both: bool = False

    with obj.session(Both) as state:
        assert (state.name, state.count, state.both) == ("", 0, False)
        state.name, state.both = "Ada", True
        state.count = 3
    assert obj.get_all() == {"both": True, "count": 3, "name": "Ada"}


@pytest.mark.parametrize("hiding", [3, property(lambda self: 3), lambda self: 3])
def test_what_hides_a_field(hiding: Any) -> None:
    """A value, property or method in the place of an inherited field is refused: annotate it."""
    with refuses(TypeError, "Bad.kept hides a field: annotate it"):
        type("Bad", (Base,), {"kept": hiding, "__module__": __name__})


def test_class_variables() -> None:
    """What is annotated ClassVar, or not annotated, is of the class and no entry."""

    class Limits(State):
        most: ClassVar[int] = 10
        least: t.ClassVar[int] = 1
        bare: ClassVar = 5
        plain = 7
        count: int = 0

    state = Limits(count=3)
    assert (state.most, state.least, state.bare, state.plain, state.count) == (10, 1, 5, 7, 3)
    for name in ("most", "least", "bare", "plain"):
        with refuses(AttributeError, "has no field"):
            setattr(state, name, 1)


class ClassVariety(msgspec.Struct):
    kind: str = "rose"


class Garden(State):
    best: ClassVariety = ClassVariety()


def test_a_type_whose_name_begins_alike() -> None:
    """A type named Class-something is a type."""
    state = Garden()
    state.best = ClassVariety("tulip")
    assert state.best.kind == "tulip" and Garden.best is not None


def test_constraints_and_unions() -> None:
    """Annotated, Literal, Optional and unions are checked like any type."""

    class Checked(State):
        age: Annotated[int, msgspec.Meta(ge=0, le=150)] = 0
        mode: Literal["on", "off"] = "on"
        maybe: Optional[int] = None  # noqa: UP045
        either: int | list[str] = 0
        when: datetime | None = None

    state = Checked(age=150, mode="off", maybe=3, either=["a"])
    for name, value in {"age": -1, "mode": "maybe", "maybe": "x", "either": "a", "when": 3}.items():
        with refuses(kvengine.FieldError, rf"Checked\.{name}: "):
            setattr(state, name, value)
    assert (state.age, state.mode, state.maybe, state.either) == (150, "off", 3, ["a"])


class Forward(State):
    late: Later | None = None
    many: list[Later] = []
    unknown: Nowhere = 0  # type: ignore[name-defined]  # noqa: F821


class Later(msgspec.Struct):
    n: int = 0


def test_annotations_that_are_not_text() -> None:
    """In a module without `from __future__ import annotations` the same holds."""
    annotations = {"count": int, "most": ClassVar[int], "bare": ClassVar, "late": "Later | None"}
    kind: Any = type(
        "Early",
        (State,),
        {"__annotations__": annotations, "__module__": __name__, "count": 0, "most": 5, "bare": 6},
    )
    state = kind(count=1, late=Later(2))
    assert (state.count, state.most, state.bare, state.late) == (1, 5, 6, Later(2))
    for name, error in {"count": kvengine.FieldError, "most": AttributeError}.items():
        with pytest.raises(error):
            setattr(state, name, "x")


def test_forward_names(obj: kvengine.VirtualObject) -> None:
    """A type may be defined after the state that names it; one that never is, is a NameError."""
    with obj.session(Forward) as state:
        assert state.late is None and state.many == []
        state.late = Later(1)
        state.many.append(Later(2))
        with refuses(kvengine.FieldError, r"Forward\.late"):
            state.late = 3  # type: ignore[assignment]
        with pytest.raises(NameError, match="Nowhere"):
            state.unknown = 1
    with obj.session(Forward) as state:
        assert (state.late, state.many) == (Later(1), [Later(2)])


class Fresh(State):
    late: After | None = None


def test_a_forward_name_that_is_loaded_first(obj: kvengine.VirtualObject) -> None:
    """The type is settled by the first use of the field, a read of its entry too."""
    obj.set("late", {"n": 1})
    with obj.session(Fresh) as state:
        assert state.late == After(1)
    assert "After | None" in repr(Fresh.late)


def test_classes_local_to_a_function(obj: kvengine.VirtualObject) -> None:
    """A state in a function may name what is local to the function."""

    class Local(msgspec.Struct):
        n: int = 0

    class Inner(State):
        one: Local = Local()
        two: dict[str, Local] = {}

    with obj.session(Inner) as state:
        state.one = Local(1)
        state.two["a"] = Local(2)
    with obj.session(Inner) as state:
        assert (state.one, state.two) == (Local(1), {"a": Local(2)})
        with refuses(kvengine.FieldError, r"Inner\.one: expected .*Local"):
            state.one = 3  # type: ignore[assignment]


class After(msgspec.Struct):
    n: int = 0
