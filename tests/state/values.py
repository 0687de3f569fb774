"""Types that people bring along, a value of each, what JSON makes of it; a typed state."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any, NamedTuple
from uuid import UUID

import attrs
import msgspec
import pydantic
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

import kvengine


class Point(msgspec.Struct):
    x: int
    y: int = 0


@dataclass
class Place:
    name: str
    points: list[Point] = field(default_factory=list)


class Size(TypedDict):
    width: int
    height: int


@attrs.define
class Part:
    number: int
    name: str = "bolt"


class Pair(NamedTuple):
    left: int
    right: str


class Color(Enum):
    RED = "red"
    GREEN = "green"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class User(pydantic.BaseModel):
    name: str
    born: date | None = None
    tags: list[str] = []


class Reading(pydantic.BaseModel):
    value: float


class Sample(NamedTuple):
    """A type, a value of it, and what is read without naming the type."""

    type: Any
    value: Any
    plain: Any


WHEN = datetime(2024, 2, 29, 12, 30, tzinfo=UTC)

SAMPLES: dict[str, Sample] = {
    "int": Sample(int, 3, 3),
    "float": Sample(float, -0.1, -0.1),
    "bool": Sample(bool, False, False),
    "str": Sample(str, "\N{GRINNING FACE} null", "\N{GRINNING FACE} null"),
    "None": Sample(type(None), None, None),
    "list": Sample(list[int], [1, 2], [1, 2]),
    "tuple": Sample(tuple[int, str], (1, "a"), [1, "a"]),
    "dict": Sample(dict[str, int | None], {"a": 1, "b": None}, {"a": 1, "b": None}),
    "Struct": Sample(Point, Point(1, 2), {"x": 1, "y": 2}),
    "dataclass": Sample(
        Place, Place("home", [Point(1)]), {"name": "home", "points": [{"x": 1, "y": 0}]}
    ),
    "TypedDict": Sample(Size, Size(width=1, height=2), {"width": 1, "height": 2}),
    "attrs": Sample(Part, Part(7), {"number": 7, "name": "bolt"}),
    "NamedTuple": Sample(Pair, Pair(1, "a"), [1, "a"]),
    "Enum": Sample(Color, Color.RED, "red"),
    "IntEnum": Sample(Level, Level.HIGH, 2),
    "pydantic": Sample(
        User,
        User(name="Ada", born=date(1815, 12, 10)),
        {"name": "Ada", "born": "1815-12-10", "tags": []},
    ),
    "datetime": Sample(datetime, WHEN, "2024-02-29T12:30:00Z"),
    "timedelta": Sample(timedelta, timedelta(minutes=1), "PT60S"),
    "Decimal": Sample(Decimal, Decimal("1.10"), "1.10"),
    "UUID": Sample(UUID, UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    "optional": Sample(Point | None, Point(1), {"x": 1, "y": 0}),
}

OF_PYDANTIC = [
    *("int", "float", "bool", "str", "None", "list", "tuple", "dict", "TypedDict", "NamedTuple"),
    *("Enum", "IntEnum", "pydantic", "datetime", "timedelta", "Decimal", "UUID"),
]
"""Those that pydantic's own serde takes: it knows nothing of msgspec and attrs."""


class Unknown:
    """A type that no serde knows."""


class Greeter(kvengine.State):
    name: str = "world"
    count: int = 0
    ratio: float = 0.5
    on: bool = False
    nick: str | None = None
    tags: list[str] = []
    limits: dict[str, int] = {"low": 1}
    point: Point = Point(0)
    token: str

    def greet(self) -> str:
        self.count += 1
        return f"Hello {self.shown}"

    @property
    def shown(self) -> str:
        return self.nick or self.name

    @shown.setter
    def shown(self, value: str) -> None:
        self.nick = value
