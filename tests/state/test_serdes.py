"""Values and serdes: what is stored, what comes back, and who chooses how."""

from __future__ import annotations

import base64
import math
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import pydantic
import pytest

import kvengine
from kvengine.serdes import JSONSerde
from tests.state.values import SAMPLES, Point, Reading, User


class Shout:
    """A serde of somebody's own: the two methods, and nothing else."""

    def encode(self, value: Any) -> bytes:
        return str(value).upper().encode()

    def decode(self, data: bytes, type: Any) -> Any:
        return (data.decode(), type)


SERDES: dict[str, tuple[Any, Any, bytes, Any]] = {
    "json": ("json", {"a": 1}, b'{"a":1}', {"a": 1}),
    "msgpack": ("msgpack", {"a": 1}, b"\x81\xa1a\x01", {"a": 1}),
    "bytes": ("bytes", b"\0\xff", b"\0\xff", b"\0\xff"),
    "pydantic": ("pydantic", User(name="Ada"), b'{"name":"Ada","born":null,"tags":[]}', ...),
    "an instance": (JSONSerde(), [1], b"[1]", [1]),
    "custom": (Shout(), "a", b"A", ("A", None)),
}
"""A choice, a value, the bytes stored, the value read (...: a dict of the value's)."""


class Chosen:
    """A serde chosen at one level, and what each way to read and write does with it."""

    def __init__(self, db: kvengine.Engine, of_handle: Any = None, of_call: Any = None) -> None:
        self.object = db.object("S", "k", serde=of_handle)
        self._call = {} if of_call is None else {"serde": of_call}

    def set_and_get(self, value: Any) -> Any:
        self.object.set("a", value, **self._call)
        found = self.object.get("a", **self._call)
        with self.object.session(preload=False) as state:
            assert state.get("a", **self._call) == found
            state.set("b", value, **self._call)
            assert state.get("b", **self._call) == found
        assert self.object.get("b", **self._call) == found
        return found


LEVELS: dict[str, Callable[[Callable[..., kvengine.Engine], Any], Chosen]] = {
    "database": lambda reopen, serde: Chosen(reopen(serde=serde)),
    "service": lambda reopen, serde: Chosen(
        reopen(serde="bytes", serdes={"S": serde, "T": "json"})
    ),
    "handle": lambda reopen, serde: Chosen(reopen(serde="bytes", serdes={"S": "bytes"}), serde),
    "call": lambda reopen, serde: Chosen(reopen(serdes={"S": "bytes"}), "bytes", serde),
}
"""From the widest to the nearest; each is made with other choices at the wider ones."""


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", SERDES)
def test_a_serde_is_chosen(reopen: Callable[..., kvengine.Engine], level: str, name: str) -> None:
    """Per database, service, handle or call, by name or as a serde; the nearest choice counts."""
    serde, value, stored, read = SERDES[name]
    chosen = LEVELS[level](reopen, serde)
    found = chosen.set_and_get(value)
    assert found == (value.model_dump() if read is ... else read)
    assert chosen.object.service == "S"
    db = reopen()
    assert db.get_all("S", "k") == {"a": stored, "b": stored}


def test_other_services_keep_their_serde(reopen: Callable[..., kvengine.Engine]) -> None:
    """serdes= is of the services it names; a workflow and get_all have it too."""
    db = reopen(serdes={"Raw": "bytes", "": "msgpack"})
    db.workflow("Raw", "k").set("a", b"\xff")
    db.object("", "k").set("a", [1])
    db.object("Other", "k").set("a", [1])
    assert db.workflow("Raw", "k").get_all() == {"a": b"\xff"}
    assert db.get("", "k", "a") == b"\x91\x01"
    assert db.get("Other", "k", "a") == b"[1]"


def test_the_choice_is_not_stored(reopen: Callable[..., kvengine.Engine]) -> None:
    """A database opened with another serde reads what is there by that one, and says so."""
    reopen().object("S", "k").set("a", [1, 2])
    db = reopen(serde="msgpack")
    with pytest.raises(kvengine.SerdeError, match=r"'S', 'k', 'a'.*MsgpackSerde"):
        db.object("S", "k").get("a")
    assert db.object("S", "k", serde="json").get("a") == [1, 2]


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("serde", ["json", "msgpack"])
def test_types_of_values(db: kvengine.Engine, serde: Any, name: str) -> None:
    """A value of each kind is set as it is, and comes back as what type= names.

    Alone, in a list, in a dict; without type= it is what JSON has for it.
    """
    wanted, value, plain = SAMPLES[name]
    obj = db.object("S", "k", serde=serde)
    obj.set("one", value)
    obj.set("list", [value, value])
    obj.set("dict", {"a": [value]})
    assert obj.get("one", type=wanted) == value
    assert type(obj.get("one", type=wanted)) is type(value)
    assert obj.get("list", type=list[wanted]) == [value, value]
    assert obj.get("dict", type=dict[str, list[wanted]]) == {"a": [value]}
    if serde == "json" or name not in ("datetime", "timedelta"):
        assert obj.get_all() == {"one": plain, "list": [plain, plain], "dict": {"a": [plain]}}


