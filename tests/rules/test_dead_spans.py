"""Dead spans: what a walk found dead, the next one does not enter. It must be dead indeed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

import kvengine
from kvengine.fs import MemoryFileSystem
from kvengine.storage.clock import ManualClock
from kvengine.storage.commit import Committer
from kvengine.storage.wal.file import WalWriter
from kvengine.storage.walk import Span
from tests.rules.place import opened, pending

KEYS = [f"{n:03}" for n in range(100)]


Settle = Callable[[kvengine.Engine], None]


def leave(db: kvengine.Engine) -> None:
    """Leave all in the memtable."""


def fill(
    db: kvengine.Engine,
    settle: Settle = leave,
    *,
    ttl: float | None = None,
    live: tuple[str, ...] = (),
) -> None:
    """Write a hundred objects, all dead but for ``live``: cleared, or about to expire.

    ``settle`` comes twice: a flush keeps what clears an object only where something older lies.
    """
    for key in KEYS:
        db.set("s", key, "n", b"1")
    settle(db)
    for key in KEYS:
        if key in live:
            continue
        if ttl is None:
            db.clear_all("s", key)
        else:
            db.expire("s", key, ttl=ttl)
    settle(db)


def walk(db: kvengine.Engine | kvengine.Snapshot, *, reverse: bool = False) -> list[str]:
    return list(db.object_keys("s", reverse=reverse))


def spans(db: kvengine.Engine) -> list[Span]:
    return db._db.spans._spans


def check_both_ways(db: kvengine.Engine | kvengine.Snapshot, wanted: list[str]) -> None:
    """Walk twice in each direction: the second time over the spans that the first has left."""
    for _ in range(2):
        assert walk(db) == wanted
        assert walk(db, reverse=True) == wanted[::-1]


@pytest.fixture(params=[False, True], ids=["forward", "reverse"])
def reverse(request: pytest.FixtureRequest) -> bool:
    found: bool = request.param
    return found


@pytest.fixture(params=[False, True], ids=["in memory", "flushed"])
def settle(request: pytest.FixtureRequest) -> Settle:
    return kvengine.Engine.flush if request.param else leave


@pytest.mark.parametrize("key", ["000", "001", "050", "098", "099"])
def test_a_commit_splits_the_span_that_it_falls_into(
    db: kvengine.Engine, settle: Settle, reverse: bool, key: str
) -> None:
    """A queue was worked off, a walk has remembered the dead, and one object comes to life again
    among them: the first, the last or one in the midst. Walks list it, and pass over the rest.
    """
    fill(db, settle)
    assert walk(db, reverse=reverse) == []
    assert len(spans(db)) == 1
    db.set("s", key, "n", b"2")
    assert spans(db)
    check_both_ways(db, [key])
    assert [found.key for found in db.scan("s")] == [key]
    db.clear_all("s", key)
    check_both_ways(db, [])


@pytest.mark.parametrize("key", ["010", "050", "090"])
def test_a_commit_during_a_walk_keeps_its_object_out_of_the_span(
    db: kvengine.Engine, settle: Settle, reverse: bool, key: str
) -> None:
    """While a walk is on its way over the dead, an object behind it, or before it, comes to life.
    The walk does not see it, being of an earlier moment; nor may it call it dead to later walks.
    """
    fill(db, settle, live=("000", "050", "099"))
    going = db.object_keys("s", reverse=reverse)
    assert next(going) == ("099" if reverse else "000")
    assert next(going) == "050"
    db.set("s", key, "n", b"2")
    assert list(going) == ["000" if reverse else "099"]
    check_both_ways(db, sorted({"000", "050", "099", key}))


@pytest.mark.plain
def test_a_walk_that_begins_within_a_commit_is_told_of_it(
    db: kvengine.Engine, reverse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit asks whether there are walks to tell, and is then about to be written. A walk that
    begins just now is told nothing, and does not see the commit. It must remember nothing.
    """
    fill(db, live=("000", "099"))
    going = db.object_keys("s", reverse=reverse)
    append = WalWriter.append

    def walk_begins(wal: WalWriter, payload: bytes) -> int:
        monkeypatch.setattr(WalWriter, "append", append)
        other = threading.Thread(target=lambda: next(going))
        other.start()
        other.join()
        return append(wal, payload)

    monkeypatch.setattr(WalWriter, "append", walk_begins)
    db.set("s", "050", "n", b"2")
    assert WalWriter.append is append, "no walk began"
    assert list(going) == ["000" if reverse else "099"]
    check_both_ways(db, ["000", "050", "099"])


