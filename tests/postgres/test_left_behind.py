"""What a program leaves behind: stores, snapshots, walks and sessions that it never closes."""

from __future__ import annotations

import gc
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import kvengine
from tests.postgres.servers import Postgres

OBJECTS = 150
"""More than the first window of a walk, so that a walk has a snapshot."""


@contextmanager
def warned_of() -> Iterator[list[str]]:
    """The warnings of what is collected in the block, filled in at its end."""
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield said
        gc.collect()
        said += [str(each.message) for each in caught if each.category is ResourceWarning]


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def db(database: str) -> Iterator[kvengine.postgres.store.PostgresStore]:
    with kvengine.connect(database) as db:
        batch = kvengine.Batch()
        for number in range(OBJECTS):
            batch.set("S", f"k{number:03}", "n", b"v")
        db.write(batch)
        yield db


def snapshots(postgres: Postgres) -> int:
    """Transactions that are open on the server."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
    return int(postgres.psql(query)[0][0])


def test_a_walk_that_is_dropped(db: kvengine.Store, postgres: Postgres) -> None:
    """It ends its transaction, and nobody is warned: a loop that breaks off is no mistake."""
    with warned_of() as said:
        for _ in db.object_keys("S"):
            assert snapshots(postgres) == 1
            break
        for _ in db.scan("S"):
            break
    assert said == []
    wait_for(lambda: snapshots(postgres) == 0)


def test_a_snapshot_that_is_dropped(db: kvengine.Store, postgres: Postgres) -> None:
    """It warns, as that of an Engine does, and ends its transaction."""
    with warned_of() as said:
        db.snapshot()
    assert len(said) == 1 and said[0].startswith("unclosed") and "Snapshot" in said[0]
    wait_for(lambda: snapshots(postgres) == 0)


def test_a_store_that_is_dropped(database: str) -> None:
    """It warns, ends its threads, and what it has in sessions is free at once.

    Its keeper went on to renew its lease for as long as the process lived.
    """
    before = set(threading.enumerate())
    with warned_of() as said:
        db = kvengine.connect(database, lease=3600)
        db.object("S", "k").session().__enter__()
        started = set(threading.enumerate()) - before
        del db
    assert len(said) == 1 and "forgotten" in said[0], said
    with kvengine.connect(database) as other, other.object("S", "k").session(timeout=30):
        pass

    def are_over() -> bool:
        gc.collect()  # the pool goes once the keeper has let go of it
        return not any(thread.is_alive() for thread in started)

    wait_for(are_over)


def test_a_session_that_is_dropped(database: str) -> None:
    """The keeper gives its object back, while its client lives."""
    with kvengine.connect(database, lease=0.6) as db, kvengine.connect(database) as other:
        db.object("S", "k").session().__enter__()
        gc.collect()
        with other.object("S", "k").session(timeout=30):
            pass


def test_a_forked_child_closes_nothing_of_its_parent(db: kvengine.Store) -> None:
    """The end of a child's ``with`` block, or of its walk, told the server to end the parent's."""
    walk = db.object_keys("S")
    first = next(walk)
    with db.snapshot() as snapshot:
        child = os.fork()
        if not child:
            try:
                snapshot.close()
                walk.close()  # type: ignore[attr-defined]
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert snapshot.get("S", first, "n") == b"v"
        assert len(list(walk)) == OBJECTS - 1