TYPES: dict[str, tuple[Any, Any, Any]] = {
    "any": (Any, [1], [1]),
    "a union": (int | str, "a", "a"),
    "a literal": (Literal["a", "b"], "b", "b"),
    "a constraint": (Annotated[int, msgspec.Meta(ge=1)], 1, 1),
    "what has no hash": (Annotated[list[int], ["note"]], [1], [1]),
    "a set": (set[int], {1, 2}, {1, 2}),
    "an int as a float": (float, 1, 1.0),
}


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("serde", ["json", "msgpack", "pydantic"])
def test_what_type_takes(db: kvengine.Engine, serde: Any, name: str) -> None:
    """type= takes what an annotation takes, each time anew."""
    wanted, value, read = TYPES[name]
    db.object("S", "k", serde=serde).set("a", value)
    for _ in range(2):
        found = db.object("S", "k", serde=serde).get("a", type=wanted)
        assert (found, type(found)) == (read, type(read))


@pytest.mark.parametrize("serde", ["json", "msgpack", "pydantic"])
def test_none_is_a_value(db: kvengine.Engine, serde: Any) -> None:
    """set(name, None) stores None: default= and `in` tell it from absence."""
    obj = db.object("S", "k", serde=serde)
    obj.set("a", None)
    assert obj.get("a", 7) is None and obj.get("b", 7) == 7 and obj.get("b") is None
    assert "a" in obj and "b" not in obj
    assert obj.state_keys() == ["a"] and obj.get_all() == {"a": None}
    assert obj.get("a", 7, type=int | None) is None
    assert obj.get("b", 7, type=int | None) == 7
    with pytest.raises(kvengine.SerdeError, match="expected int"):
        obj.get("a", 7, type=int)


def test_bytes_of_the_bytes_serde(db: kvengine.Engine) -> None:
    """Anything bytes-like is stored as it is and read as bytes; the empty value is a value."""
    obj = db.object("S", "k", serde="bytes")
    for value in (b"", b"\0\xff", bytearray(b"ab"), memoryview(b"abc")[1:]):
        obj.set("a", value)
        assert obj.get("a") == bytes(value) and type(obj.get("a", type=bytes)) is bytes
    for wrong in ("text", None, 1, [b"a"]):
        with pytest.raises(kvengine.SerdeError, match="must be bytes"):
            obj.set("b", wrong)
    with pytest.raises(kvengine.SerdeError, match=r"expected str \(BytesSerde"):
        obj.get("a", type=str)
    assert obj.state_keys() == ["a"]


def test_stored_bytes_under_json(db: kvengine.Engine) -> None:
    """type=bytes reads an entry as it is stored, whatever that is."""
    obj = db.object("S", "k")
    obj.set("a", {"x": None})
    db.set("S", "k", "b", b"\xff not JSON")
    assert obj.get_all(type=bytes) == {"a": b'{"x":null}', "b": b"\xff not JSON"}


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize(
    "content",
    [b"", b"text", base64.b64decode("null"), b"\xff" * 100],
    ids=["empty", "text", "null in base64", "long"],
)
def test_json_refuses_bytes(db: kvengine.Engine, kind: Any, content: bytes) -> None:
    """JSON has no bytes: whatever they are, they are refused, and the error says what to do."""
    with pytest.raises(kvengine.SerdeError, match='store them with serde="bytes"'):
        db.object("S", "k").set("a", kind(content))
    assert db.version("S", "k") == 0


def test_bytes_inside_a_value(db: kvengine.Engine) -> None:
    """Bytes in a typed value come back as bytes: base64 in JSON, themselves in MessagePack."""
    for serde in ("json", "msgpack"):
        obj = db.object("S", serde, serde=serde)  # type: ignore[arg-type]
        obj.set("a", {"x": b"\0\xff"})
        assert obj.get("a", type=dict[str, bytes]) == {"x": b"\0\xff"}


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda number: number,
        lambda number: [None, number],
        lambda number: {"a": {"b": (number,)}},
        lambda number: {"null": "null", "set": frozenset({number})},
        lambda number: Point(1, number),
        lambda number: Reading(value=number),
    ],
    ids=["alone", "beside null", "nested", "in a set", "in a struct", "in a model"],
)
def test_json_refuses_what_is_not_finite(
    db: kvengine.Engine, number: float, wrap: Callable[[float], Any]
) -> None:
    """NaN and infinity are not JSON: refused wherever they hide, never stored as null."""
    with pytest.raises(kvengine.SerdeError, match=f"{number} is not JSON"):
        db.object("S", "k").set("a", wrap(number))
    assert db.version("S", "k") == 0


