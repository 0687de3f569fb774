"""What goes wrong between a client and its server: each has an error of kvengine's own."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest

import kvengine
import kvengine.aio
from kvengine.postgres import migrations
from kvengine.postgres.address import parse
from kvengine.postgres.clock import ServerClock
from kvengine.testing import blocking
from tests.postgres.servers import Postgres

Connect = Callable[..., kvengine.Store]


@pytest.fixture(params=["threads", "tasks"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Connect in either way, and close what was opened after the test."""
    with ExitStack() as stack:

        def run(url: str, **options: Any) -> kvengine.Store:
            if request.param == "threads":
                return stack.enter_context(kvengine.connect(url, **options))
            return stack.enter_context(blocking(kvengine.aio.connect(url, **options)))

        yield run


def schema_of(url: str) -> str:
    return url.rpartition("=")[2]


def admin(postgres: Postgres) -> psycopg.Connection:
    return psycopg.connect(postgres.url, autocommit=True)


@pytest.fixture
def role(postgres: Postgres) -> Iterator[str]:
    """A user who may do nothing but log in, with a password."""
    name = f"role_{os.getpid()}_{time.monotonic_ns()}"
    postgres.start()
    postgres.psql(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
    yield name
    postgres.psql(f"DROP OWNED BY {name}; DROP ROLE {name}")


@contextmanager
def refuses(kind: type[kvengine.KVEngineError], *words: str) -> Iterator[None]:
    """The error is kvengine's own, one line that says these words and no password."""
    with pytest.raises(kind) as raised:
        yield
    said = str(raised.value)
    assert "\n" not in said and "secret" not in said
    assert [word for word in words if word not in said] == [], said


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "it is empty: name a directory or a PostgreSQL URL"),
        ("mysql://host/db", "not a PostgreSQL URL"),
        ("postgresql://u:secret@host/db?kv_shema=x", "no such parameter: kv_shema"),
        ("postgresql://u:secret@host/db?kv_schema=", "kv_schema must be"),
        ("postgresql://u:secret@host/db?kv_schema=Caps", "kv_schema must be"),
        ("postgresql://u:secret@host/db?kv_schema=a;drop", "kv_schema must be"),
        ("postgresql://u:secret@host/db?kv_schema=pg_kv", "kv_schema must be"),
        ("postgresql://u:secret@host:port/db", "postgresql://u:***@host:port/db"),
        ("postgresql://u:secret@127.0.0.1/db?no_such_setting=1", "no_such_setting"),
    ],
)
def test_an_address_that_is_none(connect: Connect, url: str, says: str) -> None:
    """BadAddress, which is a ValueError too."""
    with refuses(kvengine.BadAddress, says):
        connect(url)
    assert issubclass(kvengine.BadAddress, ValueError)


def test_what_an_address_comes_to() -> None:
    """What the URL says is kept, hosts in the query too; no password is shown."""
    found = parse("postgresql:///db?host=/run/a,/run/b&password=secret&kv_schema=s")
    assert found.conninfo.startswith("postgresql:///db?")
    assert "target_session_attrs=read-write" in found.conninfo and "kv_schema" not in found.conninfo
    assert found.schema == "s" and "secret" not in found.shown and "secret" in found.conninfo
    found = parse("postgresql://h/db?password=a+b%20c")
    assert "password=a%2Bb%20c" in found.conninfo, "a plus is no space"
    found = parse("postgresql://u:se@cret@h1,[::1]:5433/db?connect_timeout=3", read_only=True)
    assert "target_session_attrs=prefer-standby" in found.conninfo and "cret" not in found.shown
    assert "connect_timeout=3" in found.conninfo and found.schema == "kvengine"


def test_a_schema_that_is_a_word_of_sql(postgres: Postgres) -> None:
    """Any name that kv_schema takes will do."""
    postgres.start()
    postgres.psql('DROP SCHEMA IF EXISTS "user" CASCADE')
    try:
        with kvengine.connect(f"{postgres.url}?kv_schema=user") as db:
            db.set("S", "k", "n", b"v")
            with db.object("S", "k").session() as state:
                state.set("m", 1)
            assert [each.key for each in db.scan()] == ["k"]
            assert db.stats().bytes_on_disk > 0
    finally:
        postgres.psql('DROP SCHEMA IF EXISTS "user" CASCADE')


