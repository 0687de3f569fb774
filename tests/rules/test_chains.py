"""Chains of commits to one object: folded for readers of now, and whole for snapshots."""

from __future__ import annotations

import pytest

import kvengine
from kvengine.storage.memtable import FRESH_ROWS
from kvengine.storage.state import State
from tests.rules.place import pending

NAME = ("s", "k")


def state(db: kvengine.Engine) -> State:
    return db._db.view.active.states[NAME]


@pytest.mark.parametrize("before", [1, 4, FRESH_ROWS, FRESH_ROWS + 1, 3 * FRESH_ROWS])
@pytest.mark.parametrize("after", [1, FRESH_ROWS, FRESH_ROWS + 2, 5 * FRESH_ROWS])
def test_a_snapshot_in_the_midst_of_a_chain_reads_its_own_values(
    db: kvengine.Engine, before: int, after: int
) -> None:
    """Commit follows commit to one object, and a snapshot is taken in between. More than eight
    commits later the rows are folded into one, which holds new values and old ones together. The
    snapshot must follow the chain that the fold has replaced.
    """
    for n in range(before):
        db.set(*NAME, f"{n % 3}", b"old %d" % n)
        db.set(*NAME, "same", b"old %d" % n)
    wanted = db.get_all(*NAME)
    version = db.version(*NAME)
    with db.snapshot() as snapshot:
        for n in range(after):
            db.set(*NAME, "same", b"new %d" % n)
            db.set(*NAME, f"new {n}", b"")
            assert snapshot.get_all(*NAME) == wanted
        assert snapshot.get(*NAME, "same") == wanted["same"]
        assert snapshot.get(*NAME, "new 0") is None
        assert snapshot.version(*NAME) == version
        assert [found.entries for found in snapshot.scan()] == [wanted]
        assert snapshot.load(*NAME) == next(snapshot.scan("s"))
    assert db.get(*NAME, "same") == b"new %d" % (after - 1)
    assert len(db.get_all(*NAME)) == len(wanted) + after


def test_many_snapshots_along_a_chain(db: kvengine.Engine) -> None:
    """A snapshot after each commit: each reads its own moment, also as those around it close."""
    held = []
    for n in range(5 * FRESH_ROWS):
        db.set(*NAME, "n", b"%d" % n)
        held.append((n, db.snapshot()))
    for parity in (0, 1):
        for n, snapshot in held[parity::2]:
            assert snapshot.get(*NAME, "n") == b"%d" % n
            snapshot.close()
            db.set(*NAME, "later", b"%d" % n)
    db.set(*NAME, "n", b"last")
    assert state(db).prev is None, "nobody needs the chain any more"


def test_a_chain_of_commits_that_await_one_sync(db: kvengine.Engine) -> None:
    """Nine commits of durability "sync" stand in the log, folded already, when the sync comes.
    None shows before it; then all do, in the order of the log.
    """
    db.set(*NAME, "n", b"published")
    with db.snapshot() as snapshot:
        commits = []
        for n in range(2 * FRESH_ROWS):
            batch = kvengine.Batch()
            batch.set(*NAME, "n", b"%d" % n)
            commits.append(db._begin_write(batch))
            assert db.get(*NAME, "n") == b"published"
        with pending(db, lambda batch: batch.set(*NAME, "m", b"1")):
            assert db.get_all(*NAME) == {"n": b"published"}
        assert db.get_all(*NAME) == {"m": b"1", "n": b"%d" % (2 * FRESH_ROWS - 1)}
        assert snapshot.get_all(*NAME) == {"n": b"published"}


def test_a_folded_chain_is_short(db: kvengine.Engine) -> None:
    """Reads of now see a few rows, however many commits there were."""
    for n in range(400):
        db.set(*NAME, f"{n % 50}", b"%d" % n)
    assert len(state(db).rows) <= 2 * FRESH_ROWS + 2
    assert db.get(*NAME, "0") == b"350"
    assert len(db.get_all(*NAME)) == 50
