"""The servers that the tests of this folder run against work by themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.postgres.servers import PgBouncer, Postgres, answers, wait_until

ROOT = Path(__file__).resolve().parents[2]

# Tests that are killed while servers run, one of them a daemon.
KILLED_TESTS = """
import sys
from tests.postgres.servers import Keeper, Postgres

keeper = Keeper()
keeper.start(["sh", "-c", "setsid --fork sleep 600; sleep 600"], keeper.directory / "daemon.log")
postgres = Postgres(keeper)
print(keeper.directory, flush=True)
sys.stdin.read()
"""


def working_in(directory: str) -> list[str]:
    """Return the names of the processes that work in a directory or below it."""
    processes = psutil.process_iter(["name", "cwd"])
    return [each.info["name"] for each in processes if directory in (each.info["cwd"] or "")]


@pytest.mark.parametrize("mode", ["fast", "immediate", "kill"])
def test_a_server_keeps_its_rows_and_its_url_when_it_is_restarted(
    postgres: Postgres, database: str, mode: str
) -> None:
    """However the server ends, it comes back at the same URL with what was committed."""
    schema = database.partition("kv_schema=")[2]
    postgres.psql(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.kept AS SELECT 7 AS number")
    postgres.stop(mode)
    assert not answers(postgres.url)
    postgres.start()
    assert postgres.psql(f"SELECT number FROM {schema}.kept") == [(7,)]


def test_a_server_listens_on_loopback_alone(postgres: Postgres, database: str) -> None:
    """No other machine reaches the server."""
    connections = postgres.process.net_connections("inet")
    listening = {each.laddr for each in connections if each.status == psutil.CONN_LISTEN}
    assert listening == {("127.0.0.1", postgres.port)}


def test_servers_end_with_killed_tests() -> None:
    """When the tests are killed, their servers end and the directory is removed."""
    arguments = [sys.executable, "-c", KILLED_TESTS]
    with subprocess.Popen(
        arguments, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as tests:
        assert tests.stdout is not None
        directory = tests.stdout.readline().strip()
        assert directory
        servers = {"postgres", "sleep"}
        wait_until(lambda: servers <= set(working_in(directory)), 60, "a server does not start")
        tests.kill()
    wait_until(lambda: not Path(directory).exists(), 60, "the directory is still there")
    assert working_in(directory) == []


def test_clients_of_pgbouncer_share_a_connection(database: str, pgbouncer: PgBouncer) -> None:
    """Between two transactions a client of pgbouncer gives its connection to others."""
    with psycopg.connect(pgbouncer.url) as first, psycopg.connect(pgbouncer.url) as second:
        backends = []
        for client in (first, second, first):
            with client.transaction():
                backends.append(client.execute("SELECT pg_backend_pid()").fetchall())
    assert backends[0] == backends[1] == backends[2]