@pytest.mark.parametrize("version", [2**70, -(2**70)])
def test_a_version_that_no_object_can_have(database: str, version: int) -> None:
    """VersionConflict, as for any other version that an object does not have."""
    with kvengine.connect(database) as db:
        db.set("S", "k", "n", b"v")
        for others in ("k", "l"):
            batch = kvengine.Batch()
            batch.set("S", others, "n", b"w")
            with pytest.raises(kvengine.VersionConflict, match=str(version)):
                db.write(batch, expect={("S", "k"): version})
        assert db.get("S", "k", "n") == b"v" and not db.exists("S", "l")


def test_arguments_that_make_no_sense(connect: Connect, database: str) -> None:
    """TypeError or ValueError, as for `open`."""
    for options in ({"pool_size": 0}, {"timeout": 0}, {"lease": -1}, {"durability": "fast"}):
        with pytest.raises(ValueError, match=next(iter(options))):
            connect(database, **options)
    for options in ({"pool_size": "x"}, {"timeout": "x"}, {"create": 1}):
        with pytest.raises(TypeError, match=next(iter(options))):
            connect(database, **options)


def test_nobody_is_there(connect: Connect) -> None:
    """Unavailable at once: whoever connects is there to see it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with refuses(kvengine.Unavailable, f"127.0.0.1:{port}"):
        connect(f"postgresql://u@127.0.0.1:{port}/db")


def test_no_such_database_or_user(connect: Connect, postgres: Postgres, database: str) -> None:
    """The message says which of the two, and AccessDenied stands for a user."""
    with refuses(kvengine.BadAddress, 'database "nowhere" does not exist'):
        connect(postgres.url.rpartition("/")[0] + "/nowhere")
    with refuses(kvengine.AccessDenied, 'role "nobody_here" does not exist'):
        connect(database.replace("//postgres@", "//nobody_here@"))


def test_a_user_who_may_make_no_schema(
    connect: Connect, database: str, role: str, postgres: Postgres
) -> None:
    """AccessDenied, and the message says what to do."""
    with refuses(kvengine.AccessDenied, "permission denied for database", "grant it"):
        connect(database.replace("//postgres@", f"//{role}:secret@"))


def test_a_user_who_may_only_read(
    connect: Connect, database: str, role: str, postgres: Postgres
) -> None:
    """Reads work, and a write is AccessDenied."""
    connect(database).set("S", "k", "n", b"v")
    schema = schema_of(database)
    postgres.psql(
        f"GRANT USAGE ON SCHEMA {schema} TO {role};"
        f" GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}"
    )
    reader = connect(database.replace("//postgres@", f"//{role}:secret@"))
    assert reader.get("S", "k", "n") == b"v" and list(reader.scan("S"))
    with refuses(kvengine.AccessDenied, "permission denied for table objects"):
        reader.set("S", "k", "n", b"w")
    assert reader.get("S", "k", "n") == b"v"


def test_a_schema_of_a_later_release(connect: Connect, database: str, postgres: Postgres) -> None:
    """It is refused, and left as it is."""
    connect(database).set("S", "k", "n", b"v")
    postgres.psql(f"UPDATE {schema_of(database)}.schema_version SET version = 99")
    with refuses(kvengine.UnsupportedFormat, "later release", "version 99"):
        connect(database)


def test_a_schema_that_is_not_there(connect: Connect, database: str) -> None:
    """With create=False nothing is made."""
    with refuses(kvengine.NotADatabase, schema_of(database)):
        connect(database, create=False)
    with refuses(kvengine.NotADatabase, schema_of(database)):
        connect(database, create=False)


def test_a_schema_that_is_dropped_meanwhile(
    connect: Connect, database: str, postgres: Postgres
) -> None:
    """Unavailable, and the message says how to have one again."""
    db = connect(database)
    postgres.psql(f"DROP SCHEMA {schema_of(database)} CASCADE")
    for verb in (lambda: db.get("S", "k", "n"), lambda: db.set("S", "k", "n", b"v")):
        with refuses(kvengine.Unavailable, "was the schema dropped?"):
            verb()


def test_a_server_that_is_too_old(
    connect: Connect, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says which version is there, and which is needed."""
    monkeypatch.setattr(migrations, "OLDEST_SERVER", 990_000)
    with refuses(kvengine.UnsupportedFormat, "the server is PostgreSQL", "needs 99 or newer"):
        connect(database)


