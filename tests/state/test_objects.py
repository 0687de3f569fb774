"""Handles on objects: every verb, with values; light, equal by name, shared between threads."""

from __future__ import annotations

import sys
import threading
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

import kvengine
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage.clock import ManualClock
from tests.api.refusals import open_disk, refuses
from tests.state.values import Point

Settle = Callable[[kvengine.Engine], kvengine.Engine]


def test_set_and_get(db: kvengine.Engine, settle: Settle) -> None:
    """What is set is read, as a value or as type= says; set returns the commit's stamp."""
    obj = db.object("S", "k")
    first = obj.set("a", {"x": 1})
    second = obj.set("b", Point(1, 2))
    assert 0 < first < second
    obj = settle(db).object("S", "k")
    assert obj.version() == second
    assert obj.get("a") == {"x": 1} and obj.get("b", type=Point) == Point(1, 2)
    assert obj.get("c") is None and obj.get("c", 7) == 7 and obj.get("c", 7, type=int) == 7
    assert "a" in obj and "c" not in obj
    assert list(obj.get_all().items()) == [("a", {"x": 1}), ("b", {"x": 1, "y": 2})]
    assert obj.get_all(type=dict[str, int]) == {"a": {"x": 1}, "b": {"x": 1, "y": 2}}


def test_clear(db: kvengine.Engine, settle: Settle) -> None:
    """clear removes an entry, clear_all every one; without entries the object is absent."""
    obj = db.object("S", "k")
    for name in "abc":
        obj.set(name, name)
    db = settle(db)
    obj = db.object("S", "k")
    stamp = obj.clear("b")
    assert obj.version() == stamp and obj.get_all() == {"a": "a", "c": "c"}
    assert obj.clear("nothing") > stamp
    assert obj.clear_all() > stamp
    db = settle(db)
    obj = db.object("S", "k")
    assert (obj.version(), obj.get_all(), obj.state_keys()) == (0, {}, [])
    obj.set("d", 1)
    assert obj.get_all() == {"d": 1}
    obj.clear("d")
    assert obj.version() == 0 and list(db.object_keys("S")) == []


def test_state_keys(db: kvengine.Engine, settle: Settle) -> None:
    """State keys are in byte order, from start= on, with a prefix=, at most limit=."""
    names = ["\U00010000", "b", "", "ab", "a", "\uffff", "aa"]
    for name in names:
        db.object("S", "k").set(name, None)
    obj = settle(db).object("S", "k")
    assert obj.state_keys() == sorted(names, key=str.encode)
    assert obj.state_keys(prefix="a") == ["a", "aa", "ab"]
    assert obj.state_keys(prefix="a", start="aa", limit=1) == ["aa"]
    assert obj.state_keys(limit=0) == []


def test_expire(db: kvengine.Engine, clock: ManualClock, settle: Settle) -> None:
    """expire takes a time, or seconds, or nothing: for ever. It says whether there is an object."""
    obj = db.object("S", "k")
    assert not obj.expire(ttl=10) and obj.version() == 0 and obj.expires_at() is None
    obj.set("a", 1)
    now = clock.wall() / 1e6
    assert obj.expire(at=now + 100) and obj.expires_at() == now + 100
    assert obj.expire(ttl=timedelta(seconds=50)) and obj.expires_at() == now + 50
    db = settle(db)
    obj = db.object("S", "k")
    assert obj.expires_at() == now + 50
    assert obj.expire() and obj.expires_at() is None
    assert obj.expire(ttl=10.5)
    clock.advance(10)
    assert obj.get("a") == 1
    clock.advance(0.5)
    obj = settle(db).object("S", "k")
    assert (obj.get("a"), obj.version(), obj.expires_at(), "a" in obj) == (None, 0, None, False)
    assert not obj.expire()
    obj.set("b", 1)
    assert obj.get_all() == {"b": 1} and obj.expires_at() is None


def test_ttl_of_an_entry(db: kvengine.Engine, clock: ManualClock) -> None:
    """An entry set with a ttl is absent from that instant; set again without one it stays."""
    obj = db.object("S", "k")
    obj.set("a", 1, ttl=10)
    obj.set("b", 2, ttl=timedelta(seconds=10))
    before = obj.set("c", 3, ttl=0.25)
    obj.set("b", 2)
    clock.advance(0.25)
    assert obj.get("c") is None and "c" not in obj and obj.state_keys() == ["a", "b"]
    clock.advance(9.75)
    assert obj.get_all() == {"b": 2}
    assert obj.version() > before and obj.expires_at() is None


BAD_TTLS: dict[Any, type[Exception]] = {
    float("nan"): ValueError,
    float("inf"): ValueError,
    "10": TypeError,
    True: TypeError,
}


@pytest.mark.parametrize("ttl", BAD_TTLS)
def test_a_bad_ttl(db: kvengine.Engine, ttl: Any) -> None:
    """A ttl is seconds or a timedelta, and finite; nothing is written otherwise."""
    before = db.object("S", "k").set("a", 1)
    with refuses(BAD_TTLS[ttl], "ttl must be"):
        db.object("S", "k").set("a", 2, ttl=ttl)
    with refuses(BAD_TTLS[ttl], "ttl must be"):
        db.object("S", "k").expire(ttl=ttl)
    with refuses(ValueError, "at= or ttl="):
        db.object("S", "k").expire(ttl=10, at=10)
    assert db.version("S", "k") == before