@pytest.mark.plain
def test_a_walk_that_begins_between_two_interrupts_is_told(
    db: kvengine.Engine, reverse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C ends a commit when its record is written, and once more while that is found out. A
    walk that begins now sees nothing of the commit, which then becomes visible after all.
    """
    fill(db, live=("000", "099"))
    going = db.object_keys("s", reverse=reverse)
    append, finish = WalWriter.append, WalWriter.finish_interrupted_append
    finish_and_sync = Committer._finish_and_sync

    def interrupted_append(wal: WalWriter, payload: bytes) -> int:
        append(wal, payload)
        raise KeyboardInterrupt

    def interrupted_finish(wal: WalWriter) -> bool:
        monkeypatch.setattr(WalWriter, "finish_interrupted_append", finish)
        raise KeyboardInterrupt

    def finish_later(committer: Committer) -> None:
        next(going)
        finish_and_sync(committer)

    monkeypatch.setattr(WalWriter, "append", interrupted_append)
    monkeypatch.setattr(WalWriter, "finish_interrupted_append", interrupted_finish)
    monkeypatch.setattr(Committer, "_finish_and_sync", finish_later)
    with pytest.raises(KeyboardInterrupt):
        db.set("s", "050", "n", b"2")
    assert WalWriter.finish_interrupted_append is finish
    assert list(going) == ["000" if reverse else "099"]
    check_both_ways(db, ["000", "050", "099"])


def test_a_walk_that_ends_leaves_the_others_told(db: kvengine.Engine) -> None:
    """One walk ends as another begins: commits go on to tell the one that is left.

    The end of a walk saw that it was the last, and said that nobody was to be told any more,
    when the next had just begun.
    """
    fill(db, live=("000", "099"))
    going = db.object_keys("s")

    class Last(dict[Any, Any]):
        """The walks. After the question whether there are any, one begins."""

        def __bool__(self) -> bool:
            some = len(self) > 0
            if not some and not begun:
                begun.append(next(going))
            return some

    begun: list[str] = []
    db._db.spans._walks = Last()
    assert list(db.object_keys("s", limit=1)) == ["000"]
    if not begun:  # nobody asks at the end of a walk
        begun.append(next(going))
    db.set("s", "050", "n", b"2")
    assert list(going) == ["099"]
    check_both_ways(db, ["000", "050", "099"])


def test_a_pending_commit_is_in_no_span(db: kvengine.Engine, reverse: bool) -> None:
    """A commit of durability "sync" is logged, and not visible before its sync. A walk meanwhile
    does not see it; a span that this walk left would hide the object once the sync is done.
    """
    fill(db, live=("000", "099"))
    with pending(db, lambda batch: batch.set("s", "050", "n", b"2")):
        assert sorted(walk(db, reverse=reverse)) == ["000", "099"]
        assert spans(db) == []
        going = db.object_keys("s", reverse=reverse)
        next(going)
    assert list(going) == ["000" if reverse else "099"]
    check_both_ways(db, ["000", "050", "099"])


def test_a_commit_that_is_appended_splits_spans_before_its_sync(
    db: kvengine.Engine, reverse: bool
) -> None:
    """The span was there first; the commit is appended, and synced later. In between as after it
    the walks read rightly.
    """
    fill(db, live=("000", "099"))
    walk(db, reverse=reverse)
    assert spans(db)
    with pending(db, lambda batch: batch.set("s", "050", "n", b"2")):
        check_both_ways(db, ["000", "099"])
    check_both_ways(db, ["000", "050", "099"])


def test_a_snapshot_of_before_does_not_use_the_span(
    db: kvengine.Engine, settle: Settle, reverse: bool
) -> None:
    """The objects were cleared after the snapshot was taken: it still lists every one of them."""
    for key in KEYS:
        db.set("s", key, "n", b"1")
    settle(db)
    with db.snapshot() as snapshot:
        for key in KEYS:
            db.clear_all("s", key)
        assert walk(db, reverse=reverse) == []
        assert spans(db)
        check_both_ways(snapshot, KEYS)
    check_both_ways(db, [])


def test_a_snapshot_of_an_earlier_now_does_not_use_the_span(
    db: kvengine.Engine,
    clock: ManualClock,
    settle: Settle,
    reverse: bool,
) -> None:
    """Nothing was committed since the snapshot, so the stamp is the same; but time has passed, and
    all has expired. The snapshot's time stands still: there everything lives.
    """
    fill(db, settle, ttl=10)
    with db.snapshot() as snapshot:
        clock.advance(11)
        assert walk(db, reverse=reverse) == []
        assert spans(db)
        check_both_ways(snapshot, KEYS)
        check_both_ways(db, [])


def test_a_snapshot_that_walks_late_leaves_no_span(
    db: kvengine.Engine, clock: ManualClock, reverse: bool
) -> None:
    """What was dead for an old snapshot may have come to life since: its walks leave no span."""
    fill(db)
    with db.snapshot() as snapshot:
        db.set("s", "050", "n", b"2")
        check_both_ways(snapshot, [])
        check_both_ways(db, ["050"])


def test_expired_objects_make_spans_that_a_write_splits(
    db: kvengine.Engine,
    clock: ManualClock,
    settle: Settle,
    reverse: bool,
) -> None:
    """An expired object reads as absent for good, so it may be passed over; a write to it starts
    a new one, which is listed. A compaction that drops the dead changes nothing of that.
    """
    fill(db, settle, ttl=10, live=("000", "099"))
    clock.advance(11)
    assert sorted(walk(db, reverse=reverse)) == ["000", "099"]
    assert spans(db)
    assert db.expire("s", "050", ttl=99) is False
    db.set("s", "060", "n", b"2")
    check_both_ways(db, ["000", "060", "099"])
    db.compact()
    db.set("s", "070", "n", b"2")
    check_both_ways(db, ["000", "060", "070", "099"])


def test_spans_that_touch_become_one_of_the_later_moment(
    db: kvengine.Engine, clock: ManualClock
) -> None:
    """Two walks over neighbouring ranges, one before and one after some objects expired: what
    they leave joins, and says no more than the later of the two moments can.
    """
    fill(db, live=tuple(KEYS[50:]))
    assert walk(db) == KEYS[50:]
    for key in KEYS[50:]:
        db.expire("s", key, ttl=10)
    with db.snapshot() as snapshot:
        clock.advance(11)
        assert walk(db) == []
        assert len(spans(db)) == 1
        check_both_ways(snapshot, KEYS[50:])
        db.set("s", "025", "n", b"2")
        db.set("s", "075", "n", b"2")
        check_both_ways(db, ["025", "075"])


def test_a_refresh_during_a_walk_is_told_to_it(
    fs: MemoryFileSystem, clock: ManualClock, reverse: bool
) -> None:
    """A reader beside the owner walks over the dead while a refresh shows it that one of them has
    come to life: no span of this walk may hide that one.
    """
    with opened(fs, clock) as owner:
        fill(owner, live=("000", "099"))
        with opened(fs, clock, read_only=True) as reader:
            going = reader.object_keys("s", reverse=reverse)
            next(going)
            owner.set("s", "050", "n", b"2")
            assert reader.refresh()
            assert list(going) == ["000" if reverse else "099"]
            check_both_ways(reader, ["000", "050", "099"])
            going = reader.object_keys("s", reverse=reverse)
            next(going)
            owner.clear_all("s", "050")
            owner.set("s", "060", "n", b"2")
            owner.flush()
            assert reader.refresh()
            list(going)
            check_both_ways(reader, ["000", "060", "099"])
