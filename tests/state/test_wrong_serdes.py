"""What is no serde is refused wherever one may be chosen, and pickle is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kvengine
from kvengine.fs.memory import MemoryFileSystem
from kvengine.serdes import JSONSerde
from tests.api.refusals import open_disk, refuses


class OnlyEncodes:
    def encode(self, value: Any) -> bytes:
        return b""


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "unknown": ("yaml", ValueError, "no serde 'yaml': it is one of 'json', 'msgpack'"),
    "pickle": ("pickle", ValueError, "no serde 'pickle'"),
    "empty": ("", ValueError, "no serde ''"),
    "a class": (JSONSerde, TypeError, "the class JSONSerde: pass an instance"),
    "a number": (3, TypeError, "one of 'json'.*encode.*decode.*not int"),
    "half a serde": (OnlyEncodes(), TypeError, "have the methods.*not OnlyEncodes"),
}


def declare(serde: Any) -> None:
    class Declared(kvengine.State):
        count: int = kvengine.field(default=0, serde=serde)

    Declared(count=1)


PLACES: dict[str, Callable[[kvengine.Engine, Any], object]] = {
    "object": lambda db, serde: db.object("S", "k", serde=serde),
    "workflow": lambda db, serde: db.workflow("S", "k", serde=serde),
    "set": lambda db, serde: db.object("S", "k").set("a", 1, serde=serde),
    "get": lambda db, serde: db.object("S", "k").get("here", serde=serde),
    "field": lambda db, serde: declare(serde),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_serdes(db: kvengine.Engine, wrong: str, place: str) -> None:
    """What is no serde is refused wherever one is chosen, and the error says what there is."""
    serde, error, message = WRONG[wrong]
    before = db.object("S", "k").set("here", 1)
    with refuses(error, message):
        PLACES[place](db, serde)
    assert db.version("S", "k") == before and db.object("S", "k").get_all() == {"here": 1}


def test_a_wrong_serde_for_what_is_absent(db: kvengine.Engine) -> None:
    """A get refuses what is no serde also where there is nothing to decode."""
    with refuses(ValueError, "no serde 'yaml'"):
        db.object("S", "k").get("absent", serde="yaml")  # type: ignore[call-overload]
    with db.object("S", "k").session() as state:
        with refuses(ValueError, "no serde 'yaml'"):
            state.get("absent", serde="yaml")  # type: ignore[call-overload]


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_serdes_of_a_session(db: kvengine.Engine, wrong: str) -> None:
    """The same in a session, which goes on."""
    serde, error, message = WRONG[wrong]
    with db.object("S", "k").session() as state:
        with refuses(error, message):
            state.set("a", 1, serde=serde)
        state.set("b", 1)
        with refuses(error, message):
            state.get("b", serde=serde)
    assert db.object("S", "k").get_all() == {"b": 1}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_serdes_of_a_database(tmp_path: Path, wrong: str) -> None:
    """open() refuses what is no serde."""
    serde, error, message = WRONG[wrong]
    with refuses(error, message):
        open_disk(tmp_path / "one", serde=serde)
    with refuses(error, message):
        open_disk(tmp_path / "other", serdes={"S": serde})


def test_serdes_of_a_database_are_by_name_of_service(tmp_path: Path) -> None:
    """serdes= maps names of services."""
    for number, wrong in enumerate(({1: "json"}, {None: "json"})):
        with refuses(TypeError, "service must be str"):
            open_disk(tmp_path / str(number), serdes=wrong)
    with refuses(TypeError, "serdes must map services"):
        open_disk(tmp_path / "list", serdes=["json"])
    with refuses(TypeError, "serde must be one of"):
        open_disk(tmp_path / "none", serde=None)


@pytest.mark.parametrize("options", [{"serde": "yaml"}, {"serdes": {"S": "yaml"}}])
def test_a_refused_open_leaves_the_directory_free(tmp_path: Path, options: Any) -> None:
    """After an open that was refused for its serde the next open has the directory."""
    fs = MemoryFileSystem()
    with pytest.raises(ValueError, match="no serde 'yaml'") as first:
        open_disk(tmp_path / "db", **options)
    with pytest.raises(ValueError, match="no serde 'yaml'") as second:
        kvengine.open("/db", fs=fs, background="none", **options)
    open_disk(tmp_path / "db").close()
    kvengine.open("/db", fs=fs, background="none").close()
    assert first.value.args == second.value.args, (
        "kept until here, and what they refer to with them"
    )
