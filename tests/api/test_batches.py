"""Batches: write verbs in order, one atomic commit; expectations; durability by the write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import kvengine
from kvengine import Batch, ValueTooLarge
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage.batch import batch_of
from kvengine.storage.clock import ManualClock

Settle = Callable[[kvengine.Engine], kvengine.Engine]


def test_a_batch_commits_when_its_block_ends(db: kvengine.Engine, settle: Settle) -> None:
    """One stamp for everything in it, across objects and services; nothing shows before."""
    with db.batch() as batch:
        assert batch.set("s", "a", "n", b"1") is None
        batch.set("s", "b", "n", b"2")
        batch.set("t", "c", "n", b"3")
        assert db.services() == [] and batch.stamp is None and len(batch) == 3
    assert batch.stamp is not None
    db = settle(db)
    stamps = {db.version(*name) for name in (("s", "a"), ("s", "b"), ("t", "c"))}
    assert stamps == {batch.stamp}
    assert db.get_all("t", "c") == {"n": b"3"}


def test_a_batch_whose_block_raises_writes_nothing(db: kvengine.Engine) -> None:
    before = db.stats()
    batch = db.batch()
    with pytest.raises(ZeroDivisionError):
        with batch:
            batch.set("s", "a", "n", b"%d" % (1 // 0))
    after = db.stats()
    assert db.services() == [] and (after.commits, after.last_stamp) == (
        before.commits,
        before.last_stamp,
    )
    with pytest.raises(kvengine.KVEngineError, match="abandoned; make a new one"):
        db.write(batch)


def test_verbs_apply_in_order(db: kvengine.Engine, settle: Settle, clock: ManualClock) -> None:
    """Each verb acts on what those before it in the batch have made."""
    for key in "abcdef":
        db.set("s", key, "old", b"1")
    db = settle(db)
    with db.batch() as batch:
        batch.set("s", "a", "n", b"1")
        batch.clear_all("s", "a")
        batch.set("s", "a", "m", b"2")
        batch.set("s", "b", "n", b"1")
        batch.clear("s", "b", "n")
        batch.clear("s", "c", "n")
        batch.set("s", "c", "n", b"1")
        batch.set("s", "d", "n", b"1")
        batch.clear_range("s", "d", "e")
        batch.set("s", "d", "after", b"1")
        batch.expire("s", "e", ttl=5)
        batch.expire("s", "f", ttl=5)
        batch.expire("s", "f")
        batch.set("s", "f", "lasting", b"1", ttl=1)
        batch.set("s", "f", "lasting", b"2")
        batch.set("s", "new", "n", b"1", ttl=5)
        batch.expire("s", "new", ttl=3)
    for _ in range(2):
        assert db.get_all("s", "a") == {"m": b"2"}
        assert db.get_all("s", "b") == {"old": b"1"}
        assert db.get_all("s", "c") == {"n": b"1", "old": b"1"}
        assert db.get_all("s", "d") == {"after": b"1"}
        assert db.expires_at("s", "e") == 1_700_000_005.0
        assert db.expires_at("s", "f") is None
        assert db.expires_at("s", "new") == 1_700_000_003.0
        db = settle(db)
    clock.advance(3)
    assert list(db.object_keys("s")) == ["a", "b", "c", "d", "e", "f"]
    assert db.get_all("s", "f") == {"lasting": b"2", "old": b"1"}


def test_a_service_cleared_and_written_in_one_batch(db: kvengine.Engine, settle: Settle) -> None:
    """The range tombstone covers what was there, not what the batch writes behind it."""
    for key in "abc":
        db.set("s", key, "n", b"old")
        db.expire("s", key, ttl=5)
    db = settle(db)
    with db.batch() as batch:
        batch.set("s", "a", "n", b"lost")
        batch.clear_service("s")
        batch.set("s", "b", "n", b"new")
    for _ in range(2):
        assert {one.key: one.entries for one in db.scan("s")} == {"b": {"n": b"new"}}
        assert db.expires_at("s", "b") is None
        db = settle(db)


def test_an_empty_batch_writes_nothing(db: kvengine.Engine) -> None:
    """It returns the stamp of the last commit; a batch of verbs without effect does too."""
    last = db.set("s", "k", "n", b"1")
    commits = db.stats().commits
    with db.batch() as batch:
        pass
    assert batch.stamp == last
    assert db.write(kvengine.Batch()) == last
    with db.batch() as batch:
        batch.clear_range("s", "b", "a")
        batch.expire("s", "absent", ttl=1)
    assert batch.stamp == last and db.stats().commits == commits


def test_expectations_hold_or_nothing_is_written(db: kvengine.Engine, settle: Settle) -> None:
    """Versions of any objects, 0 for absent; the conflict names the object and both versions."""
    version = db.set("s", "k", "n", b"1")
    db = settle(db)

    def write(expect: dict[tuple[str, str], int]) -> int:
        batch = kvengine.Batch()
        batch.set("s", "k", "n", b"2")
        batch.set("s", "other", "n", b"2")
        return db.write(batch, expect=expect)

    for expect, expected, actual in (
        ({("s", "k"): 0}, 0, version),
        ({("s", "k"): version + 1}, version + 1, version),
        ({("s", "k"): version, ("s", "absent"): 7}, 7, 0),
    ):
        with pytest.raises(kvengine.VersionConflict, match="read it again and retry") as conflict:
            write(expect)
        assert (conflict.value.expected, conflict.value.actual) == (expected, actual)
        assert db.get_all("s", "k") == {"n": b"1"} and db.get_all("s", "other") == {}
    stamp = write({("s", "k"): version, ("s", "absent"): 0, ("s", "other"): 0})
    assert db.version("s", "k") == stamp
    assert write({}) > stamp


def test_an_expired_or_emptied_object_has_version_zero(
    db: kvengine.Engine, settle: Settle, clock: ManualClock
) -> None:
    db.set("s", "expired", "n", b"1")
    db.expire("s", "expired", ttl=1)
    db.set("s", "emptied", "n", b"1")
    db.clear("s", "emptied", "n")
    db = settle(db)
    clock.advance(2)
    batch = kvengine.Batch()
    batch.set("s", "k", "n", b"1")
    db.write(batch, expect={("s", "expired"): 0, ("s", "emptied"): 0})


@pytest.mark.parametrize(("durability", "synced"), [("sync", True), ("os", False), (None, True)])
def test_a_write_may_choose_its_durability(
    db: kvengine.Engine, fs: MemoryFileSystem, durability: str | None, synced: bool
) -> None:
    """P1 and P2: a sync commit is on the medium when it returns, an os commit need not be."""
    batch = kvengine.Batch()
    batch.set("s", "k", "n", b"1")
    fs.trace = []
    db.write(batch, durability=durability)
    assert any(call[0] == "datasync" for call in fs.trace) is synced
    fs.trace = None
    for image, there in ((fs.crash(None), synced), (fs.copy(), True)):
        with kvengine.open("/db", fs=image, background="none") as found:
            assert (found.get("s", "k", "n") is not None) is there


def test_a_batch_of_its_own_is_not_a_context(db: kvengine.Engine) -> None:
    with pytest.raises(kvengine.KVEngineError, match=r"goes to db.write\(\)"):
        with kvengine.Batch():
            pass


def test_a_batch_of_many_objects_is_one_commit(db: kvengine.Engine, settle: Settle) -> None:
    commits = db.stats().commits
    with db.batch() as batch:
        for number in range(5000):
            batch.set("s", f"{number:04}", "n", b"x")
    assert db.stats().commits == commits + 1
    db = settle(db)
    assert sum(1 for _ in db.object_keys("s")) == 5000


ASSIGNED: dict[str, dict[str, bytes | None]] = {
    "plain": {"a": b"1", "b": None},
    "empty": {},
    "a wide name": {"ä": b"1", "a": None},
    "nothing but clears": {"a": None, "c": None},
}


@pytest.mark.parametrize("entries", ASSIGNED.values(), ids=ASSIGNED)
@pytest.mark.parametrize("before", ["nothing", "an entry", "a clear", "an expiry"])
def test_entries_of_an_object_that_are_assigned_are_set_and_cleared(
    entries: dict[str, bytes | None], before: str
) -> None:
    """As the owner of a directory does with those that another process sends."""

    def begun() -> Batch:
        batch = Batch()
        if before == "an entry":
            batch.set("s", "k", "a", b"0")
        elif before == "a clear":
            batch.clear_all("s", "k")
        elif before == "an expiry":
            batch.expire("s", "k", ttl=10)
        return batch

    one, other = begun(), begun()
    one._assign("s", "k", dict(entries))
    for state_key, value in entries.items():
        if value is None:
            other.clear("s", "k", state_key)
        else:
            other.set("s", "k", state_key, value)
    assert len(one) == len(other)
    one.set("s", "k", "b", b"2")
    other.set("s", "k", "b", b"2")
    assert one.operations == other.operations


@pytest.mark.parametrize("service", ["s", "ä"])
@pytest.mark.parametrize("value", ["text", 7, bytes(11)])
def test_what_cannot_be_assigned_raises(service: str, value: Any) -> None:
    """A wrong value, one over the limit, and a batch that was written."""
    batch = batch_of(limit=10)
    wrong = ValueTooLarge if type(value) is bytes else TypeError
    with pytest.raises(wrong):
        batch._assign(service, "k", {"a": b"1", "b": value})
    batch.close()
    with pytest.raises(kvengine.KVEngineError, match="written"):
        batch._assign(service, "k", {"a": b"1"})
