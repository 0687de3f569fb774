"""Values and serdes that fail: an error that names the entry, and nothing written."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import kvengine
from tests.api.refusals import refuses
from tests.state.values import Color, Pair, Part, Place, Point, Size, Unknown, User

AT = r"^\('S', 'k', 'a'\): "
"""How an error of the entry that these tests use begins."""


@contextmanager
def nothing_written(db: kvengine.Engine) -> Iterator[None]:
    before = db.stats().commits
    yield
    assert db.stats().commits == before


class Broken:
    """A serde of somebody's own that does whatever it is told to."""

    def __init__(self, encode: Callable[[], Any], decode: Callable[[], Any] = lambda: None) -> None:
        self._encode = encode
        self._decode = decode

    def encode(self, value: Any) -> Any:
        return self._encode()

    def decode(self, data: bytes, type: Any) -> Any:
        return self._decode()


def fail(error: BaseException) -> Callable[[], Any]:
    def run() -> Any:
        raise error

    return run


class Data(bytes):
    """Not quite bytes."""


FAILURES: dict[str, tuple[Callable[[], Any], str]] = {
    "raises": (fail(ZeroDivisionError("by zero")), "a value of type int does not encode: by zero$"),
    "raises lines": (
        fail(LookupError("one\n  two\n")),
        "a value of type int does not encode: one two$",
    ),
    "raises nothing to say": (
        fail(AssertionError()),
        "a value of type int does not encode: AssertionError$",
    ),
    "returns None": (lambda: None, "Broken.encode returned NoneType, not bytes$"),
    "returns str": (lambda: "text", "Broken.encode returned str, not bytes$"),
    "returns bytearray": (lambda: bytearray(b"a"), "Broken.encode returned bytearray, not bytes$"),
    "returns a subclass": (lambda: Data(b"a"), "Broken.encode returned Data, not bytes$"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_serde_that_fails_to_encode(db: kvengine.Engine, failure: str) -> None:
    """Whatever it raises, or returns that is not bytes, becomes a SerdeError that says so."""
    encode, message = FAILURES[failure]
    with nothing_written(db):
        with refuses(kvengine.SerdeError, AT + message):
            db.object("S", "k", serde=Broken(encode)).set("a", 1)
        with refuses(kvengine.SerdeError, AT + message):
            with db.object("S", "k").session() as state:
                state.set("good", 1)
                state.set("a", 1, serde=Broken(encode))


def test_a_serde_that_fails_to_decode(db: kvengine.Engine) -> None:
    """The SerdeError of a decode is caused by what the serde raised; the entry stays."""
    error = LookupError("one\n two")
    serde = Broken(bytes, fail(error))
    db.set("S", "k", "a", b"1")
    with refuses(kvengine.SerdeError, AT + r"does not decode \(Broken\): one two$"):
        db.object("S", "k").get("a", serde=serde)
    with pytest.raises(kvengine.SerdeError, match=r"expected int \(Broken\)") as raised:
        db.object("S", "k", serde=serde).get_all(type=int)
    assert raised.value.__cause__ is error
    assert db.get("S", "k", "a") == b"1"


def test_an_interrupt_is_not_an_error_of_the_serde(db: kvengine.Engine) -> None:
    """KeyboardInterrupt passes through a serde as it is."""
    serde = Broken(fail(KeyboardInterrupt()), fail(KeyboardInterrupt()))
    with nothing_written(db), pytest.raises(KeyboardInterrupt):
        db.object("S", "k", serde=serde).set("a", 1)
    db.set("S", "k", "a", b"1")
    with pytest.raises(KeyboardInterrupt):
        db.object("S", "k", serde=serde).get("a")


async def later() -> int:
    return 1


def recursive() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


UNSERIALISABLE: dict[str, Callable[[], Any]] = {
    "an object": object,
    "a class": lambda: Point,
    "a function": lambda: len,
    "a module": lambda: inspect,
    "a coroutine": later,
    "a list in itself": recursive,
    "nested": lambda: {"list": [{"x": Unknown()}]},
    "a coroutine nested": lambda: [later()],
}


@pytest.mark.parametrize("serde", ["json", "msgpack", "bytes", "pydantic"])
@pytest.mark.parametrize("name", UNSERIALISABLE)
def test_unserialisable_values(db: kvengine.Engine, serde: Any, name: str) -> None:
    """A value that no serde knows is refused where it is set, by the type it has."""
    value = UNSERIALISABLE[name]()
    kind = type(value).__qualname__
    with nothing_written(db):
        with refuses(kvengine.SerdeError, AT + f"(a value of type {kind}|a {kind}) "):
            db.object("S", "k", serde=serde).set("a", value)
        with refuses(kvengine.SerdeError, AT):
            with db.object("S", "k", serde=serde).session() as state:
                state.set("a", value)
    for one in (value, *(value if isinstance(value, list) else ())):
        if inspect.iscoroutine(one):
            one.close()


@pytest.mark.parametrize("serde", ["json", "msgpack", "bytes", "pydantic"])
def test_what_was_not_awaited(db: kvengine.Engine, serde: Any) -> None:
    """A coroutine or a future as a value is a forgotten await, and the error says so."""
    loop = asyncio.new_event_loop()
    coroutine = later()
    try:
        for value in (coroutine, loop.create_future()):
            with refuses(kvengine.SerdeError, AT + ".* is not a value: await it first$"):
                db.object("S", "k", serde=serde).set("a", value)
    finally:
        coroutine.close()
        loop.close()
    assert db.version("S", "k") == 0


READERS: dict[str, Callable[[kvengine.VirtualObject, Any], object]] = {
    "get": lambda obj, wanted: obj.get("a", type=wanted),
    "get with a default": lambda obj, wanted: obj.get("a", None, type=wanted),
    "get_all": lambda obj, wanted: obj.get_all(type=wanted),
}


def in_session(obj: kvengine.VirtualObject, wanted: Any, **loading: Any) -> None:
    with obj.session(**loading) as state:
        with pytest.raises(kvengine.SerdeError) as raised:
            state.get("a", type=wanted)
        with pytest.raises(kvengine.SerdeError) as again:
            state.get_all(type=wanted)
    assert str(again.value) == str(raised.value)
    raise raised.value


READERS["session"] = in_session
READERS["lazy session"] = lambda obj, wanted: in_session(obj, wanted, preload=False)

EXPECTED: dict[Any, str] = {
    int: "int",
    Point: "Point",
    Place: "Place",
    Part: "Part",
    Pair: "Pair",
    Size: "Size",
    Color: "Color",
    User: "User",
    Unknown: "Unknown",
    list[int]: r"list\[int\]",
    int | None: r"int \| None",
}


@pytest.mark.parametrize("read", READERS)
def test_the_entry_is_named(db: kvengine.Engine, read: str) -> None:
    """A value that is not of its type names service, key, state key and the type expected."""
    db.set("S", "k", "a", b'"text"')
    with refuses(kvengine.SerdeError, AT + "expected int "):
        READERS[read](db.object("S", "k"), int)
    with pytest.raises(kvengine.SerdeError) as raised:
        READERS[read](db.object("S", "k"), int)
    error = raised.value
    assert (error.service, error.key, error.state_key) == ("S", "k", "a")
    assert error.reason in str(error)


@pytest.mark.parametrize("wanted", EXPECTED, ids=EXPECTED.values())
def test_the_type_is_named(db: kvengine.Engine, wanted: Any) -> None:
    """The type expected is written as people write it."""
    db.set("S", "k", "a", b'"text"')
    with refuses(kvengine.SerdeError, AT + f"expected {EXPECTED[wanted]} "):
        db.object("S", "k").get("a", type=wanted)


@pytest.mark.parametrize("name", ["", "a\nb", "a\0b", "it's", 'a "b"', "\N{GRINNING FACE}"])
def test_names_in_errors(db: kvengine.Engine, name: str) -> None:
    """Names of any kind are shown so that they can be told apart, on one line."""
    db.set(name, name, name, b"{")
    with refuses(kvengine.SerdeError, "does not decode"):
        db.object(name, name).get(name)
    with pytest.raises(kvengine.SerdeError) as raised:
        db.object(name, name).get(name)
    assert str(raised.value).startswith(f"({name!r}, {name!r}, {name!r}): ")