def test_many_clients_begin_at_once(database: str) -> None:
    """One of them makes the schema, and all of them find it."""
    failed: list[BaseException] = []

    def begin() -> None:
        try:
            with kvengine.connect(database) as db:
                db.set("S", "k", "n", b"v")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


@contextmanager
def locked(postgres: Postgres, database: str) -> Iterator[None]:
    """The row of object ("S", "k") is locked by somebody else for the time of the block."""
    with admin(postgres) as other, other.transaction():
        other.execute(
            f"SELECT FROM {schema_of(database)}.objects WHERE key = %s FOR UPDATE", (b"k",)
        )
        yield


def test_a_statement_that_the_server_gives_up(
    connect: Connect, database: str, postgres: Postgres
) -> None:
    """StatementTimeout, which is a TimeoutError, and nothing is written."""
    db = connect(database + "&options=-c%20statement_timeout%3D200")
    db.set("S", "k", "n", b"v")
    with locked(postgres, database):
        with refuses(kvengine.StatementTimeout, "statement timeout", "nothing was written"):
            db.set("S", "k", "n", b"w")
    assert db.get("S", "k", "n") == b"v"
    assert issubclass(kvengine.StatementTimeout, TimeoutError)
    db.set("S", "k", "n", b"x")
    assert db.get("S", "k", "n") == b"x"


def test_all_connections_are_in_use(connect: Connect, database: str, postgres: Postgres) -> None:
    """PoolExhausted after ``timeout``, and the message names the option."""
    db = connect(database, pool_size=1, timeout=0.5)
    db.set("S", "k", "n", b"v")
    with locked(postgres, database):
        writer = threading.Thread(target=db.set, args=("S", "k", "n", b"w"))
        writer.start()
        until = time.monotonic() + 10
        with admin(postgres) as other:
            while time.monotonic() < until:
                (waiting,) = other.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                ).fetchone() or (0,)
                if waiting:
                    break
                time.sleep(0.01)
        with refuses(kvengine.PoolExhausted, "all 1 connections", "pool_size="):
            db.get("S", "other", "n")
    writer.join()
    assert db.get("S", "k", "n") == b"w"


def test_tasks_queue_up_before_the_pool(postgres: Postgres, database: str) -> None:
    """As many ask it as it has connections: where thousands did, most ended with PoolExhausted."""

    async def main() -> None:
        async with kvengine.aio.connect(database, pool_size=2) as db:
            await db.set("S", "k", "n", b"v")
            with psycopg.connect(postgres.url) as other:
                other.execute(f"SELECT FROM {schema_of(database)}.objects FOR UPDATE")
                writers = [asyncio.create_task(db.set("S", "k", f"{n}", b"w")) for n in range(50)]
                until = time.monotonic() + 60
                busy = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                while postgres.psql(busy) != [(2,)]:
                    assert time.monotonic() < until
                    await asyncio.sleep(0.01)
                assert not db._connections._pool.get_stats().get("requests_waiting")
            await asyncio.gather(*writers)
            assert len(await db.get_all("S", "k")) == 51

    asyncio.run(main())


def step(postgres: Postgres, database: str, seconds: float) -> None:
    """Let the clock of the server show another time."""
    for name, source in (("clock", "clock_timestamp()"), ("moment", "now()")):
        postgres.psql(
            f"CREATE OR REPLACE FUNCTION {schema_of(database)}.{name}() RETURNS bigint"
            f" LANGUAGE sql {'VOLATILE' if name == 'clock' else 'STABLE'} AS $$ SELECT"
            f" ((extract(epoch FROM {source}) + {seconds}) * 1000000)::bigint $$"
        )


