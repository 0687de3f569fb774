"""Several clients of one database: turns, leases, what is left behind, what is swept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import psycopg
import pytest

import kvengine
from kvengine.postgres import keeper
from tests.postgres.servers import Postgres

LEASE = 1.5
"""Seconds. Long enough for a busy machine to renew it in time, and short enough for a test."""


def schema_of(url: str) -> str:
    return url.rpartition("=")[2]


@contextmanager
def worker(database: str, lease: float = LEASE) -> Iterator[subprocess.Popen[str]]:
    """A process that is in a session of ("S", "k")."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.postgres.session_worker", database, str(lease)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def answer(process: subprocess.Popen[str]) -> str:
    """Let the worker end its session, and return what it says of that."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def test_others_are_told_who_has_the_object(database: str) -> None:
    """SessionTimeout names host and process of the client that has it."""
    with worker(database) as process, kvengine.connect(database) as db:
        with pytest.raises(kvengine.SessionTimeout, match=rf":{process.pid} has it"):
            with db.object("S", "k").session(timeout=0.1):
                pass
        assert answer(process) == "committed"
        with db.object("S", "k").session(timeout=30) as state:
            assert state.get("by") == "worker"


def test_a_killed_client_frees_its_object(database: str) -> None:
    """Within the time of its lease, and nothing of its session is written."""
    with worker(database) as process, kvengine.connect(database) as db:
        process.kill()
        process.wait()
        with db.object("S", "k").session(timeout=LEASE + 30) as state:
            assert state.get("by") is None
            state.set("by", "heir")
        assert db.object("S", "k").get("by") == "heir"


@pytest.mark.parametrize("wrote", [True, False])
def test_a_stopped_client_writes_nothing_afterwards(database: str, wrote: bool) -> None:
    """Its lease runs out while it stands still, another one has the object: SessionLost."""
    with worker(database) as process, kvengine.connect(database) as db:
        os.kill(process.pid, signal.SIGSTOP)
        with db.object("S", "k").session(timeout=LEASE + 30) as state:
            if wrote:
                state.set("by", "heir")
            else:
                os.kill(process.pid, signal.SIGCONT)
                assert answer(process) == "SessionLost"
        if wrote:
            os.kill(process.pid, signal.SIGCONT)
            assert answer(process) == "VersionConflict"
        assert db.object("S", "k").get("by") == ("heir" if wrote else None)


def test_a_lease_is_kept_as_long_as_its_client_lives(database: str) -> None:
    """A session that takes several times the lease ends well."""
    with worker(database, 0.6) as process, kvengine.connect(database, lease=0.6) as db:
        with pytest.raises(kvengine.SessionTimeout):
            with db.object("S", "k").session(timeout=2.0):
                pass
        assert answer(process) == "committed"


def test_clients_come_in_order_of_arrival(database: str) -> None:
    """Each has its turn when those that came before have had theirs."""
    order: list[int] = []
    clients = [kvengine.connect(database) for _ in range(5)]

    def take(number: int) -> None:
        with clients[number].object("S", "k").session():
            order.append(number)

    with kvengine.connect(database) as db, psycopg.connect(database.partition("?")[0]) as seen:
        with db.object("S", "k").session():
            threads = []
            for number in range(len(clients)):
                threads.append(threading.Thread(target=take, args=(number,)))
                threads[-1].start()
                until = time.monotonic() + 30
                while time.monotonic() < until:
                    query = f"SELECT count(*) FROM {schema_of(database)}.claims"
                    if seen.execute(query).fetchone() == (number + 2,):
                        break
                    seen.rollback()
        for thread in threads:
            thread.join()
    for client in clients:
        client.close()
    assert order == list(range(5))


def test_a_closed_client_frees_its_objects_at_once(database: str, postgres: Postgres) -> None:
    """It does not wait for its lease to run out."""
    other = kvengine.connect(database, lease=3600)
    block = other.object("S", "k").session()
    block.__enter__()
    other.close()
    assert postgres.psql(f"SELECT count(*) FROM {schema_of(database)}.claims") == [(0,)]
    with kvengine.connect(database) as db:
        with db.object("S", "k").session(timeout=20):
            pass


def test_a_claim_that_lands_after_its_client_ended(postgres: Postgres, database: str) -> None:
    """It is swept: no lease says that it is over, and perhaps nobody wants its object again."""
    schema = schema_of(database)
    with kvengine.connect(database) as db:
        postgres.psql(f"INSERT INTO {schema}.claims VALUES ('S', 'k', 1, 4711)")
        with db.object("S", "l").session():
            db._keeper.sweep()
            assert postgres.psql(f"SELECT key FROM {schema}.claims") == [(b"l",)]
        db._keeper._disconnect()


def test_a_claim_that_was_left_behind(database: str) -> None:
    """The keeper gives back what an interrupt left, while its client lives."""
    with kvengine.connect(database, lease=0.6) as db, kvengine.connect(database) as other:
        block = db.object("S", "k").session()
        block.__enter__()
        db.client.claims.forget(("S", "k"))  # as an interrupt right after the claim would
        with other.object("S", "k").session(timeout=30):
            pass


def test_a_session_waits_as_long_as_any_commit_for_the_disk(
    postgres: Postgres, database: str
) -> None:
    """Giving back its turn with the commit made the whole commit asynchronous, in a draft."""
    schema = schema_of(database)
    with kvengine.connect(database) as db:
        postgres.psql(
            f"CREATE TABLE {schema}.seen (setting text);"
            f" CREATE FUNCTION {schema}.see() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN INSERT INTO {schema}.seen VALUES (current_setting('synchronous_commit'));"
            " RETURN NEW; END $$;"
            f" CREATE CONSTRAINT TRIGGER see AFTER UPDATE ON {schema}.objects"
            f" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {schema}.see()"
        )
        for durability in ("sync", "os"):
            with db.object("S", "k").session(durability=durability) as state:
                state.increment("n")
        db.set("S", "k", "n", b"1")
        batch = kvengine.Batch()
        batch.set("S", "k", "n", b"2")
        batch.set("S", "l", "n", b"2")
        db.write(batch, durability="os")
    found = postgres.psql(f"SELECT string_agg(setting, ' ') FROM {schema}.seen")
    assert found == [("on off on off off",)]


def age(postgres: Postgres, schema: str, days: float) -> None:
    """Let all that there is be older by so many days."""
    past = int(days * 86_400_000_000)
    postgres.psql(
        f"UPDATE {schema}.objects SET version = greatest(version - {past}, 0),"
        f" sweep_at = sweep_at - {past}, expires_at = expires_at - {past};"
        f" UPDATE {schema}.entries SET expires_at = expires_at - {past}"
    )


def test_what_is_dead_is_swept(postgres: Postgres, database: str) -> None:
    """Entries of objects that are cleared or expired, entries that expired; rows after a day.

    What lives stays, with its versions.
    """
    schema = schema_of(database)

    def rows() -> tuple[int, ...]:
        both = f"SELECT (SELECT count(*) FROM {schema}.{{}}), (SELECT count(*) FROM {schema}.{{}})"
        (found,) = postgres.psql(both.format("objects", "entries"))
        return found

    with kvengine.connect(database) as db:
        for number in range(20):
            for name in ("a", "b", "c"):
                db.set("S", f"k{number}", name, b"v")
        db.set("S", "timed", "stays", b"v")
        db.set("S", "timed", "goes", b"v", ttl=3600)
        db.expire("S", "k19", ttl=3600)
        for number in range(10):
            db.clear_all("S", f"k{number}")
        db.clear_range("S", "k10", "k15")
        for name in ("a", "b", "c"):
            db.clear("S", "k15", name)
        before = {found.key: found for found in db.scan("S")}
        assert rows()[1] == 20 * 3 + 2 - 3
        db._keeper.sweep()
        kept = 20 - 10 - 5 - 1
        assert rows() == (21, 3 * kept + 2)
        assert {found.key: found for found in db.scan("S")} == before
        version = db.version("S", "k18")
        age(postgres, schema, 2)
        db._keeper.sweep()  # what expired loses its entries, and waits a day
        assert rows() == (5, 3 * (kept - 1) + 1)
        left = {found.key: found.entries for found in db.scan("S")}
        assert left.keys() == {"k16", "k17", "k18", "timed"}
        assert left["timed"] == {"stays": b"v"}
        assert db.set("S", "k18", "a", b"w") > version
        db._keeper._disconnect()


def test_the_expiry_of_an_object_outlives_its_entries(postgres: Postgres, database: str) -> None:
    """Clearing entries one by one leaves it, and so does the sweeper, which once took the row."""
    with kvengine.connect(database) as db:
        db.set("S", "k", "n", b"v")
        ends = time.time() + 10 * 86_400
        db.expire("S", "k", at=ends)
        db.clear("S", "k", "n")
        age(postgres, schema_of(database), 2)
        db._keeper.sweep()
        db.set("S", "k", "n", b"w")
        assert db.expires_at("S", "k") == pytest.approx(ends - 2 * 86_400, abs=1)
        db._keeper._disconnect()


def test_nothing_is_swept_by_a_clock_that_is_wrong(
    postgres: Postgres,
    database: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a wrong clock removes would be gone for good."""
    with kvengine.connect(database) as db:
        db.set("S", "k", "n", b"v")
        db.clear_all("S", "k")
        monkeypatch.setattr(keeper, "wall", lambda: time.time() - 7200)
        assert db._keeper.sweep() == 0
        assert "nothing is swept" in caplog.text
        monkeypatch.undo()
        assert db._keeper.sweep() == 1
        db._keeper._disconnect()


def test_a_walk_over_large_objects_holds_few_of_them(database: str) -> None:
    """A window is bounded by bytes: 50 objects of 10 MB took more than a gigabyte."""
    with kvengine.connect(database) as db:
        for number in range(12):
            db.set("S", f"k{number:02}", "n", b"x" * 1_000_000)
            db.set("S", f"k{number:02}", "m", b"y")
        for reverse in (False, True):
            windows = []
            course = db.client.scan("S", reverse=reverse)
            while not course.is_over:
                windows.append(db.run(partial(course.following, db.client)))
            found = [each for window in windows for each in window]
            assert [each.key for each in found] == sorted(
                (f"k{number:02}" for number in range(12)), reverse=reverse
            )
            assert all(len(each.entries) == 2 for each in found)
            assert max(map(len, windows)) <= 5
        assert [each.key for each in db.scan("S", limit=7)] == [f"k{n:02}" for n in range(7)]
