"""Servers for the tests of this folder, each started when the first test asks for it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

import pytest

pytest.importorskip("psycopg", reason="the back end needs psycopg: pip install kvengine[postgres]")
pytest.importorskip("psutil", reason="its tests need psutil: pip install kvengine[test]")

import psycopg

import kvengine
from tests.postgres.clients import CLIENTS, Connect
from tests.postgres.cluster import Cluster
from tests.postgres.servers import Keeper, PgBouncer, Postgres


@pytest.fixture(scope="session", autouse=True)
def no_settings_of_the_user() -> Iterator[None]:
    """Drop PGHOST, PGOPTIONS and the like, which libpq and the servers would read."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in os.environ:
            if name.startswith(("PG", "PATRONI_", "ETCD_")):
                monkeypatch.delenv(name)
        yield


@pytest.fixture(scope="session")
def keeper(no_settings_of_the_user: None) -> Iterator[Keeper]:
    """The directory and the processes of all servers of this worker."""
    keeper = Keeper()
    yield keeper
    keeper.close()


@pytest.fixture(scope="session")
def postgres(keeper: Keeper) -> Postgres:
    """One server for all tests. A test that stops it may leave it stopped: `database` starts it."""
    return Postgres(keeper)


@pytest.fixture(scope="session")
def pgbouncer(keeper: Keeper, postgres: Postgres) -> PgBouncer:
    """A pgbouncer in front of that server, in transaction pooling mode."""
    postgres.start()
    return PgBouncer(keeper, postgres)


@pytest.fixture
def database(postgres: Postgres) -> Iterator[str]:
    """The URL of a schema that does not exist yet; it is dropped after the test."""
    postgres.start()
    schema = f"kv_{secrets.token_hex(8)}"
    yield f"{postgres.url}?kv_schema={schema}"
    postgres.start()
    postgres.psql(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> Connect:
    """Connects a store of either kind."""
    return CLIENTS[request.param]


@pytest.fixture(scope="module")
def started_cluster(keeper: Keeper) -> Iterator[Cluster]:
    """The cluster that `cluster` mends for each test; it takes ten seconds to start.

    It does not outlive its module: what its processes do all the time would slow other tests.
    """
    cluster = Cluster(keeper)
    yield cluster
    cluster.stop()


@pytest.fixture
def cluster(started_cluster: Cluster) -> Cluster:
    """Three servers under Patroni, of which one takes writes; all are there when a test begins."""
    for node in started_cluster.nodes:
        started_cluster.revive(node)
    started_cluster.wait_healthy()
    return started_cluster


@pytest.fixture(scope="session")
def contract_schema(postgres: Postgres) -> Iterator[str]:
    """The URL of one schema for many tests."""
    postgres.start()
    url = f"{postgres.url}?kv_schema=kv_contract"
    kvengine.connect(url).close()
    yield url
    postgres.start()
    postgres.psql("DROP SCHEMA kv_contract CASCADE")


@pytest.fixture(scope="module")
def emptying(postgres: Postgres, contract_schema: str) -> Iterator[psycopg.Connection]:
    """A connection of its own: one for each test would take longer than what it does."""
    postgres.start()  # a test before may have left it stopped
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def empty_database(contract_schema: str, emptying: psycopg.Connection) -> str:
    """The URL of a schema that is empty: ten times as fast as one that is made for the test."""
    tables = ("objects", "entries", "retentions", "clients", "claims", "watchers", "changes")
    emptying.execute("; ".join(f"DELETE FROM kv_contract.{table}" for table in tables).encode())
    return contract_schema