def test_handles_of_one_object(db: kvengine.Engine) -> None:
    """Handles are equal that name the same object of the same open store, of either kind."""
    obj = db.object("S", "k")
    assert obj == db.object("S", "k") and hash(obj) == hash(db.object("S", "k"))
    assert obj == db.workflow("S", "k") and obj == db.object("S", "k", serde="msgpack")
    assert obj not in (db.object("S", "l"), db.object("T", "k"))
    assert obj != ("S", "k") and obj is not None
    assert len({db.object("S", "k"), db.workflow("S", "k"), obj}) == 1
    with kvengine.open("/other", fs=MemoryFileSystem(), background="none") as other:
        assert obj != other.object("S", "k")


@pytest.mark.parametrize("name", ["", "a\nb", "a\0b", "it's", "\N{GRINNING FACE}", "x" * 65_536])
def test_a_handle_says_what_it_is(db: kvengine.Engine, name: str) -> None:
    """service and key as they were given; the repr names both, on one line."""
    for handle in (db.object(name, name), db.workflow(name, name)):
        assert (handle.service, handle.key) == (name, name)
        assert repr((name, name)) in repr(handle) and "\n" not in repr(handle)
        with pytest.raises(AttributeError):
            handle.service = "other"  # type: ignore[misc]
    assert "VirtualObject" in repr(db.object("S", "k")) and "Workflow" in repr(
        db.workflow("S", "k")
    )


class Names(StrEnum):
    SERVICE = "S"
    KEY = "k"


def test_names_of_a_subclass_of_str(db: kvengine.Engine) -> None:
    """An enum of str names what its value names."""
    obj = db.object(Names.SERVICE, Names.KEY)
    obj.set(Names.KEY, 1)
    assert obj == db.object("S", "k") and db.object("S", "k").get_all() == {"k": 1}
    assert type(obj.service) is str and type(obj.key) is str


BAD_NAMES: dict[str, tuple[Any, type[Exception]]] = {
    "bytes": (b"a", TypeError),
    "None": (None, TypeError),
    "a number": (1, TypeError),
    "a surrogate": ("\ud800", ValueError),
    "too long": ("x" * 65_537, kvengine.ValueTooLarge),
}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names(db: kvengine.Engine, name: str) -> None:
    """What is no name is refused when the handle is made; a state key, by each verb."""
    bad, error = BAD_NAMES[name]
    for make in (db.object, db.workflow):
        with pytest.raises(error):
            make(bad, "k")
        with pytest.raises(error):
            make("S", bad)
    obj = db.object("S", "k")
    for use in (
        lambda: obj.get(bad),
        lambda: obj.set(bad, 1),
        lambda: obj.clear(bad),
        lambda: bad in obj,
    ):
        with pytest.raises(error):
            use()
    assert db.stats().commits == 0


def test_a_handle_shared_between_threads(db: kvengine.Engine) -> None:
    """Eight threads write and read through one handle; each entry is what its thread wrote."""
    obj = db.object("S", "k")
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for number in range(100):
                obj.set(name, [name, number])
                assert obj.get(name) == [name, number]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert obj.get_all() == {name: [name, 99] for name in "abcdefgh"}


def test_handles_by_the_million(db: kvengine.Engine) -> None:
    """A handle is two small objects without a dict, and the engine keeps nothing of it."""
    handle = db.workflow("S", "k")
    assert not hasattr(handle, "__dict__") and sys.getsizeof(handle) <= 72
    with pytest.raises(AttributeError):
        handle.note = 1  # type: ignore[attr-defined]
    before = db.stats()
    tracemalloc.start()
    try:
        handles = [db.object("S", str(number)) for number in range(50_000)]
        alive, _ = tracemalloc.get_traced_memory()
        del handles
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert alive / 50_000 < 250, "bytes for a handle and the key it names"
    assert left < alive / 10, "Python keeps some small objects to use again"
    assert db.stats() == before


READS: dict[str, Callable[[kvengine.VirtualObject], object]] = {
    "get": lambda obj: obj.get("a"),
    "get_all": lambda obj: obj.get_all(),
    "state_keys": lambda obj: obj.state_keys(),
    "in": lambda obj: "a" in obj,
    "version": lambda obj: obj.version(),
    "expires_at": lambda obj: obj.expires_at(),
    "mapping": lambda obj: dict(obj.mapping()),
}
WRITES: dict[str, Callable[[kvengine.VirtualObject], object]] = {
    "set": lambda obj: obj.set("a", 2),
    "clear": lambda obj: obj.clear("a"),
    "clear_all": lambda obj: obj.clear_all(),
    "expire": lambda obj: obj.expire(ttl=10),
    "mapping": lambda obj: obj.mapping().update(a=2),
}


@pytest.mark.parametrize("verb", WRITES)
def test_a_read_only_database(tmp_path: Path, verb: str) -> None:
    """Handles of a read-only database read; each verb that writes is refused."""
    with open_disk(tmp_path / "db") as db:
        db.object("S", "k").set("a", 1)
    with open_disk(tmp_path / "db", read_only=True) as db:
        obj = db.object("S", "k")
        for read in READS.values():
            read(obj)
        with refuses(kvengine.ReadOnly, "read_only"):
            WRITES[verb](obj)
        assert obj.get_all() == {"a": 1}


@pytest.mark.parametrize("verb", [*READS, *WRITES])
def test_a_closed_database(db: kvengine.Engine, verb: str) -> None:
    """Handles of a closed database say so, whatever the verb; one may still be made and shown."""
    obj = db.object("S", "k")
    db.close()
    with refuses(kvengine.DatabaseClosed, "is closed"):
        {**READS, **WRITES}[verb](obj)
    assert repr(db.object("S", "k")) == repr(obj)
