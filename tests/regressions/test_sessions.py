"""Stories of sessions and typed state, each of which a hostile user found."""

from __future__ import annotations

import abc
import enum
import sys
import threading
import types
import uuid
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

import kvengine
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage.batch import Batch
from kvengine.storage.clock import ManualClock
from kvengine.storage.names import END


def opened(**options: Any) -> kvengine.Engine:
    return kvengine.open(
        "/db",
        **{"fs": MemoryFileSystem(), "background": "none", **options},  # type: ignore[arg-type]
    )


class Color(enum.Enum):
    RED = "red"


@dataclass
class Node:
    name: str
    next: Node | None = None
    notes: list[float | None] = field(default_factory=list)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("value", [uuid.UUID(int=7), Color.RED, Node("a", Node("b"))])
def test_a_null_beside_a_value_of_a_class(value: object) -> None:
    """Storing an Enum or a UUID beside a None went round in circles for ever.

    A null in the JSON made the search for NaN walk every attribute, and an Enum
    leads to its class, and that to its members.
    """
    with opened() as db:
        db.object("S", "k").set("a", {"value": value, "none": None})
        assert db.object("S", "k").get("a")["none"] is None
        with pytest.raises(kvengine.SerdeError, match="nan"):
            db.object("S", "k").set("a", [None, Node("a", notes=[None, float("nan")])])


def test_a_snapshot_beside_a_compaction_and_a_read_of_now() -> None:
    """A snapshot, and a lazy session, lost what had been live at their moment.

    A compaction dropped what had expired since; a read of now remembered the object
    as the new segments have it, on a state that the snapshot shares.
    """
    clock, fs = ManualClock(), MemoryFileSystem()
    with opened(fs=fs, clock=clock) as db, db.batch() as batch:
        for number in range(101):
            batch.set("S", "k", f"old{number}", b"1", ttl=100)
    with opened(fs=fs, clock=clock) as db:
        db.flush()
        with db.batch() as batch:
            for number in range(100):
                batch.set("S", "k", f"new{number}", b"2")
        handle = db.object("S", "k", serde="bytes")
        with handle.session(preload=False) as state, db.snapshot() as snapshot:
            clock.advance(200)
            db._maintenance.compact_all(db._scheduler._execute, b"", END)
            assert len(db.get_all("S", "k")) == 100
            assert snapshot.get("S", "k", "old7") == b"1"
            assert len(snapshot.get_all("S", "k")) == 201
            assert state.get("old7") == b"1"


@pytest.mark.parametrize("preload", [True, False])
def test_a_commit_that_was_begun_and_left(preload: bool) -> None:
    """A commit whose event loop died before its sync made its object conflict for ever.

    Readers did not see it, and expectations were held against it.
    """
    with opened(durability="sync", background="thread") as db:
        handle = db.object("S", "k")
        handle.set("n", 1)
        left = Batch()
        left.set("S", "k", "n", b"2")
        db._begin_write(left)
        with pytest.raises(kvengine.VersionConflict):
            with handle.session(preload=preload) as state:
                state.set("n", state.get("n") + 10)
        with handle.session() as state:
            state.set("n", state.get("n") + 10)
        assert handle.get("n") == 12


class Sized(kvengine.State):
    text: str = ""


@pytest.mark.parametrize("durability", ["os", "sync"])
def test_a_field_over_the_limit(durability: str) -> None:
    """A typed field was held against max_value_size too late, or not at all."""
    with opened(durability=durability, max_value_size=100) as db:
        with db.object("S", "k").session(Sized) as state:
            with pytest.raises(kvengine.ValueTooLarge, match="max_value_size"):
                state.text = "x" * 200
        assert db.version("S", "k") == 0


class Item(msgspec.Struct):
    name: str
    id: str = msgspec.field(default_factory=lambda: uuid.uuid4().hex)


class Basket(kvengine.State):
    items: list[Item] = []


def test_reading_a_struct_whose_new_field_differs_each_time() -> None:
    """Old state whose struct gained a field with a random default was written by reading it."""
    with opened() as db:
        before = db.object("S", "k").set("items", [{"name": "tea"}])
        with db.object("S", "k").session(Basket, read_only=True) as state:
            assert state.items[0].name == "tea"
        with db.object("S", "k").session(Basket) as state:
            assert state.items[0].name == "tea"
        assert db.version("S", "k") == before


def test_one_block_entered_by_two_threads() -> None:
    """One session(...) object let two threads in at once: the second found its own claim."""
    with opened() as db:
        block = db.object("S", "k").session(timeout=20)
        refused: list[str] = []

        def enter() -> None:
            try:
                with block as state:
                    state.set("n", state.get("n", 0) + 1)
            except kvengine.SessionError as error:
                refused.append(str(error))

        with db.object("S", "k").session():
            first, second = (threading.Thread(target=enter) for _ in range(2))
            first.start()
            while db._host.turns.claims(("S", "k")) < 2:
                pass
            second.start()
            second.join(5)
            assert len(refused) == 1 and "open already" in refused[0]
        first.join()
        assert db.object("S", "k").get("n") == 1


def test_a_state_with_another_metaclass() -> None:
    """Behind a metaclass in Python, annotations of the class's own module were not found."""

    class Abstract(kvengine.State, abc.ABC):
        item: Item | None = None

    tea = Item("tea")
    assert Abstract(item=tea).item is tea
    assert Abstract._kv_fields["item"].type == Item | None


class Stubborn(MemoryFileSystem):
    """A disk on which segments cannot be removed, once armed."""

    armed = False

    def unlink(self, path: str, /) -> None:
        if self.armed and path.endswith(".segment"):
            raise PermissionError(13, "denied", path)
        super().unlink(path)


def test_files_that_cannot_be_removed_when_a_session_ends() -> None:
    """The end of a lazy session raised what removing old files raised, after its commit was in.

    It took the place of the block's own exception, and the session could be used on.
    """
    fs = Stubborn()
    with opened(fs=fs) as db:
        for number in range(2):
            db.object("S", "k").set("a", number)
            db.flush()
        db._host.hold = None  # a snapshot, which keeps files, as of an object that lies in chunks
        fs.armed = True
        with pytest.raises(LookupError):
            with db.object("S", "k").session(preload=False) as state:
                state.get("a")
                db.compact()
                raise LookupError
        with pytest.raises(kvengine.SessionError, match="is over"):
            state.get("a")
        assert "denied" in db.stats().last_background_error
        fs.armed = False


class Seen(kvengine.State):
    seen: list[str] = []


def test_changes_in_place_are_seen_by_the_session_beneath() -> None:
    """What was appended to a field was not in what the session beneath it read."""
    with opened() as db, db.object("S", "k").session(Seen) as state:
        state.seen.append("a")
        assert kvengine.session_of(state).get("seen") == ["a"]
        assert kvengine.session_of(state).get_all() == {"seen": ["a"]}
        assert kvengine.session_of(state).state_keys() == ["seen"]


@pytest.mark.parametrize("found", [types.ModuleType("asyncio"), None])
def test_a_session_while_asyncio_is_imported(
    found: types.ModuleType | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread imports asyncio just now: the module stands there with nothing in it yet.

    Every session raised AttributeError for as long as that took.
    """
    with kvengine.open("/db", fs=MemoryFileSystem(), background="none") as db:
        obj = db.object("S", "k")
        monkeypatch.setitem(sys.modules, "asyncio", found)
        for n in range(3):
            with obj.session() as state:
                state.set("n", n)
        monkeypatch.undo()
        assert obj.get("n") == 2
