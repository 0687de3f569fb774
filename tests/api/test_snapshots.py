"""Snapshots: read verbs as of one moment, at no cost to writers; files live as long as needed."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable

import pytest

import kvengine
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage.clock import ManualClock

Settle = Callable[[kvengine.Engine], kvengine.Engine]


def segments(fs: MemoryFileSystem) -> list[str]:
    return [path for path in fs.paths() if path.endswith(".segment")]


def test_a_snapshot_sees_its_moment_alone(db: kvengine.Engine, settle: Settle) -> None:
    """In every read verb, whatever is written, flushed, compacted and cleared afterwards."""
    for number in range(4):
        db.set("s", f"k{number}", "n", b"before")
    db = settle(db)
    version = db.version("s", "k1")
    stamp = db.set("s", "k0", "m", b"before")
    with db.snapshot() as snapshot:
        assert snapshot.stamp == stamp
        db.set("s", "k1", "n", b"after")
        db.set("s", "k1", "m", b"after")
        db.clear_all("s", "k2")
        db.set("s", "new", "n", b"after")
        db.expire("s", "k1", ttl=1000)
        for change in (lambda: None, db.flush, lambda: db.clear_service("s"), db.compact):
            change()
            assert snapshot.get("s", "k1", "n") == b"before"
            assert snapshot.get("s", "k1", "m") is None
            assert snapshot.get_many("s", "k1", ["m", "n"]) == {"n": b"before"}
            assert snapshot.get_all("s", "k0") == {"m": b"before", "n": b"before"}
            assert snapshot.state_keys("s", "k0") == ["m", "n"]
            assert snapshot.version("s", "k1") == version
            assert snapshot.expires_at("s", "k1") is None
            assert snapshot.get_all("s", "new") == {}
            assert snapshot.services() == ["s"]
            assert list(snapshot.object_keys("s", reverse=True)) == ["k3", "k2", "k1", "k0"]
            assert [one.key for one in snapshot.scan()] == ["k0", "k1", "k2", "k3"]
            loaded = snapshot.load("s", "k1")
            assert loaded is not None and loaded.entries == {"n": b"before"}
        assert db.services() == []


def test_a_snapshot_fixes_now(db: kvengine.Engine, settle: Settle, clock: ManualClock) -> None:
    """P9: what was live when it was taken stays live in it, dropped from disk or not."""
    db.set("s", "k", "n", b"1", ttl=10)
    db.set("s", "k2", "n", b"1")
    db.expire("s", "k2", ttl=10)
    db = settle(db)
    clock.advance(9)
    with db.snapshot() as snapshot:
        clock.advance(1000)
        assert db.get("s", "k", "n") is None and db.services() == []
        for _ in range(2):
            assert snapshot.get("s", "k", "n") == b"1"
            assert list(snapshot.object_keys("s")) == ["k", "k2"]
            db.compact()
    assert db.get("s", "k", "n") is None


def test_ten_thousand_open_snapshots_cost_commits_nothing(db: kvengine.Engine) -> None:
    """A commit does the same work beside 10,000 snapshots as beside one, counted by calls.

    And keeps what they can see, no more: one state for each, not one for each commit.
    """
    alone = commit_calls(db, 200)
    with db.snapshot():
        beside_one = commit_calls(db, 200)
    snapshots = []
    for number in range(10_000):
        snapshots.append(db.snapshot())
        if number % 100 == 0:
            db.set("s", "k", "n", b"%d" % number)
    beside_many = commit_calls(db, 200)
    assert db.stats().open_snapshots == 10_000
    # The clock asks for more now and then, which is four calls in the 20,000 of 200 commits.
    assert beside_many <= beside_one * 1.01 and beside_one <= alone * 1.05
    assert snapshots[250].get("s", "k", "n") == b"200"
    state, length = db._db.view.active.states["s", "k"], 0
    while state is not None:
        state, length = state.prev, length + 1
    assert length <= 103
    for snapshot in snapshots:
        snapshot.close()
    assert db.stats().open_snapshots == 0


def commit_calls(db: kvengine.Engine, commits: int) -> int:
    """Function calls that so many commits make, C functions included."""
    import sys

    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        for _ in range(commits):
            db.set("s", "k", "n", b"x")
    finally:
        sys.setprofile(None)
    return calls


def test_files_live_until_the_last_snapshot_that_names_them_closes(
    db: kvengine.Engine, fs: MemoryFileSystem
) -> None:
    """Of two snapshots on the same files the first to close takes nothing away."""
    for number in range(50):
        db.set("s", f"{number}", "n", b"x" * 50)
    db.flush()
    old = set(segments(fs))
    first, second = db.snapshot(), db.snapshot()
    db.clear_service("s")
    db.compact()
    assert set(segments(fs)) >= old
    first.close()
    assert set(segments(fs)) >= old
    assert len(list(second.scan())) == 50
    second.close()
    assert not set(segments(fs)) & old
    assert db.verify() == []


def test_a_walk_keeps_its_files_too(db: kvengine.Engine, fs: MemoryFileSystem) -> None:
    for number in range(50):
        db.set("s", f"{number}", "n", b"x" * 50)
    db.flush()
    old = set(segments(fs))
    walk = db.scan()
    next(walk)
    db.clear_service("s")
    db.compact()
    assert set(segments(fs)) >= old
    assert len(list(walk)) == 49
    db.set("s", "k", "n", b"")
    db.compact()
    assert not set(segments(fs)) & old


def test_a_forgotten_snapshot_warns_and_leaks_nothing(
    db: kvengine.Engine, fs: MemoryFileSystem
) -> None:
    """ResourceWarning when it is collected; its files go with the next change of files."""
    db.set("s", "k", "n", b"1")
    db.flush()
    old = set(segments(fs))
    snapshot = db.snapshot()
    db.clear_service("s")
    db.compact()
    with pytest.warns(ResourceWarning, match="unclosed <kvengine"):  # noqa: PT031 - either may warn
        del snapshot
        gc.collect()
    db.set("s", "k", "n", b"2")
    db.compact()
    assert not set(segments(fs)) & old
    assert db.stats().open_snapshots == 0


def test_a_closed_snapshot_warns_of_nothing(db: kvengine.Engine) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with db.snapshot() as snapshot:
            pass
        snapshot.close()
        del snapshot
        gc.collect()


def test_a_snapshot_ends_with_its_store(db: kvengine.Engine) -> None:
    db.set("s", "k", "n", b"1")
    snapshot = db.snapshot()
    walk = db.scan()
    db.close()
    with pytest.raises(kvengine.DatabaseClosed, match="/db is closed"):
        snapshot.get("s", "k", "n")
    with pytest.raises(kvengine.DatabaseClosed, match="/db is closed"):
        next(walk)
    snapshot.close()


def test_a_snapshot_has_no_write_verbs(db: kvengine.Engine) -> None:
    with db.snapshot() as snapshot:
        for verb in ("set", "clear", "clear_all", "expire", "write", "batch", "flush"):
            assert not hasattr(snapshot, verb)
