"""Sessions of objects in use, with durability "os": the usual case, by its shortest way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

import kvengine
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage.clock import ManualClock


@pytest.fixture
def db(clock: ManualClock) -> Iterator[kvengine.Engine]:
    options = {"background": "none", "durability": "os", "max_value_size": 100}
    with kvengine.open("/db", fs=MemoryFileSystem(), clock=clock, **options) as found:
        found.object("S", "k").set("a", 1)
        assert found.load("S", "k") is not None
        yield found


def test_a_change_from_outside_is_a_conflict(db: kvengine.Engine) -> None:
    """Another commit between load and commit: VersionConflict, and only the other one is there."""
    with pytest.raises(kvengine.VersionConflict):
        with db.object("S", "k").session() as state:
            state.set("a", 2)
            db.object("S", "k").set("a", 3)
    assert db.object("S", "k").get_all() == {"a": 3}
    with db.object("S", "k").session(timeout=0) as state:
        state.set("a", 4)
    assert db.object("S", "k").get("a") == 4


def test_a_deletion_from_outside_is_a_conflict(db: kvengine.Engine) -> None:
    with pytest.raises(kvengine.VersionConflict):
        with db.object("S", "k").session() as state:
            state.set("a", 2)
            db.clear_all("S", "k")
    assert db.object("S", "k").get_all() == {}


def test_the_expiry_is_seen_and_kept(db: kvengine.Engine, clock: ManualClock) -> None:
    obj = db.object("S", "k")
    assert obj.expire(ttl=50)
    ends = obj.expires_at()
    with obj.session() as state:
        assert state.expires_at() == ends is not None
        state.set("a", 2)
    assert obj.expires_at() == ends
    clock.advance(60)
    with obj.session() as state:
        assert state.get("a") is None
        assert state.version() == 0


def test_a_completed_workflow_keeps_its_time(db: kvengine.Engine, clock: ManualClock) -> None:
    """`complete` in a second session does not begin the retention again."""
    flow = db.workflow("W", "w", retention=timedelta(seconds=50))
    flow.set("a", 1)
    assert flow.complete()
    ends = flow.expires_at()
    assert flow.get_all() == {"a": 1}
    clock.advance(10)
    with flow.session() as state:
        state.set("a", 2)
        state.complete()
    assert flow.expires_at() == ends


def test_an_expiry_goes_with_the_sets(db: kvengine.Engine) -> None:
    with db.object("S", "k").session() as state:
        state.set("a", 2)
        state.expire(ttl=50)
    assert db.object("S", "k").expires_at() is not None


def test_a_set_without_ttl_ends_the_ttl_before_it(db: kvengine.Engine, clock: ManualClock) -> None:
    with db.object("S", "k").session() as state:
        state.set("a", 2, ttl=5)
        state.set("a", 3)
        state.set("b", 3, ttl=5)
    clock.advance(10)
    assert db.object("S", "k").get_all() == {"a": 3}


@pytest.mark.parametrize("serde", ["json", "bytes"])
def test_a_value_over_the_limit_is_refused_when_it_is_set(db: kvengine.Engine, serde: str) -> None:
    """ValueTooLarge at once, and what else the session set is committed."""
    obj = db.object("S", "k", serde=serde)  # type: ignore[arg-type]
    good, bad = (b"1", b"x" * 101) if serde == "bytes" else ("1", "x" * 101)
    with obj.session() as state:
        state.set("b", good)
        with pytest.raises(kvengine.ValueTooLarge):
            state.set("a", bad)
        state.set("c", good)
    assert obj.get("b") == good and obj.get("c") == good
    assert db.get("S", "k", "a") == b"1"


def test_what_was_cleared_reads_as_absent(db: kvengine.Engine) -> None:
    with db.object("S", "k").session() as state:
        state.clear("a")
        assert state.get("a") is None
        assert state.get("a", "nothing") == "nothing"
        assert "a" not in state
    assert db.object("S", "k").get_all() == {}


def test_all_threads_get_their_turn(db: kvengine.Engine) -> None:
    """Eight threads increment one object, each in sessions of its own: none is lost."""
    obj = db.object("S", "k")

    def work() -> None:
        for _ in range(300):
            with obj.session() as state:
                state.set("a", state.get("a") + 1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert obj.get("a") == 2401
    assert len(obj._host.turns) == 0


def test_sub_classes_of_what_is_usual_go_the_long_way(db: kvengine.Engine) -> None:
    """Names and values that only look plain: as documented, whoever runs them."""

    class Name(str):
        __slots__ = ()

    class Number(int):
        pass

    obj = db.object(Name("S"), Name("k"))
    assert obj == db.object("S", "k")
    with obj.session() as state:
        state.set(Name("n"), 7)
        with pytest.raises(kvengine.SerdeError):
            state.set("n", Number(8))
        state.set("nan", [1.5])
        with pytest.raises(kvengine.SerdeError):
            state.set("nan", float("nan"))
        with pytest.raises(kvengine.SerdeError):
            state.set("b", b"1")
        state.set("\u00e9", True)
        assert state.get(Name("n")) == 7
        assert state.get("\u00e9") is True
    assert obj.get_all() == {"a": 1, "n": 7, "nan": [1.5], "\u00e9": True}
