"""The servers that the tests of this folder run against work by themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.postgres.servers import Postgres, answers, wait_until

ROOT = Path(__file__).resolve().parents[2]

# Tests that are killed in the midst of their work.
KILLED_TESTS = """
import sys
from tests.postgres.servers import Keeper, Postgres

keeper = Keeper()
postgres = Postgres(keeper)
print(keeper.directory, postgres.process.pid, flush=True)
sys.stdin.read()
"""


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
        directory, server = tests.stdout.readline().split()
        assert psutil.pid_exists(int(server)) and Path(directory).is_dir()
        tests.kill()
    wait_until(lambda: not psutil.pid_exists(int(server)), 60, "the server runs on")
    wait_until(lambda: not Path(directory).exists(), 60, "the directory is still there")
