"""Servers that are away for a while: verbs go on by themselves, or say in time that they cannot."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

import kvengine
from kvengine.postgres.address import parse
from kvengine.postgres.client import Client
from tests.postgres.clients import Connect
from tests.postgres.failover import KINDS, wait_for_all
from tests.postgres.servers import Postgres, wait_until

NAME = ("Cart", "c-1")

Verb = Callable[[Any], Any]


def read(db: Any) -> Any:
    return db.get(*NAME, "n")


def write(db: Any) -> Any:
    return db.set(*NAME, "n", b"2")


def session(db: Any) -> Any:
    with db.object(*NAME).session() as state:
        state.set("n", 2)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["fast", "kill"])
def test_verbs_go_on_when_the_server_is_back(database: str, postgres: Postgres, mode: str) -> None:
    """Writers, threads and tasks, survive three seconds without a server, and lose no commit."""
    stop = threading.Event()
    crew = [kind(number, database) for kind in KINDS for number in range(2)]
    try:
        for writer in crew:
            writer.start(stop)
        wait_for_all(crew, time.monotonic())
        postgres.stop(mode)
        time.sleep(3)
        postgres.start()
        wait_for_all(crew, time.monotonic())
    finally:
        stop.set()
        for writer in crew:
            writer.join()
    with kvengine.connect(database) as db:
        for writer in crew:
            writer.check(db)
    assert not [problem for writer in crew for problem in writer.problems]
    assert not any(writer.outcomes["Unavailable"] for writer in crew)


def test_a_server_that_stays_away_is_reported(
    database: str, postgres: Postgres, client: Connect
) -> None:
    """Past the timeout a verb raises Unavailable and says why; later ones find the server again."""
    with client(database, timeout=0.5) as db:
        write(db)
        postgres.stop()
        for verb in (read, write, session):
            with pytest.raises(kvengine.Unavailable, match=r"refused") as caught:
                verb(db)
            assert type(caught.value) is kvengine.Unavailable
        postgres.start()
        session(db)
        assert read(db) == b"2"


@contextmanager
def read_only(postgres: Postgres) -> Iterator[None]:
    """Let the server refuse writes, as one does that was demoted."""

    def switch(setting: str) -> None:
        postgres.psql(f"ALTER SYSTEM SET default_transaction_read_only = {setting}")
        postgres.psql("SELECT pg_reload_conf()")
        wait_until(
            lambda: postgres.psql("SHOW default_transaction_read_only") == [(setting,)],
            10,
            "not reloaded",
        )

    switch("on")
    try:
        yield
    finally:
        switch("off")


def test_a_server_that_takes_no_writes_is_left_for_another(
    database: str, postgres: Postgres, client: Connect
) -> None:
    """A server that was demoted writes nothing; a verb tries elsewhere until there is a leader."""
    with client(database) as db, client(database, timeout=0.5) as hasty:
        write(db)
        write(hasty)
        with ThreadPoolExecutor(1) as executor:
            with read_only(postgres):
                with pytest.raises(kvengine.Unavailable, match="read-only"):
                    hasty.set(*NAME, "n", b"3")
                future = executor.submit(session, db)
                assert read(hasty) == b"2"
                assert not future.done()
            future.result(timeout=60)


def test_a_snapshot_that_cannot_begin_raises_an_error_of_kvengine(
    database: str, client: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the server says as a snapshot begins, no error of the driver comes through."""
    with client(database) as db:
        monkeypatch.setattr(Client, "begin_snapshot", lambda self: "SELECT 1 / 0")
        with pytest.raises(kvengine.Unavailable, match="division"):
            with db.snapshot() as snapshot:
                snapshot.get(*NAME, "n")


@pytest.mark.timeout(60)
def test_a_server_that_says_nothing_is_not_waited_for(
    database: str, postgres: Postgres, client: Connect
) -> None:
    """A verb ends with its timeout, however long a connection may take that hangs."""
    with client(f"{database}&connect_timeout=100", timeout=0.5) as db:
        write(db)
        postgres.stop()
        with socket.create_server(("127.0.0.1", postgres.port)):
            with pytest.raises(kvengine.Unavailable):
                read(db)
        postgres.start()
        assert read(db) == b"2"


@pytest.mark.parametrize(
    ("url", "seconds"),
    [
        ("postgresql://a,b,c/db", 3),
        ("postgresql:///db?host=a,b,c", 3),
        ("postgresql://a,b,c/db?connect_timeout=7", 7),
        ("postgresql://a/db", 10),
    ],
)
def test_a_host_that_says_nothing_leaves_time_for_the_others(url: str, seconds: int) -> None:
    """Of several hosts, which are tried in turn, each has less time to answer than a single one."""
    assert conninfo_to_dict(parse(url).conninfo)["connect_timeout"] == str(seconds)


def test_an_outage_is_logged_once(
    database: str, postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    """Each store says once that it has no server, and once that its keeper has none.

    Else what is not configured to log would have lines on stderr for each attempt.
    """
    with kvengine.connect(database, timeout=2.0, lease=1.0) as db:
        session(db)
        postgres.stop()
        with caplog.at_level(logging.WARNING), pytest.raises(kvengine.Unavailable):
            read(db)
        lines = sorted(caplog.messages)
        assert len(lines) == 2, lines
        assert lines[0].startswith("postgresql://") and "refused" in lines[0]
        assert lines[1].startswith("the keeper fails: postgresql://")
        postgres.start()
        assert read(db) == b"2"


def test_sessions_exclude_each_other_as_soon_as_a_server_is_back(
    database: str, postgres: Postgres
) -> None:
    """A crash takes all leases away; a client that claims an object then has one again at once.

    Else another client would take the object, for until the first one renews its lease.
    """
    with (
        kvengine.connect(database, lease=60) as db,
        kvengine.connect(database, lease=60) as other,
    ):
        for each in (db, other):
            with each.object(*NAME).session() as state:
                state.increment("n")
        postgres.restart("kill")
        with db.object(*NAME).session() as state:
            with pytest.raises(kvengine.SessionTimeout):
                with other.object(*NAME).session(timeout=0.2):
                    pass
            state.increment("n")
        assert db.object(*NAME).get("n") == 3
