"""Expiry: an extension counts from its append, and only objects that may expire pay for it."""

from __future__ import annotations

import pytest

import kvengine
from kvengine.storage import read
from kvengine.storage.clock import ManualClock
from kvengine.storage.names import END
from tests.rules.place import pending

NAME = ("s", "k")


@pytest.mark.parametrize("ttl", [None, 100.0])
@pytest.mark.parametrize("below", ["level 1", "level 0"])
def test_an_extension_counts_from_its_append(
    db: kvengine.Engine, clock: ManualClock, ttl: float | None, below: str
) -> None:
    """An object lives for ten seconds more when somebody lengthens that. The commit is appended,
    and waits for its sync. Ten seconds later a compaction begins: to every read the object has
    expired, and its row lies there to be dropped. But the commit that relies on it is on its way.
    """
    db.set(*NAME, "n", b"v")
    db.expire(*NAME, ttl=10)
    db.flush()
    if below == "level 1":
        db.compact()
    db.set("s", "other", "n", b"v")
    with pending(db, lambda batch: batch.expire(*NAME, ttl=ttl)):
        clock.advance(11)
        db._maintenance.compact_all(db._scheduler._execute, b"", END)
        assert db.get_all(*NAME) == {}, "nothing shows before it is published"
    assert db.get_all(*NAME) == {"n": b"v"}
    db.flush()
    db.compact()
    assert db.get(*NAME, "n") == b"v"
    clock.advance(200)
    assert db.get(*NAME, "n") == (b"v" if ttl is None else None)


def test_an_extension_counts_for_a_flush_that_runs_beside_it(
    db: kvengine.Engine, clock: ManualClock
) -> None:
    """The same for a memtable that is frozen, and flushed after the object's first time is over."""
    db.set(*NAME, "n", b"v")
    db.expire(*NAME, ttl=10)
    assert db._maintenance.rotate_step(force=True)
    db._committer._maintain = lambda: None  # the flush comes when it is called, and not before
    with pending(db, lambda batch: batch.expire(*NAME, ttl=100)):
        clock.advance(11)
        assert db._maintenance.flush_step(db._scheduler._execute)
    assert db.get_all(*NAME) == {"n": b"v"}


def test_an_extension_that_was_flushed_is_still_asked_for(
    db: kvengine.Engine, clock: ManualClock
) -> None:
    """The extension has reached a segment of its own, above the one that is rewritten because
    more than half of it has expired.
    """
    db.set(*NAME, "n", b"v" * 1000)
    db.expire(*NAME, ttl=10)
    db.set("s", "other", "n", b"v")
    db.flush()
    db.compact()
    db.expire(*NAME, ttl=100)
    db.flush()
    clock.advance(11)
    assert db._maintenance.compact_step(db._scheduler._execute)
    assert sum(segment.meta.level for segment in db._db.view.version) == 1
    assert db.get(*NAME, "n") == b"v" * 1000


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The objects that `read.collect` was asked for."""
    asked: list[tuple[str, str]] = []
    collect = read.collect

    def counted(view: object, name: tuple[str, str], *rest: object, **others: object) -> object:
        asked.append(name)
        return collect(view, name, *rest, **others)  # type: ignore[arg-type]

    monkeypatch.setattr(read, "collect", counted)
    return asked


@pytest.mark.parametrize("settle", ["memtable", "frozen", "segment"])
def test_the_ttl_of_an_entry_makes_no_commit_look_anything_up(
    db: kvengine.Engine, looked_up: list[tuple[str, str]], settle: str
) -> None:
    """A commit looks up what an object's expiry is, if one may be stated somewhere. The ttl of an
    entry is no such thing: it is the entry's own, and a write to another needs to know nothing.
    One entry with a ttl must not make every commit that follows pay for a read.
    """
    db.set(*NAME, "short", b"v", ttl=50)
    if settle == "frozen":
        db._maintenance.rotate_step(force=True)
    elif settle == "segment":
        db.flush()
    for n in range(30):
        db.set(*NAME, f"{n}", b"v")
        db.set("s", f"{n}", "n", b"v")
        db.set("s", f"{n}", "short", b"v", ttl=50)
        db.clear("s", f"{n}", "n")
    assert looked_up == []


@pytest.mark.parametrize("settle", ["memtable", "frozen", "segment"])
def test_only_objects_that_may_expire_are_looked_up(
    db: kvengine.Engine, clock: ManualClock, looked_up: list[tuple[str, str]], settle: str
) -> None:
    """One object with an expiry makes commits to itself look it up, and no others (but for one in
    a hundred, which the filter takes for it). Without its look-up it would lose its expiry.
    """
    db.set(*NAME, "n", b"v")
    db.expire(*NAME, ttl=50)
    if settle == "frozen":
        db._maintenance.rotate_step(force=True)
    elif settle == "segment":
        db.flush()
    looked_up.clear()
    for n in range(100):
        db.set("s", f"{n}", "n", b"v")
    assert len(looked_up) < 15
    looked_up.clear()
    db.set(*NAME, "m", b"v")
    assert looked_up == [NAME]
    clock.advance(51)
    assert db.get_all(*NAME) == {}
    db.set(*NAME, "new", b"v")
    assert db.get_all(*NAME) == {"new": b"v"}
