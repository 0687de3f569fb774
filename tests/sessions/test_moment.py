"""What a session reads is of one moment, loaded as asked; what changed meanwhile is a conflict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import kvengine
from kvengine.storage.clock import ManualClock
from tests.sessions.reads import Reads
from tests.sessions.ways import Way


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch, db: kvengine.Engine) -> Reads:
    for name in ("a", "b", "c"):
        db.object("S", "k").set(name, name.upper())
    db.flush()
    return Reads(monkeypatch, db)


def use(state: Any) -> None:
    for _ in range(2):
        assert state.get("a") == "A"
        assert state.get("nothing") is None
        assert state.state_keys() == ["a", "b", "c"]


def test_eager_is_one_read_then_none(db: kvengine.Engine, reads: Reads) -> None:
    """preload=True loads the object once; nothing after that asks the engine."""
    with db.object("S", "k").session() as state:
        loaded = len(reads.calls)
        use(state)
        assert state.get_all() == {"a": "A", "b": "B", "c": "C"}
        state.clear("b")
        assert len(reads.calls) == loaded <= 1


def test_lazy_reads_each_key_at_most_once(db: kvengine.Engine, reads: Reads) -> None:
    """preload=False reads nothing at the beginning, then each key on its first use."""
    with db.object("S", "k").session(preload=False) as state:
        assert reads.calls == []
        use(state)
        assert reads.calls == ["get a", "get nothing", "state_keys"]
        state.set("b", 1)
        assert state.get("b") == 1
        assert reads.calls == ["get a", "get nothing", "state_keys"]


def test_some_are_read_at_the_beginning(db: kvengine.Engine, reads: Reads) -> None:
    """preload=[...] reads these keys together, the others on their first use."""
    with db.object("S", "k").session(preload=["a", "nothing"]) as state:
        assert reads.calls == ["get_many"]
        use(state)
        assert state.get("b") == "B"
        assert reads.calls == ["get_many", "state_keys", "get b"]


def test_a_limit_leaves_the_rest_lazy(db: kvengine.Engine, reads: Reads) -> None:
    """preload_limit loads the first entries in order; the others are read when they are used."""
    with db.object("S", "k").session(preload_limit=8) as state:
        assert state.get("a") == "A"
        assert [call for call in reads.calls if call.startswith("get ")] == []
        assert state.get("c") == "C"
        assert state.get("c") == "C"
        assert [call for call in reads.calls if call.startswith("get ")] == ["get c"]
    with db.object("S", "k").session(preload_limit=1000) as state:
        del reads.calls[:]
        use(state)
        assert reads.calls == []


def test_an_absent_object_needs_no_reads(db: kvengine.Engine, reads: Reads) -> None:
    """A lazy session of an object that does not exist knows so, and asks nothing."""
    with db.object("S", "new").session(preload=False) as state:
        assert state.get("a") is None
        assert state.state_keys() == []
        assert reads.calls == []
        assert db.stats().open_snapshots == 0
        state.set("a", 1)
    assert db.object("S", "new").get_all() == {"a": 1}


CHANGES: dict[str, Callable[[kvengine.Engine], object]] = {
    "set": lambda db: db.set("S", "k", "b", b'"new"'),
    "clear": lambda db: db.clear("S", "k", "b"),
    "clear_all": lambda db: db.clear_all("S", "k"),
    "clear_service": lambda db: db.clear_service("S"),
    "expire": lambda db: db.expire("S", "k", ttl=100),
    "flush and set": lambda db: (db.flush(), db.set("S", "k", "b", b'"new"')),
    "clear and set": lambda db: (db.clear_all("S", "k"), db.set("S", "k", "a", b"1")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_from_outside(db: kvengine.Engine, way: Way, change: str) -> None:
    """The session sees the moment it began with, to its end; its commit is a VersionConflict.

    Nothing of it is written, and the next session has the object.
    """
    for name in "abc":
        db.object("S", "k").set(name, name)
    with pytest.raises(kvengine.VersionConflict) as raised:
        with way.session(db) as state:
            assert state.get("a") == "a"
            CHANGES[change](db)
            after = db.get_all("S", "k")
            assert state.get("b") == "b"
            assert state.state_keys() == ["a", "b", "c"]
            assert state.get_all() == {"a": "a", "b": "b", "c": "c"}
            state.set("c", "mine")
    assert (raised.value.service, raised.value.key) == ("S", "k")
    assert db.get_all("S", "k") == after
    with way.session(db) as state:
        state.set("c", "again")
    assert db.object("S", "k").get("c") == "again"


@pytest.mark.parametrize("change", CHANGES)
def test_a_session_that_only_read_has_no_conflict(
    db: kvengine.Engine, way: Way, change: str
) -> None:
    """Whoever writes nothing is not bothered by what others wrote."""
    for name in "abc":
        db.object("S", "k").set(name, name)
    with way.session(db) as state:
        CHANGES[change](db)
        after = db.version("S", "k")
        assert state.get_all() == {"a": "a", "b": "b", "c": "c"}
    assert db.version("S", "k") == after


def test_an_object_that_appears_meanwhile(db: kvengine.Engine, way: Way) -> None:
    """A session of an absent object conflicts with whoever made it meanwhile."""
    with pytest.raises(kvengine.VersionConflict):
        with way.session(db) as state:
            db.object("S", "k").set("a", "theirs")
            assert state.get("a") is None
            state.set("a", "mine")
    assert db.object("S", "k").get_all() == {"a": "theirs"}


def test_expiry_in_a_session(db: kvengine.Engine, clock: ManualClock, way: Way) -> None:
    """An object that expires while a session has it stays readable in it; the commit conflicts."""
    db.object("S", "k").set("a", 1)
    db.object("S", "k").set("b", 2)
    db.expire("S", "k", ttl=10)
    with pytest.raises(kvengine.VersionConflict):
        with way.session(db) as state:
            assert state.expires_at() == pytest.approx(clock.wall() / 1e6 + 10)
            clock.advance(11)
            assert state.get("a") == 1
            assert state.get("b") == 2
            state.set("b", 3)
    assert db.version("S", "k") == 0
    with way.session(db) as state:
        assert state.get_all() == {}
        state.set("b", 3)
    assert db.expires_at("S", "k") is None


def test_entries_that_expire_in_a_session(
    db: kvengine.Engine, clock: ManualClock, way: Way
) -> None:
    """An entry's own ttl that runs out meanwhile changes no version: the commit goes through."""
    obj = db.object("S", "k")
    obj.set("a", 1)
    obj.set("token", "t", ttl=10)
    with way.session(db) as state:
        clock.advance(11)
        assert state.get("token") == "t"
        state.set("a", 2)
    assert obj.get_all() == {"a": 2}


