"""Typed state over sessions of each kind: read-only, lazy, ended, with a session's other verbs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import kvengine
from kvengine import field
from tests.api.refusals import refuses
from tests.sessions.reads import Reads
from tests.state.values import Point


class Counter(kvengine.State):
    count: int = 0
    tags: list[str] = []
    point: Point | None = None
    title: str = field(default="", alias="name")

    def bump(self) -> int:
        self.count += 1
        return self.count


LOADINGS: dict[str, dict[str, Any]] = {
    "eager": {},
    "lazy": {"preload": False},
    "some": {"preload": ["count", "name"]},
    "partial": {"preload_limit": 12},
}


@pytest.mark.parametrize("place", ["memory", "segment"])
@pytest.mark.parametrize("loading", LOADINGS)
def test_however_it_is_loaded(
    obj: kvengine.VirtualObject, db: kvengine.Engine, loading: str, place: str
) -> None:
    """Attributes read and write the same in every way to load."""
    obj.mapping().update(count=1, name="Ada", tags=["a"], other=[None])
    if place == "segment":
        db.flush()
    with obj.session(Counter, **LOADINGS[loading]) as state:
        assert (state.bump(), state.tags, state.point, state.title) == (2, ["a"], None, "Ada")
        state.tags.append("b")
        del state.title
        state.point = Point(1)
    assert obj.get_all() == {
        "count": 2,
        "other": [None],
        "point": {"x": 1, "y": 0},
        "tags": ["a", "b"],
    }


def test_a_lazy_state_reads_what_is_used(
    db: kvengine.Engine, obj: kvengine.VirtualObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """preload=False reads a field on its first use, once; a field that is set is not read."""
    obj.mapping().update(count=1, title="t", tags=["a"], other=1)
    reads = Reads(monkeypatch, db)
    with obj.session(Counter, preload=False) as state:
        assert reads.calls == []
        assert state.tags == ["a"] and state.tags == ["a"]
        state.count = 5
        assert state.count == 5
        assert reads.calls == ["get tags"]
    with obj.session(Counter) as state:
        reads.calls.clear()
        assert (state.tags, state.count, state.point) == (["a"], 5, None)
        assert reads.calls == []


def test_of_one_moment(obj: kvengine.VirtualObject) -> None:
    """A lazy state reads what there was when its session began, and conflicts where it writes."""
    obj.mapping().update(count=1, tags=["a"])
    with obj.session(Counter, preload=False) as state:
        obj.set("count", 7)
        assert (state.count, state.tags) == (1, ["a"])
    with pytest.raises(kvengine.VersionConflict):
        with obj.session(Counter, preload=False) as state:
            obj.set("count", 8)
            state.tags.append("b")
    assert obj.get_all() == {"count": 8, "tags": ["a"]}


@pytest.mark.parametrize("preload", [True, False])
def test_a_read_only_state_reads(obj: kvengine.VirtualObject, preload: bool) -> None:
    """A read-only session's state reads beside an exclusive one; a set is refused at once."""
    obj.mapping().update(count=1, tags=["a"])
    before = obj.version()
    with obj.session(Counter) as writer:
        with obj.session(Counter, read_only=True, preload=preload) as state:
            writer.count = 2
            assert (state.count, state.tags, state.point) == (1, ["a"], None)
            writes: list[Callable[[], object]] = [
                lambda: setattr(state, "count", 3),
                lambda: delattr(state, "count"),
                lambda: setattr(state, "tags", []),
                state.bump,
                state.clear_all,
                state.complete,
            ]
            for write in writes:
                with refuses(kvengine.ReadOnly, "read-only session"):
                    write()
            assert (state.count, state.tags) == (1, ["a"])
            assert state.commit() is None
    assert obj.version() > before and obj.get_all() == {"count": 2, "tags": ["a"]}


@pytest.mark.parametrize("name", ["tags", "point"])
def test_a_change_in_place_of_a_read_only_state(obj: kvengine.VirtualObject, name: str) -> None:
    """Nobody can refuse it where it happens, so it is refused at the end: never lost silently."""
    obj.mapping().update(tags=["a"], point=Point(1))
    before = obj.version()
    with refuses(
        kvengine.ReadOnly, rf"Counter\.{name} was changed in place in a read-only session"
    ):
        with obj.session(Counter, read_only=True) as state:
            assert state.point is not None
            state.tags.append("b") if name == "tags" else setattr(state.point, "x", 2)
    assert obj.version() == before
    with refuses(kvengine.ReadOnly, r"Counter\.tags was changed in place"):
        with obj.session(Counter, read_only=True) as state:
            state.tags.append("b")
            state.commit()
    with obj.session(Counter, read_only=True) as state:
        state.tags.append("b")
        state.tags.pop()