@pytest.mark.parametrize("back", [-5.0, -7200.0, 7200.0])
def test_the_clock_of_the_server_steps(
    connect: Connect, database: str, postgres: Postgres, back: float
) -> None:
    """No version falls, what has expired stays so, and what lives is not wiped.

    A little back, time stands still for who is connected. A large step, either way, is not
    believed.
    """
    db = connect(database)
    versions = [db.set("S", "k", "n", b"v"), db.set("S", "lives", "n", b"v", ttl=3600)]
    db.set("S", "gone", "n", b"v", ttl=0.05)
    db.set("S", "gone too", "n", b"v")
    db.expire("S", "gone too", ttl=0.05)
    time.sleep(0.1)
    assert db.get_all("S", "gone") == {} and not db.exists("S", "gone too")
    step(postgres, database, back)
    assert db.get_all("S", "gone") == {} and not db.exists("S", "gone too")
    assert db.get("S", "lives", "n") == b"v"
    versions.append(db.set("S", "k", "n", b"w"))
    versions.append(db.set("S", "lives", "m", b"w"))
    assert versions[0] < versions[2] and versions[1] < versions[3]
    assert versions[2] - versions[0] < 3600 * 1_000_000, "a wrong clock drags versions along"
    db.set("S", "gone too", "m", b"new")
    assert db.get_all("S", "gone too") == {"m": b"new"}
    assert db.get_all("S", "lives") == {"m": b"w", "n": b"v"}


def test_an_answer_that_waited_tells_no_time(postgres: Postgres, database: str) -> None:
    """Its time was taken at its end, and a client took it for that of the beginning.

    It was ahead by the wait then, for good if that was over a minute. And the server took a wait of
    over a minute for a step of its clock, and wrote with the time at which the wait began.
    """
    schema = schema_of(database)
    with kvengine.connect(database) as db, psycopg.connect(postgres.url) as other:
        db.set("S", "k", "n", b"v")
        db.client.clock = clock = ServerClock()  # as of a client that has asked nothing yet
        other.execute(f"SELECT FROM {schema}.objects FOR UPDATE")
        writer = threading.Thread(target=db.set, args=("S", "k", "n", b"w"))
        writer.start()
        time.sleep(1.1)
        other.rollback()
        writer.join()
        assert clock.bounds().floor is not None and clock.bounds().estimate is None
        db.set("S", "k", "n", b"w")
        assert clock.bounds().estimate is not None
    almost_a_minute_ago = int((time.time() - 59.8) * 1_000_000)
    query = f"SELECT {schema}.now_for(0, {almost_a_minute_ago}) FROM pg_sleep(0.4)"
    assert postgres.psql(query)[0][0] > almost_a_minute_ago + 60_000_000


def test_a_forked_child_is_refused(database: str) -> None:
    """It would share the sockets of its parent. It may connect by itself."""
    with kvengine.connect(database) as db:
        db.set("S", "k", "n", b"v")
        child = os.fork()
        if not child:
            try:
                db.get("S", "k", "n")
            except kvengine.ForkedError:
                os._exit(7)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert db.get("S", "k", "n") == b"v"


def test_a_store_that_only_reads(connect: Connect, database: str) -> None:
    """It reads, and in read-only sessions; every write is ReadOnly, and nothing is made."""
    with refuses(kvengine.NotADatabase, schema_of(database)):
        connect(database, read_only=True)
    writer = connect(database, retention={"S": 60})
    writer.set("S", "k", "n", b"1")
    db: Any = connect(database, read_only=True)
    assert db.get("S", "k", "n") == b"1" and db.staleness() == 0
    with db.snapshot() as snapshot:
        assert [found.key for found in snapshot.scan("S")] == ["k"]
    with db.object("S", "k").session(read_only=True) as state:
        assert state.get("n") == 1
    batch = kvengine.Batch()
    batch.set("S", "k", "n", b"2")
    uses: list[Callable[[], object]] = [
        lambda: db.set("S", "k", "n", b"2"),
        lambda: db.pop("S", "k", "n"),
        lambda: db.expire("S", "k", ttl=5),
        lambda: db.clear_service("S"),
        lambda: db.write(batch),
        lambda: db.set_retention("S", 5),
        lambda: db.watch("S"),
        lambda: db.object("S", "k").session().__enter__(),
    ]
    for use in uses:
        with refuses(kvengine.ReadOnly, "read_only=True"):
            use()
    assert writer.get_all("S", "k") == {"n": b"1"}


@pytest.mark.parametrize("missing", ["psycopg", "psycopg_pool"])
@pytest.mark.parametrize("module", ["kvengine", "kvengine.aio"])
def test_without_the_extra(missing: str, module: str) -> None:
    """The error says what to install, and a directory needs none of it."""
    program = (
        f"import sys, {module} as kv; sys.modules[{missing!r}] = None\n"
        "try: kv.connect('postgresql://host/db')\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "a PostgreSQL URL needs: pip install 'kvengine[postgres]'\n"
