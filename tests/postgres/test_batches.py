"""Batches beside other commits: what they lock, in which order, and what comes after them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

import kvengine
from tests.postgres.servers import Postgres
from tests.postgres.test_clients import schema_of

_PAUSE = 4711
"""The advisory lock that a commit waits for in `paused`."""


@contextmanager
def background(work: Callable[[], object]) -> Iterator[threading.Thread]:
    """A thread that does some work, which is over at the end of the block."""
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(60)
        assert not thread.is_alive()


def wait_until_one_waits(postgres: Postgres) -> None:
    """Return once a connection of kvengine waits for a lock."""
    until = time.monotonic() + 60
    query = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND query LIKE '%commit_batch%'"
        " AND pid <> pg_backend_pid()"
    )
    while postgres.psql(query) == [(0,)]:  # a transaction would see the same all the time
        assert time.monotonic() < until
        time.sleep(0.01)


def test_an_object_that_is_made_beside_a_range_clear(postgres: Postgres, database: str) -> None:
    """It was made at a later time than the clear, so it stays, and no version goes back.

    The clear locks what there is, takes its stamp, and clears. What was made between took the
    clear's version, which is lower, and lost its entries.
    """
    schema = schema_of(database)
    with kvengine.connect(database) as db, psycopg.connect(postgres.url, autocommit=True) as other:
        db.set("T", "old", "n", b"1")
        other.execute(
            f"CREATE FUNCTION {schema}.pause() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN PERFORM pg_advisory_xact_lock({_PAUSE}); RETURN NEW; END $$;"
            f" CREATE TRIGGER pause BEFORE INSERT ON {schema}.entries FOR EACH ROW"
            f" WHEN (NEW.service = 'S') EXECUTE FUNCTION {schema}.pause()"
        )
        batch = kvengine.Batch()
        batch.set("S", "k", "n", b"1")
        batch.clear_service("T")
        other.execute("SELECT pg_advisory_lock(%s)", (_PAUSE,))
        with background(lambda: db.write(batch)):
            try:
                wait_until_one_waits(postgres)
                made = db.set("T", "new", "n", b"1")
            finally:
                other.execute("SELECT pg_advisory_unlock(%s)", (_PAUSE,))
        assert batch.stamp is not None and batch.stamp < made
        assert list(db.object_keys("T")) == ["new"]
        assert db.version("T", "new") == made


def test_objects_and_ranges_of_a_batch_are_locked_in_one_order(
    postgres: Postgres, database: str
) -> None:
    """While it waits for a row, a batch has none that comes after it: nobody waits in a circle."""
    schema = schema_of(database)
    with kvengine.connect(database) as db, psycopg.connect(postgres.url) as other:
        for service in ("A", "Z"):
            db.set(service, "k", "n", b"1")
        batch = kvengine.Batch()
        batch.set("Z", "k", "n", b"2")
        batch.clear_service("A")
        row = f"SELECT FROM {schema}.objects WHERE service = %b FOR UPDATE NOWAIT"
        other.execute(row, (b"A",))
        with background(lambda: db.write(batch)):
            try:
                wait_until_one_waits(postgres)
                other.execute(row, (b"Z",))  # LockNotAvailable, if the batch has it
            finally:
                other.rollback()
        assert db.get("Z", "k", "n") == b"2" and db.services() == ["Z"]
