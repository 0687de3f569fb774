"""Pydantic models as values, and the serde that is pydantic's own."""

from __future__ import annotations

import math
import sys
from datetime import datetime
from ipaddress import IPv4Address
from typing import Any

import pydantic
import pytest

import kvengine
from kvengine.fs.memory import MemoryFileSystem
from kvengine.serdes import PydanticSerde
from tests.state.values import OF_PYDANTIC, SAMPLES, WHEN, Point, Reading


@pytest.mark.parametrize("name", OF_PYDANTIC)
def test_types_of_values_of_pydantic(db: kvengine.Engine, name: str) -> None:
    """serde="pydantic" takes the types that pydantic knows."""
    wanted, value, _ = SAMPLES[name]
    obj = db.object("S", "k", serde="pydantic")
    obj.set("one", value)
    obj.set("dict", {"a": [value]})
    assert obj.get("one", type=wanted) == value
    assert obj.get("dict", type=dict[str, list[wanted]]) == {"a": [value]}
    assert obj.get_all(type=Any).keys() == {"one", "dict"}


class Aliased(pydantic.BaseModel):
    number: int = pydantic.Field(alias="n")


class Computed(pydantic.BaseModel, extra="forbid"):
    number: int

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def twice(self) -> int:
        return 2 * self.number


class Typed(pydantic.BaseModel, strict=True):
    """Types that JSON has not, and msgspec not all of them."""

    address: IPv4Address = IPv4Address("127.0.0.1")
    site: pydantic.AnyUrl = pydantic.AnyUrl("https://example.org/")
    when: datetime = WHEN


MODELS = {"alias": Aliased(n=1), "computed": Computed(number=1), "types": Typed()}


@pytest.mark.parametrize("serde", ["json", "msgpack", "pydantic"])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_a_model_loads_as_it_was_stored(
    db: kvengine.Engine, serde: Any, model: pydantic.BaseModel
) -> None:
    """A pydantic model with aliases or computed fields can be read back, alone and nested."""
    obj = db.object("S", "k", serde=serde)
    obj.set("one", model)
    obj.set("many", [model])
    assert obj.get("one", type=type(model)) == model
    assert obj.get("many", type=list[type(model)]) == [model]


@pytest.mark.parametrize("value", [math.nan, [math.inf], Reading(value=math.nan)])
def test_pydantic_keeps_what_is_not_finite(db: kvengine.Engine, value: Any) -> None:
    """What pydantic's serde takes can be read back: not finite as it is, or refused at once."""
    obj = db.object("S", "k", serde="pydantic")
    try:
        obj.set("a", value)
    except kvengine.SerdeError:
        assert "a" not in obj
    else:
        assert repr(obj.get("a", type=type(value))) == repr(value)


def test_without_pydantic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pydantic is an extra: without it its serde says what to install, and the others work."""
    for name in ("pydantic", "pydantic_core"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r'pip install "kvengine\[pydantic\]"'):
        PydanticSerde()
    with kvengine.open("/db", fs=MemoryFileSystem(), background="none") as db:
        db.object("S", "k").set("a", Point(1))
        assert db.object("S", "k").get("a", type=Point) == Point(1)
