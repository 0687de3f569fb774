"""The table of semantics in docs/state.md, a test for each row, in every way to run a session.

The rows are what people know from Restate; where it has a bug or a limit, the
test is of what is right.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

import kvengine
from tests.sessions.ways import Way

Place = Callable[[kvengine.Engine], None]


def test_get_after_clear_in_the_same_session(db: kvengine.Engine, way: Way, place: Place) -> None:
    """Row: get after clear gives None."""
    db.object("S", "k").set("a", 1)
    place(db)
    with way.session(db) as state:
        state.clear("a")
        assert state.get("a") is None
        assert state.get("a", "gone") == "gone"
        assert "a" not in state
    assert db.object("S", "k").get("a", "gone") == "gone"


def test_state_keys_after_pending_sets(db: kvengine.Engine, way: Way, place: Place) -> None:
    """Row: state_keys includes what was set and not yet committed."""
    db.object("S", "k").set("b", 1)
    place(db)
    with way.session(db) as state:
        state.set("c", 2)
        state.set("a", 3)
        assert state.state_keys() == ["a", "b", "c"]
        assert db.state_keys("S", "k") == ["b"]
    assert db.state_keys("S", "k") == ["a", "b", "c"]


def test_state_keys_after_clear_in_the_same_session(
    db: kvengine.Engine, way: Way, place: Place
) -> None:
    """Row: state_keys does not list a key cleared in the session, eager or lazy."""
    for name in "abc":
        db.object("S", "k").set(name, name)
    place(db)
    with way.session(db) as state:
        state.clear("a")
        assert state.state_keys() == ["b", "c"]
        assert state.get_all() == {"b": "b", "c": "c"}
        state.clear("c")
        assert state.state_keys() == ["b"]
    assert db.object("S", "k").get_all() == {"b": "b"}


def test_clear_all_then_set(db: kvengine.Engine, way: Way, place: Place) -> None:
    """Row: after clear_all and a set there is the new key alone."""
    for name in "abc":
        db.object("S", "k").set(name, name)
    place(db)
    with way.session(db) as state:
        state.clear_all()
        assert state.state_keys() == []
        state.set("d", 1)
        assert state.state_keys() == ["d"]
        assert state.get("a") is None
        assert state.get_all() == {"d": 1}
    assert db.object("S", "k").get_all() == {"d": 1}


def test_set_none(db: kvengine.Engine, way: Way, place: Place) -> None:
    """Row: set(k, None) stores None as a value; the key is listed."""
    db.object("S", "k").set("a", 1)
    place(db)
    with way.session(db) as state:
        state.set("a", None)
        assert state.get("a", "default") is None
        assert "a" in state
        assert state.state_keys() == ["a"]
    assert db.object("S", "k").get("a", "default") is None
    assert db.get("S", "k", "a") == b"null"
    with way.session(db) as state:
        assert state.get("a", "default") is None


def test_empty_bytes(db: kvengine.Engine, way: Way, place: Place) -> None:
    """Row: set b"" with the bytes serde gives b""; a missing key gives None."""
    with way.session(db, serde="bytes") as state:
        state.set("a", b"")
        assert state.get("a") == b""
    place(db)
    with way.session(db, serde="bytes") as state:
        assert state.get("a") == b""
        assert state.get("missing") is None
        assert state.state_keys() == ["a"]


NAMES = ["", "a\0b", "a b/c", "\N{GRINNING FACE}", "x" * 65_536, "\u00e9", "e\u0301"]


def test_names(db: kvengine.Engine, way: Way, place: Place) -> None:
    """Row: any name, up to 64 KiB of UTF-8; NFC and NFD are two keys."""
    with way.session(db) as state:
        for number, name in enumerate(NAMES):
            state.set(name, number)
        assert state.state_keys() == sorted(NAMES)
    place(db)
    with way.session(db) as state:
        assert [state.get(name) for name in NAMES] == list(range(len(NAMES)))
        assert state.state_keys() == sorted(NAMES)
        state.clear("a\0b")
    assert db.object("S", "k").get("a b/c") == 2
    assert "a\0b" not in db.object("S", "k")


def test_order_of_state_keys(db: kvengine.Engine, way: Way, place: Place) -> None:
    """Row: state_keys is in byte order of the UTF-8 names, whatever the loading."""
    names = ["b", "aa", "a", "\uffff", "\U00010000", "B", "", "ab"]
    for name in names[:4]:
        db.object("S", "k").set(name, 0)
    place(db)
    with way.session(db) as state:
        for name in names[4:]:
            state.set(name, 0)
        assert state.state_keys() == sorted(names, key=str.encode)
        assert list(state.get_all()) == sorted(names, key=str.encode)


def test_the_last_state_keys(db: kvengine.Engine, way: Way, place: Place) -> None:
    """Row: in reverse `start` is the last one, and a limit counts from the end, own changes too."""
    for name in "abcdefgh":
        db.object("S", "k").set(name, 0)
    place(db)
    with way.session(db) as state:
        state.set("e2", 0)
        state.clear("g")
        assert state.state_keys(reverse=True, limit=3) == ["h", "f", "e2"]
        assert state.state_keys(reverse=True, start="e9", limit=2) == ["e2", "e"]
        assert state.state_keys(reverse=True, prefix="e") == ["e2", "e"]
        assert state.state_keys(reverse=True) == ["h", "f", "e2", "e", "d", "c", "b", "a"]
    assert db.object("S", "k").state_keys(reverse=True, start="c") == ["c", "b", "a"]


@pytest.mark.parametrize("size", [1_000_000, pytest.param(40_000_000, marks=pytest.mark.slow)])
def test_large_values(db: kvengine.Engine, way: Way, size: int) -> None:
    """Row: values of 1 MB and 40 MB are values like any other."""
    with way.session(db, serde="bytes") as state:
        state.set("a", bytes(size))
        assert len(state.get("a")) == size
    with way.session(db, serde="bytes") as state:
        assert state.get("a") == bytes(size)


def test_the_commit_unit_is_the_session(db: kvengine.Engine, way: Way) -> None:
    """Row: when the block raises, nothing of it is written, and the exception passes."""
    before = db.object("S", "k").set("a", 1)
    with pytest.raises(LookupError, match="no luck"):
        with way.session(db) as state:
            state.set("a", 2)
            state.set("b", 2)
            raise LookupError("no luck")
    assert db.object("S", "k").get_all() == {"a": 1}
    assert db.version("S", "k") == before


def test_commit_in_the_middle(db: kvengine.Engine, way: Way) -> None:
    """Row: commit() makes a step a commit of its own, as Restate does; what came before stays."""
    with pytest.raises(LookupError):
        with way.session(db) as state:
            state.set("a", 1)
            first = state.commit()
            assert db.version("S", "k") == first == state.version()
            assert state.commit() is None
            state.set("b", 1)
            raise LookupError
    assert db.object("S", "k").get_all() == {"a": 1}


def test_a_read_only_session_only_reads(db: kvengine.Engine, way: Way, place: Place) -> None:
    """Row: a write in a read-only session is refused at once, whatever the verb."""
    db.object("S", "k").set("a", 1)
    place(db)
    version = db.version("S", "k")
    with way.session(db, read_only=True) as state:
        assert state.get("a") == 1
        assert state.state_keys() == ["a"]
        for write in (
            lambda: state.set("a", 2),
            lambda: state.clear("a"),
            state.clear_all,
            state.complete,
        ):
            with pytest.raises(kvengine.ReadOnly, match="read-only"):
                write()
        assert state.get_all() == {"a": 1}
    assert db.version("S", "k") == version
