"""What threads share: reads beside publication, the cache, snapshots, nested calls, close."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sortedcontainers import SortedList

import kvengine
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage.memtable import TOMBSTONES
from kvengine.storage.snapshots import Snapshots


def opened(**options: Any) -> kvengine.Engine:
    known = {"fs": MemoryFileSystem(), "background": "none", "durability": "os"}
    return kvengine.open("/db", **{**known, **options})


class Sly(dict[Any, Any]):
    """A dict that lets something happen once, right after it was asked for a key."""

    asked: Any = None
    meanwhile: Callable[[], object] | None = None

    def _look(self, key: Any) -> None:
        if key == self.asked and self.meanwhile is not None:
            happen, self.meanwhile = self.meanwhile, None
            happen()

    def get(self, key: Any, default: Any = None) -> Any:
        found = super().get(key, default)
        self._look(key)
        return found


@pytest.mark.plain
def test_a_read_beside_a_batch_that_clears_and_writes() -> None:
    """A reader sees a batch of a range clear and a write as a whole, or not yet.

    It took the tombstones before the batch and the row after it, so that cleared entries
    of older layers showed through the new row, and kept the result for later readers.
    """
    with opened() as db:
        db.set("s", "k", "old", b"1")
        db.flush()
        db.clear_range("other", "", None)
        active = db._db.view.active
        active.states = states = Sly(active.states)

        def batch() -> None:
            with db.batch() as one:
                one.clear_service("s")
                one.set("s", "k", "new", b"2")

        states.asked, states.meanwhile = TOMBSTONES, batch
        assert db.get_all("s", "k") in ({"old": b"1"}, {"new": b"2"})
        assert db.get_all("s", "k") == {"new": b"2"}


@pytest.mark.plain
def test_the_memo_forgets_what_a_commit_overtakes_while_it_is_read() -> None:
    """A reader that worked an object out puts it nowhere once a commit came between.

    It would be stale for every later reader. The same for a rotation and a flush, after
    which the state that was read stands in no memtable.
    """
    for overtake in ("commit", "flush"):
        with opened() as db:
            db.set("s", "k", "n", b"1")
            name = ("s", "k")
            for _ in range(3):
                db.get_all("s", "k")
            db._db.memo.clear()
            states = db._db.view.active.states = Sly(db._db.view.active.states)

            def meanwhile(db: kvengine.Engine = db, flush: bool = overtake == "flush") -> None:
                db.set("s", "k", "n", b"2")
                if flush:
                    db.flush()

            states.asked, states.meanwhile = name, meanwhile
            db.get_all("s", "k")
            assert db._db.memo.known.get(name) is None
            assert db.get_all("s", "k") == {"n": b"2"}


def test_states_that_no_snapshot_sees_are_let_go() -> None:
    """With never more than two snapshots open, an object's states do not pile up.

    Each state linked to the one before it as long as any snapshot was open.
    """
    with opened() as db:
        held = db.snapshot()
        for n in range(200):
            db.set("s", "k", "n", b"%d" % n)
            following = db.snapshot()
            held.close()
            held = following
        state, length = db._db.view.active.states[("s", "k")], 0
        while state is not None:
            state, length = state.prev, length + 1
        assert held.get("s", "k", "n") == b"199"
        held.close()
        assert length <= 3


def test_a_finalizer_may_close_a_snapshot_at_any_time() -> None:
    """Closing a snapshot never waits for the lock that this very thread may hold.

    A forgotten iterator, collected while a snapshot was being opened, hung the thread,
    and with it every commit.
    """
    snapshots = Snapshots()
    token = snapshots.token()
    snapshots.open(token, 1, frozenset())

    def finalizer() -> None:
        with snapshots._lock:
            snapshots.close(token)

    thread = threading.Thread(target=finalizer, daemon=True)
    thread.start()
    thread.join(2)
    assert not thread.is_alive()
    assert len(snapshots) == 0


@pytest.mark.plain
@pytest.mark.parametrize("verb", ["set", "snapshot"])
def test_a_call_from_within_a_commit_is_refused(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler that writes, or takes a snapshot, inside a commit gets an error.

    It waited for a lock that its own thread held, for ever.
    """
    with opened(durability="sync") as db:
        wal = db._db.wal
        assert wal is not None
        refused: list[str] = []
        original = wal.sync

        def handler(_: object) -> None:
            try:
                db.set("s", "k", "n", b"2") if verb == "set" else db.snapshot()
            except kvengine.KVEngineError as error:
                refused.append(str(error))
            original()

        with monkeypatch.context() as patch:
            patch.setattr(type(wal), "sync", handler)
            db.set("s", "k", "n", b"1")
        assert refused and "inside a commit" in refused[0]
        assert db.get("s", "k", "n") == b"1"


def test_lanes_rest_after_a_failure() -> None:
    """Where nothing may be written any more, no step says that it did something.

    A full memtable beside a failed log kept a lane spinning.
    """
    with opened(memtable_size=10_000) as db:
        db._committer._maintain = lambda: None
        db.set("s", "k", "n", bytes(20_000))
        db._db.fail(OSError(28, "no space"))
        steps = db._maintenance
        assert not steps.rotate_step()
        assert not steps.flush_step(lambda job: [])
        assert not steps.compact_step(lambda job: [])


def test_an_interrupted_close_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt while the lanes stop leaves no lock held and nothing lost."""
    fs = MemoryFileSystem()
    db = opened(fs=fs)
    db.set("s", "k", "n", b"1")

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(db._scheduler, "close", interrupted)
    with pytest.raises(KeyboardInterrupt):
        db.close()
    db.close()
    with opened(fs=fs) as again:
        assert again.get("s", "k", "n") == b"1"


def test_what_reads_remember_is_bounded() -> None:
    """Whole objects kept beside the rows of memtables stay within ``cache_size``.

    Every object that was loaded and then written was kept whole, however large.
    """
    with opened(cache_size=1_000_000) as db:
        for n in range(300):
            db.set("s", f"{n}", "large", bytes(20_000))
        db.flush()
        for n in range(300):
            db.get_all("s", f"{n}")
            db.set("s", f"{n}", "small", b"1")
            db.get_all("s", f"{n}")
        kept = db._db.memo.known.values()
        assert kept
        assert sum(len(one.entries["large"]) for one in kept) < 1_000_000


def test_an_interrupted_listing_loses_no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt while new names are taken into the ordered view loses none of them."""
    with opened() as db:
        for n in range(50):
            db.set("s", f"{n:02}", "n", b"1")
        assert len(list(db.object_keys("s"))) == 50
        for n in range(50, 100):
            db.set("s", f"{n}", "n", b"1")
        original = SortedList.update

        def broken_off(self: Any, names: Any) -> None:
            self.clear()
            raise KeyboardInterrupt

        monkeypatch.setattr(SortedList, "update", broken_off)
        with pytest.raises(KeyboardInterrupt):
            list(db.object_keys("s"))
        monkeypatch.setattr(SortedList, "update", original)
        assert len(list(db.object_keys("s"))) == 100
