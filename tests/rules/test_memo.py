"""The memo answers for every layer, so nothing in it may be older than they are."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

import kvengine
from kvengine.fs import MemoryFileSystem
from kvengine.storage.clock import ManualClock
from kvengine.storage.memtable import TOMBSTONES, Memtable
from kvengine.storage.names import END
from tests.rules.place import Sly, heat, opened

NAME = ("s", "k")


def commit(db: kvengine.Engine) -> None:
    db.set(*NAME, "n", b"2")


def range_clear(db: kvengine.Engine) -> None:
    db.clear_service("s")


def commit_and_flush(db: kvengine.Engine) -> None:
    commit(db)
    db.flush()


def rotation_and_commit(db: kvengine.Engine) -> None:
    db._maintenance.rotate_step(force=True)
    commit(db)


def commits_and_flushes(db: kvengine.Engine) -> None:
    commit_and_flush(db)
    db.clear_all(*NAME)
    db.flush()


OVERTAKING: list[Callable[[kvengine.Engine], None]] = [
    commit,
    range_clear,
    commit_and_flush,
    rotation_and_commit,
    commits_and_flushes,
]


@pytest.mark.plain
@pytest.mark.parametrize("overtake", OVERTAKING, ids=lambda each: each.__name__)
@pytest.mark.parametrize("flushed", [False, True])
@pytest.mark.parametrize("moment", ["before it reads the layers", "after it read the memtable"])
def test_a_reader_that_was_overtaken_puts_nothing(
    db: kvengine.Engine, overtake: Callable[[kvengine.Engine], None], flushed: bool, moment: str
) -> None:
    """A reader works an object out, slowly. Before it puts it into the memo somebody commits;
    then the memtable is rotated and flushed, so that the state it read stands nowhere any more.
    What it puts would be stale for every later reader, for good.
    """
    db.set(*NAME, "n", b"1")
    if flushed:
        db.flush()
        db.set("s", "other", "n", b"1")
    for _ in range(3):
        db.get_all(*NAME)
    db._db.memo.clear()
    states = db._db.view.active.states = Sly(db._db.view.active.states)
    states.meanwhile = lambda: overtake(db)
    if moment == "before it reads the layers":
        states.asked = NAME
    else:  # noted by the reader, then asked twice around the look-up in the memtable
        states.asked, states.times = TOMBSTONES, 3
    db.get_all(*NAME)
    assert states.meanwhile is None, "nobody overtook the reader"
    wanted = {"n": b"2"} if overtake in (commit, commit_and_flush, rotation_and_commit) else {}
    assert db.get_all(*NAME) == wanted
    assert db.get(*NAME, "n") == wanted.get("n")


@pytest.mark.plain
def test_a_reader_beside_the_owner_is_overtaken_by_a_refresh(
    fs: MemoryFileSystem, clock: ManualClock
) -> None:
    """A reader beside the owner follows it in one thread and reads in others. What a refresh
    publishes overtakes a read that has begun, as a commit does in the owner.
    """
    with opened(fs, clock) as owner:
        owner.set(*NAME, "n", b"1")
        with opened(fs, clock, read_only=True) as reader:
            for _ in range(3):
                reader.get_all(*NAME)
            reader._db.memo.clear()
            table = reader._db.view.frozen[0]
            states = table.states = Sly(table.states)

            def follow() -> None:
                owner.set(*NAME, "n", b"2")
                assert reader.refresh()

            states.asked, states.meanwhile = NAME, follow
            reader.get_all(*NAME)
            assert states.meanwhile is None
            assert reader.get_all(*NAME) == {"n": b"2"}


@pytest.mark.parametrize("expiry", ["of the object", "of all entries"])
def test_what_a_compaction_dropped_does_not_come_back_from_the_memo(
    db: kvengine.Engine, clock: ManualClock, expiry: str
) -> None:
    """An object expires while the memo keeps it, and a compaction drops it from the disk. Now no
    layer states an expiry, so a write looks nothing up and does not begin with a clear: it relies
    on there being nothing left. The memo must not lay it over what it still knows.
    """
    db.set(*NAME, "old", b"1", ttl=None if expiry == "of the object" else 5)
    if expiry == "of the object":
        db.expire(*NAME, ttl=5)
    db.flush()
    heat(db, NAME)
    clock.advance(6)
    db.compact()
    assert not db.segments()
    for write in range(3):
        db.set(*NAME, "new", b"%d" % write)
        assert db.get_all(*NAME) == {"new": b"%d" % write}
        assert db.get(*NAME, "old") is None
        assert db.expires_at(*NAME) is None


def test_an_entry_that_expired_takes_its_object_out_of_the_memo(
    db: kvengine.Engine, clock: ManualClock
) -> None:
    """One entry of several expired, and a compaction made it a tombstone. The next commit finds
    the object in the memo, and does not build on it: it is read from the layers once more.
    """
    db.set(*NAME, "stays", b"1")
    db.set(*NAME, "goes", b"1", ttl=5)
    heat(db, NAME)
    db.set(*NAME, "more", b"1")
    assert NAME in db._db.memo.known, "what has not expired is kept up to date"
    clock.advance(6)
    assert db.get_all(*NAME) == {"more": b"1", "stays": b"1"}
    db.set(*NAME, "more", b"2")
    assert NAME not in db._db.memo.known
    assert db.get_all(*NAME) == {"more": b"2", "stays": b"1"}


def test_a_commit_keeps_the_expiries_of_other_entries(
    db: kvengine.Engine, clock: ManualClock
) -> None:
    """The memo takes a commit to one entry in, and does not forget when the others end."""
    db.set(*NAME, "a", b"1", ttl=5)
    db.set(*NAME, "b", b"1", ttl=50)
    heat(db, NAME)
    db.set(*NAME, "c", b"1")
    assert NAME in db._db.memo.known
    db.set(*NAME, "b", b"2")
    clock.advance(6)
    assert db.get_all(*NAME) == {"b": b"2", "c": b"1"}
    clock.advance(60)
    assert db.get_all(*NAME) == {"b": b"2", "c": b"1"}


@pytest.mark.plain
def test_a_batch_over_objects_in_the_memo_appears_at_once(db: kvengine.Engine) -> None:
    """Of three objects two are in the memo. At no line of a publication does a reader in another
    thread see the old value of one beside the new value of another: what a commit touches leaves
    the memo before the memtable shows it, and comes back after.
    """
    names = (("a", "1"), ("a", "2"), ("b", "1"))
    seen: list[list[bytes | None]] = []
    for name in names:
        db.set(*name, "n", b"0")
    heat(db, *names[1:])

    def look(frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_name in ("_publish", "publish", "change", "replace", "put", "take"):
            seen.append([db.get(*name, "n") for name in names])
            return look
        return None

    for count in range(1, 7):
        batch = kvengine.Batch()
        if count == 3:
            batch.clear_service("a")
        for name in names:
            batch.set(*name, "n", b"%d" % count, ttl=50 if count == 4 else None)
        sys.settrace(look)
        try:
            db.write(batch)
        finally:
            sys.settrace(None)
        heat(db, *names[1:])
        db._db.memo.take(names[0])
    assert len(seen) > 60
    for values in seen:
        assert len(set(values)) == 1, f"a reader saw {values}"


def test_objects_that_grow_in_the_memo_stay_within_its_budget(
    fs: MemoryFileSystem, clock: ManualClock
) -> None:
    """Objects are small when they are let in, and grow by the commits that they are kept up to
    date with. The memo counts what it holds then too, and lets others go.
    """
    with opened(fs, clock, cache_size=400_000) as db:
        memo = db._db.memo
        names = [("s", f"{n:02}") for n in range(20)]
        for name in names:
            db.set(*name, "n", b"small")
        heat(db, *names)
        for name in names:
            db.set(*name, "n", bytes(11_000))
        assert memo.bytes <= memo.capacity == 100_000
        held = sum(len(value) for one in memo.known.values() for value in one.entries.values())
        assert 0 < held <= memo.bytes
        db.set(*names[-1], "n", bytes(50_000))
        assert names[-1] not in memo.known, "an object of half the memo is none for it"
        db.clear_range("s", "", None)
        assert memo.bytes == 0 == len(memo)


def test_the_memo_forgets_with_a_compaction_of_everything(
    db: kvengine.Engine, clock: ManualClock
) -> None:
    """Flush and compaction change no read: what the memo knows stays true through both."""
    db.set(*NAME, "n", b"1")
    heat(db, NAME)
    db.flush()
    db._maintenance.compact_all(db._scheduler._execute, b"", END)
    assert NAME in db._db.memo.known
    assert db.get_all(*NAME) == {"n": b"1"}
    db.clear_all(*NAME)
    assert db.get_all(*NAME) == {}


@pytest.mark.plain
def test_a_reader_that_begins_within_a_refresh_puts_nothing(
    fs: MemoryFileSystem, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refresh has emptied the memo and is about to publish. A reader begins just then, reads what
    was before, and is held up until the refresh is over and the commit lock is free again. No view
    has changed and the memo was not emptied since, so it put what had been overtaken, for good.
    """
    with opened(fs, clock) as owner:
        owner.set(*NAME, "n", b"1")
        with opened(fs, clock, read_only=True) as reader:
            for _ in range(3):
                reader.get_all(*NAME)
            reader._db.memo.clear()
            table = reader._db.view.frozen[0]
            states = table.states = Sly(table.states)
            has_read, is_over = threading.Event(), threading.Event()

            def wait() -> None:
                has_read.set()
                assert is_over.wait(10)

            late = threading.Thread(target=reader.get_all, args=NAME)
            publish = Memtable.publish

            def publish_late(self: Memtable, *args: Any) -> None:
                if self is table:
                    states.asked, states.meanwhile = NAME, wait
                    late.start()
                    assert has_read.wait(10)
                publish(self, *args)

            monkeypatch.setattr(Memtable, "publish", publish_late)
            owner.set(*NAME, "n", b"2")
            assert reader.refresh()
            is_over.set()
            late.join()
            assert reader.get_all(*NAME) == {"n": b"2"}


def test_an_object_that_was_read_before_it_came_is_kept_once_it_is_there(
    db: kvengine.Engine,
) -> None:
    """A caller looks for an object again and again until somebody writes it. Those reads found
    nothing to keep, and the memo took that for a reason to refuse it: thousands of reads later it
    was still worked out from the layers each time.
    """
    for _ in range(10):
        assert db.get_all(*NAME) == {}
        assert db.get(*NAME, "n") is None
    db.set(*NAME, "n", b"1")
    heat(db, NAME)


def test_lazy_sessions_let_their_object_in(fs: MemoryFileSystem, clock: ManualClock) -> None:
    """A lazy session reads a snapshot, which the memo does not count. An object that only lazy
    sessions use never came in, and each of them went through all layers.
    """
    with opened(fs, clock) as db:
        db.set(*NAME, "n", b"1")
        handle = db.object(*NAME, serde="bytes")
        for _ in range(2):
            assert NAME not in db._db.memo.known
            with handle.session(preload=False) as state:
                assert state.get("n") == b"1"
        assert NAME in db._db.memo.known