@pytest.mark.parametrize(
    "value", [None, "null", ["null", None], {"null": None}, 1e308, -0.0, 5e-324, Point(0)]
)
def test_json_takes_null_and_finite_numbers(db: kvengine.Engine, value: Any) -> None:
    """What looks like the null of a NaN is not one."""
    obj = db.object("S", "k")
    obj.set("a", value)
    assert obj.get("a", type=type(value)) == value


def test_msgpack_keeps_what_is_not_finite(db: kvengine.Engine) -> None:
    """MessagePack has NaN and infinity, and bytes."""
    obj = db.object("S", "k", serde="msgpack")
    obj.set("a", [math.inf, -math.inf, math.nan, b"\xff"])
    found = obj.get("a")
    assert found[:2] == [math.inf, -math.inf] and math.isnan(found[2]) and found[3] == b"\xff"


@pytest.mark.parametrize("number", [2**53 + 1, 2**64, -(2**63) - 1, 10**100])
def test_big_integers(db: kvengine.Engine, number: int) -> None:
    """JSON keeps integers of any size exactly; MessagePack refuses past 64 bits, or keeps them."""
    obj = db.object("S", "k")
    obj.set("a", {"n": [number]})
    assert obj.get("a") == {"n": [number]}
    assert obj.get("a", type=dict[str, list[int]]) == {"n": [number]}
    try:
        obj.set("b", number, serde="msgpack")
    except kvengine.SerdeError:
        assert abs(number) > 2**62 and "b" not in obj
    else:
        assert obj.get("b", serde="msgpack") == number


@pytest.mark.parametrize("serde", ["json", "msgpack", "pydantic"])
@pytest.mark.parametrize("value", ["\ud800", ["a\udfff"], {"\ud800": 1}])
def test_a_lone_surrogate(db: kvengine.Engine, serde: Any, value: Any) -> None:
    """Text without UTF-8 is refused, not mended."""
    with pytest.raises(kvengine.SerdeError, match="'S', 'k', 'a'"):
        db.object("S", "k", serde=serde).set("a", value)
    assert db.version("S", "k") == 0


@dataclass
class Counts:
    by_name: dict[Any, int]


@pytest.mark.parametrize(
    "value",
    [
        {1: "a", "1": "b"},
        {"deep": [({2: 1, "2": 2},)]},
        {"deep": [{1.0: 1, "1.0": 2}]},
        Counts({1: 1, "1": 2}),
        OrderedDict({1: 1, "1": 2}),
    ],
)
def test_two_keys_that_json_writes_alike_are_refused(
    obj: kvengine.VirtualObject, value: object
) -> None:
    """The JSON had the key twice, and whoever read it found one of the two values."""
    with pytest.raises(kvengine.SerdeError, match="alike"):
        obj.set("v", value)
    assert "v" not in obj
    with pytest.raises(kvengine.SerdeError, match="alike"), obj.session() as state:
        state.set("v", value)


@pytest.mark.parametrize("value", [{1: "a", 2: "b"}, {"a": {"1": 1}}, Counts({"a": 1}), [{}], {}])
def test_other_keys_are_not(obj: kvengine.VirtualObject, value: object) -> None:
    obj.set("v", value)
    assert obj.get("v") is not None


def test_what_is_not_encoded_is_not_looked_at(obj: kvengine.VirtualObject) -> None:
    """Values refer to each other by what is not stored: a registry, a parent.

    The first look at keys went there, in C and without end.
    """

    @dataclass
    class Node:
        known: ClassVar[dict[Any, Any]] = {1: 1, "1": 2}
        limit: ClassVar[float] = math.inf
        name: str
        next: Any = None

    Node.known["itself"] = Node("a")
    obj.set("v", Node("a"))
    assert obj.get("v") == {"name": "a", "next": None}

    class Child(pydantic.BaseModel):
        name: str
        parent: Any = pydantic.Field(default=None, exclude=True)

    class Parent(pydantic.BaseModel):
        children: list[Child]

    parent = Parent(children=[Child(name="c")])
    parent.children[0].parent = parent
    obj.set("v", parent)
    assert obj.get("v") == {"children": [{"name": "c"}]}


def test_values_as_deep_as_they_encode(obj: kvengine.VirtualObject) -> None:
    deep: Any = {}
    for _ in range(900):
        deep = {"a": [deep]} if deep else {"a": 1}
    with suppress(kvengine.SerdeError):  # too deep for the encoder, and no crash
        obj.set("v", deep)