USES: dict[str, Callable[[Counter], object]] = {
    "read": lambda state: state.count,
    "read again": lambda state: state.tags,
    "read of an alias": lambda state: state.title,
    "set": lambda state: setattr(state, "count", 1),
    "set what changes": lambda state: setattr(state, "tags", []),
    "del": lambda state: delattr(state, "count"),
    "method": lambda state: state.bump(),
    "commit": lambda state: state.commit(),
    "clear_all": lambda state: state.clear_all(),
    "complete": lambda state: state.complete(),
}


@pytest.mark.parametrize("loading", [{}, {"preload": False}, {"read_only": True}])
@pytest.mark.parametrize("use", USES)
def test_after_the_end(db: kvengine.Engine, use: str, loading: dict[str, Any]) -> None:
    """A state whose session is over raises SessionError whatever is asked of it."""
    flow = db.workflow("Greeter", "alice")
    before = flow.set("count", 1)
    with flow.session(Counter, **loading) as state:
        assert (state.count, state.tags) == (1, [])
    with refuses(kvengine.SessionError, "'Greeter', 'alice'.*is over"):
        USES[use](state)
    assert flow.version() == before and repr(state) == "Counter()"


def test_after_an_end_that_raised(obj: kvengine.VirtualObject) -> None:
    """The same where the block raised, or the commit did."""
    with pytest.raises(LookupError):
        with obj.session(Counter) as state:
            state.tags.append("a")
            raise LookupError
    with refuses(kvengine.SessionError, "is over"):
        _ = state.tags
    with pytest.raises(kvengine.VersionConflict):
        with obj.session(Counter) as state:
            state.count = 1
            obj.set("count", 5)
    with refuses(kvengine.SessionError, "is over"):
        _ = state.count
    assert obj.get_all() == {"count": 5}


def test_the_session_of_a_state(obj: kvengine.VirtualObject) -> None:
    """session_of gives the session's other verbs; both see what the other has written."""
    obj.mapping().update(count=1, tags=["a"], other=1)
    with obj.session(Counter) as state:
        session = kvengine.session_of(state)
        assert isinstance(session, kvengine.Session) and session.key == "alice"
        assert (state.count, state.tags) == (1, ["a"])
        session.set("count", 5)
        session.set("tags", ["b"])
        session.set("other", 2)
        assert (state.count, state.tags) == (5, ["b"])
        state.count = 6
        assert session.get("count") == 6
        session.clear("tags")
        assert state.tags == [] and session.state_keys() == ["count", "other"]
        assert state.title == ""
        session.set("name", "Ada")
        assert state.title == "Ada"
        state.title = "Countess"
        assert "name" not in session and session.get("title") == "Countess"
        session.mapping()["point"] = {"x": 1}
        assert state.point == Point(1)
        session.clear_all()
        assert (state.count, state.title, state.point) == (0, "", None)
        state.tags.append("c")
    assert obj.get_all() == {"tags": ["c"]}


def test_an_entry_set_beside_a_state_wins(obj: kvengine.VirtualObject) -> None:
    """Setting the entry by the session's verb replaces what was changed in the field before."""
    obj.set("tags", ["a"])
    with obj.session(Counter) as state:
        state.tags.append("b")
        kvengine.session_of(state).set("tags", ["c"])
        assert state.tags == ["c"]
        state.tags.append("d")
    assert obj.get("tags") == ["c", "d"]


def test_the_serde_of_the_handle(db: kvengine.Engine) -> None:
    """Fields are encoded by the serde of their object; bytes need no other one in MessagePack."""

    class Packed(kvengine.State):
        n: int = 0
        raw: bytes = b""
        tags: list[str] = []

    obj = db.object("S", "k", serde="msgpack")
    with obj.session(Packed) as state:
        state.n, state.raw = 1, b"\xff"
        state.tags.append("a")
    assert db.get_all("S", "k") == {"n": b"\x01", "raw": b"\xc4\x01\xff", "tags": b"\x91\xa1a"}
    with obj.session(Packed) as state:
        assert (state.n, state.raw, state.tags) == (1, b"\xff", ["a"])


def test_no_change_is_no_commit(obj: kvengine.VirtualObject, db: kvengine.Engine) -> None:
    """A state that was only read, or set and deleted again where nothing was, commits nothing."""
    with obj.session(Counter) as state:
        assert state.commit() is None
        state.count = 1
        state.title = "t"
        del state.count, state.title
    assert db.stats().commits == 0