def test_ttl_counts_from_the_commit(db: kvengine.Engine, clock: ManualClock, way: Way) -> None:
    """An entry set with a ttl is there for that long after the commit, not after the set."""
    with way.session(db) as state:
        state.set("a", 1)
        state.set("token", "t", ttl=10)
        clock.advance(8)
        assert state.get("token") == "t"
    clock.advance(8)
    assert db.object("S", "k").get("token") == "t"
    clock.advance(3)
    assert db.object("S", "k").get_all() == {"a": 1}


def test_version_and_expiry_of_a_session(db: kvengine.Engine, way: Way) -> None:
    """version is that of the moment, then that of the session's own commits; 0 when it is empty."""
    with way.session(db) as state:
        assert (state.version(), state.expires_at()) == (0, None)
        state.set("a", 1)
        assert state.version() == 0
        first = state.commit()
        assert first == state.version() == db.version("S", "k")
    db.expire("S", "k", ttl=100)
    with way.session(db) as state:
        assert state.version() > first
        assert state.expires_at() == db.expires_at("S", "k")
        state.clear_all()
        assert state.expires_at() is None
        state.commit()
        assert state.version() == db.version("S", "k") == 0
        state.set("b", 1)
    assert db.object("S", "k").get_all() == {"b": 1}
    assert db.expires_at("S", "k") is None


def test_clearing_one_by_one_then_going_on(db: kvengine.Engine, way: Way) -> None:
    """After a commit that left no entry the object is absent, and the session goes on with that."""
    db.object("S", "k").set("a", 1)
    with way.session(db) as state:
        state.clear("a")
        state.commit()
        assert state.version() == db.version("S", "k") == 0
        state.set("b", 1)
    assert db.object("S", "k").get_all() == {"b": 1}


@pytest.mark.parametrize("undone", ["clear", "clear_all"])
def test_nothing_in_the_end_is_no_commit(db: kvengine.Engine, undone: str) -> None:
    """Set and cleared again, or cleared where there was nothing: no commit, no new version."""
    with db.object("S", "k").session() as state:
        state.set("a", 1)
        state.clear("a") if undone == "clear" else state.clear_all()
        state.clear("b")
    before = db.object("S", "k").set("x", 1)
    with db.object("S", "k").session() as state:
        state.set("a", 1)
        state.clear("a")
        state.clear("nothing")
    assert db.version("S", "k") == before


def test_clear_set_clear(db: kvengine.Engine, way: Way) -> None:
    """An entry that was there, cleared, set and cleared again in one session, is gone."""
    db.object("S", "k").set("a", 1)
    db.object("S", "k").set("b", 1)
    with way.session(db) as state:
        state.clear("a")
        state.set("a", 2)
        state.clear("a")
        assert state.state_keys() == ["b"]
    assert db.object("S", "k").get_all() == {"b": 1}


@pytest.mark.plain
def test_a_lazy_session_reads_little_of_a_large_object(
    db: kvengine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lazy session of 10,000 entries reads the few chunks that it needs, commit included."""
    from kvengine.storage.segment.reader import SegmentReader

    with db.batch() as batch:
        for number in range(10_000):
            batch.set("S", "k", f"n{number:05}", b'"%d"' % number)
    db.flush()
    chunks = 0
    original = SegmentReader.chunk

    def counted(self: SegmentReader, chunk: Any) -> Any:
        nonlocal chunks
        chunks += 1
        return original(self, chunk)

    monkeypatch.setattr(SegmentReader, "chunk", counted)
    with db.object("S", "k").session(preload=False) as state:
        assert state.get("n05000") == "5000"
        state.set("n07000", "new")
    assert db.object("S", "k").get("n07000") == "new"
    assert chunks < 20, "of some hundreds"
