"""Ctrl-C within a read: it may end the read, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import count

import pytest

import kvengine
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage.moment import open_moment
from kvengine.storage.walk import Crossing
from tests.durability.tripwire import Tripwire


def walk(db: kvengine.Engine) -> None:
    """Cross so many dead objects that they are remembered as a span."""
    spans = db._db.spans
    spans.clear()
    moment = open_moment(db._db)
    try:
        with Crossing(spans, moment, False) as crossing:
            crossing._first, crossing._count = b"a", 1000
            crossing.end(b"b")
    finally:
        moment.close()
    assert spans.around((b"a", b"b"), moment) == []


def admit(db: kvengine.Engine) -> None:
    """Read an object that the memo then keeps."""
    db._db.memo.clear()
    assert db.get_all("t", "k") == {"n": b"1"}


def fetch(db: kvengine.Engine) -> None:
    """Read an entry whose block is then kept as a frame."""
    for segment in db._db.view.version:
        db._db.frames.forget(segment)
    assert db.get("u", "k", "n") == b"1"


def fetch_large(db: kvengine.Engine) -> None:
    """Read an entry of a large object, whose decoded head is kept with its block."""
    for segment in db._db.view.version:
        db._db.frames.forget(segment)
    assert db.get("v", "k", "07") == bytes(100)


@pytest.mark.plain  # the points of interrupts are counted
@pytest.mark.parametrize("work", [walk, admit, fetch, fetch_large], ids=lambda each: each.__name__)
def test_an_interrupted_read_leaves_no_lock_held(work: Callable[[kvengine.Engine], None]) -> None:
    """An interrupt just behind the call that took a lock left it held for ever.

    Reads take locks if they are free, so as not to wait. Between that call and the ``try`` behind
    it CPython looks for signals: the next commit, or the next compaction, waited for a lock that
    nobody had.
    """
    options = {
        "fs": MemoryFileSystem(),
        "background": "none",
        "durability": "os",
        "chunk_size": 500,
    }
    with kvengine.open("/db", **options) as db:  # type: ignore[arg-type]
        for name in (("t", "k"), ("u", "k")):
            db.set(*name, "n", b"1")
        for n in range(20):
            db.set("v", "k", f"{n:02}", bytes(100))
        db._db.memo.refuse(("v", "k"))
        db.flush()
        db._db.memo.wants(("t", "k"), 1000)
        for n in count(1):
            assert n < 1000, "each interrupt leaves something behind that the next run goes through"
            tripwire = Tripwire(n, KeyboardInterrupt)
            with suppress(KeyboardInterrupt):
                tripwire.run(lambda: work(db))
            for lock in (db._db.commit_lock, db._db.frames._lock):
                held = lock.locked()
                if held:
                    lock.release()  # or the end of this test would wait for it
                assert not held, f"a lock is held after an interrupt {tripwire.tripped}"
            if tripwire.tripped is None:
                break
        assert n > 10
        assert len(db._db.snapshots) == 0, "an interrupted walk keeps its snapshot"
        work(db)
        db.set("t", "k", "n", b"2")
        db.compact()
        assert db.get("t", "k", "n") == b"2"
