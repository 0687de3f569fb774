"""A commit may change in place what the memo has, and then only where nobody else has it too."""

from __future__ import annotations

from typing import Any

import pytest

import kvengine
from kvengine import compiled
from tests.rules.place import heat

NAME = ("s", "k")
ENTRIES = {"a": b"1", "b": b"1"}

in_place = pytest.mark.skipif(
    compiled.form != "compiled", reason="plain Python cannot tell who has an object, and copies"
)


@pytest.fixture
def hot(db: kvengine.Engine) -> kvengine.Engine:
    """An object in the memo."""
    for state_key, value in ENTRIES.items():
        db.set(*NAME, state_key, value)
    heat(db, NAME)
    assert NAME in db._db.memo.known
    return db


def shared(db: kvengine.Engine) -> Any:
    """What the memo has of the object, by identity."""
    found = db._db.memo.known[NAME]
    return id(found), id(found.entries)


@in_place
def test_a_commit_changes_what_nobody_else_has(hot: kvengine.Engine) -> None:
    before = shared(hot)
    hot.set(*NAME, "a", b"22")
    assert shared(hot) == before
    assert hot.get_all(*NAME) == {"a": b"22", "b": b"1"}
    assert hot._db.memo.bytes == sum(each.size for each in hot._db.memo.known.values())
    with hot.batch() as batch:
        batch.set(*NAME, "b", b"3")
        batch.set("s", "other", "b", b"3")
    assert shared(hot) == before and hot.get(*NAME, "b") == b"3"


@in_place
@pytest.mark.parametrize("preload", [True, False])
def test_the_commit_of_a_session_does_too(hot: kvengine.Engine, preload: bool) -> None:
    before = shared(hot)
    with hot.object(*NAME, serde="bytes").session(preload=preload) as session:
        assert session.get("a") == b"1"
        session.set("a", b"2")
    assert shared(hot) == before
    assert hot.get_all(*NAME) == {"a": b"2", "b": b"1"}


def test_a_session_keeps_what_it_began_with(hot: kvengine.Engine) -> None:
    """Also when it has the same dict as the memo, and somebody else commits."""
    with hot.object(*NAME, serde="bytes").session(read_only=True) as session:
        hot.set(*NAME, "a", b"2")
        assert session.get_all() == ENTRIES
    with hot.object(*NAME, serde="bytes").session() as session:
        session.set("a", b"3")
        session.commit()
        session.set("b", b"3")
        assert (session.get("a"), session.get("b")) == (b"3", b"3")
        assert hot.get_all(*NAME) == {"a": b"3", "b": b"1"}
    assert hot.get_all(*NAME) == {"a": b"3", "b": b"3"}


@pytest.mark.parametrize("part", ["object", "entries", "items"])
def test_who_has_a_part_of_it_keeps_it_as_it_was(hot: kvengine.Engine, part: str) -> None:
    """Whoever looks at the object while another thread commits sees it before, or after."""
    known = hot._db.memo.known[NAME]
    version = known.version
    held: Any = {"object": known, "entries": known.entries, "items": known.entries.items()}[part]
    del known
    hot.set(*NAME, "a", b"2")
    entries = held.entries if part == "object" else held
    assert dict(entries) == ENTRIES
    assert part != "object" or held.version == version
    assert hot.get_all(*NAME) == {"a": b"2", "b": b"1"}


def test_entries_that_come_or_go_keep_their_order(hot: kvengine.Engine) -> None:
    hot.set(*NAME, "aa", b"2")
    hot.clear(*NAME, "a")
    assert list(hot.get_all(*NAME)) == ["aa", "b"]
    hot.set(*NAME, "a", b"2")
    assert list(hot.get_all(*NAME)) == ["a", "aa", "b"] == hot.state_keys(*NAME)


def test_a_conflict_changes_nothing(hot: kvengine.Engine) -> None:
    with (
        pytest.raises(kvengine.VersionConflict),
        hot.object(*NAME, serde="bytes").session() as session,
    ):
        session.set("a", b"2")
        hot.set(*NAME, "b", b"3")
    assert hot.get_all(*NAME) == {"a": b"1", "b": b"3"}
