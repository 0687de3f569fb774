"""Connections that break around a commit: what is told of it is true, and it is never in twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest

import kvengine
from kvengine.postgres.store import PostgresStore
from kvengine.postgres.writes import Commit, Turn
from tests.postgres.clients import Connect
from tests.postgres.servers import Postgres, wait_until

NAME = ("Cart", "c-1")
OTHER = ("Cart", "c-2")

Verb = Callable[[Any], Any]
Begin = Callable[[Verb, Any], Future[Any]]


@pytest.fixture
def db(database: str, client: Connect) -> Iterator[Any]:
    """A store with two objects."""
    with client(database) as db:
        for name in (NAME, OTHER):
            db.set(*name, "n", b"1")
        yield db


@pytest.fixture
def no_standby(postgres: Postgres) -> Iterator[Callable[[], None]]:
    """A server whose commits wait for a standby that is not there, until this is called."""
    demand_standby(postgres, "absent")

    def give_up() -> None:
        demand_standby(postgres, "")

    yield give_up
    give_up()


def demand_standby(postgres: Postgres, name: str) -> None:
    """Let commits wait until the standby of a name has them; with no name they wait for nobody."""
    postgres.psql(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
    postgres.psql("SELECT pg_reload_conf()")
    wait_until(
        lambda: postgres.psql("SHOW synchronous_standby_names") == [(name,)], 10, "not reloaded"
    )
    # Commits ask the checkpointer whether to wait, which may come to its own reload later.
    postgres.psql("CHECKPOINT")


def schema_of(url: str) -> str:
    return url.partition("kv_schema=")[2]


def waiting(postgres: Postgres, event: str) -> list[int]:
    """Return the processes of clients of kvengine that wait for an event."""
    rows = postgres.psql(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'kvengine'"
        f" AND '{event}' IN (wait_event_type, wait_event)"
    )
    return [row[0] for row in rows]


def signal_waiting(postgres: Postgres, event: str, function: str) -> None:
    """Wait until a client waits for an event, and let the server cancel or terminate that."""
    wait_until(lambda: bool(waiting(postgres, event)), 10, f"nobody waits for {event}")
    (process,) = waiting(postgres, event)
    postgres.psql(f"SELECT {function}({process})")


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Hold the lock of the row of an object."""
    with closing(psycopg.connect(url.partition("?")[0])) as holder:
        holder.execute(
            f"SELECT FROM {schema_of(url)}.objects WHERE service = %s AND key = %s FOR UPDATE",
            tuple(each.encode() for each in NAME),
        )
        yield


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Begins a verb in a thread."""
    with ThreadPoolExecutor(1) as executor:
        yield executor.submit


def set_(db: Any) -> Any:
    return db.set(*NAME, "n", b"2")


def batch(db: Any) -> Any:
    both = kvengine.Batch()
    for name in (NAME, OTHER):
        both.set(*name, "n", b"2")
    return db.write(both)


def expecting(db: Any) -> Any:
    both = kvengine.Batch()
    for name in (NAME, OTHER):
        both.set(*name, "n", b"2")
    return db.write(both, expect={NAME: db.version(*NAME)})


def increment(db: Any) -> Any:
    return db.object(*NAME).increment("n")


def session(db: Any) -> Any:
    with db.object(*NAME).session() as state:
        state.increment("n")


def pop(db: Any) -> Any:
    return db.pop(*NAME, "n")


UNCONDITIONAL = (set_, batch, pop)
CONDITIONAL = (expecting, increment, session)


@pytest.mark.parametrize("verb", UNCONDITIONAL)
def test_an_unconditional_commit_that_broke_off_is_unknown(
    db: Any, database: str, begin: Begin, postgres: Postgres, verb: Verb
) -> None:
    """If the server ends a commit before it is done, OutcomeUnknown says so, and nothing is in."""
    with locked(database):
        future = begin(verb, db)
        signal_waiting(postgres, "Lock", "pg_terminate_backend")
    with pytest.raises(kvengine.OutcomeUnknown):
        future.result(timeout=60)
    assert db.get(*NAME, "n") == b"1"


def test_a_batch_of_unknown_outcome_is_not_written_again(
    db: Any, database: str, begin: Begin, postgres: Postgres
) -> None:
    """It was open again, as one that certainly was not written, and could be applied twice."""
    made = kvengine.Batch()
    made.set(*NAME, "n", b"2")
    with locked(database):
        future = begin(lambda db: db.write(made), db)
        signal_waiting(postgres, "Lock", "pg_terminate_backend")
    with pytest.raises(kvengine.OutcomeUnknown):
        future.result(timeout=60)
    with pytest.raises(kvengine.KVEngineError, match="this batch was written"):
        db.write(made)


@pytest.mark.parametrize("verb", CONDITIONAL)
def test_a_conditional_commit_that_broke_off_is_sent_again(
    db: Any, database: str, begin: Begin, postgres: Postgres, verb: Verb
) -> None:
    """If the server ends a commit that expects a version before it is done, it is sent again."""
    with locked(database):
        future = begin(verb, db)
        signal_waiting(postgres, "Lock", "pg_terminate_backend")
    future.result(timeout=60)
    assert db.get(*NAME, "n") == b"2"


@pytest.mark.parametrize("verb", [set_, batch, session])
def test_a_commit_whose_answer_was_lost_is_found(
    db: Any, begin: Begin, postgres: Postgres, no_standby: Callable[[], None], verb: Verb
) -> None:
    """A commit that is in, but whose answer did not come, is reported as done, and is in once.

    It is so as safe as one that was answered: the verb returns when the standby has it.
    """
    future = begin(verb, db)
    signal_waiting(postgres, "SyncRep", "pg_terminate_backend")
    wait_until(lambda: bool(waiting(postgres, "SyncRep")), 10, "it is not made safe")
    assert not future.done()
    no_standby()
    future.result(timeout=60)
    assert db.get(*NAME, "n") == b"2"


def test_a_pop_whose_answer_was_lost_is_unknown(
    db: Any, begin: Begin, postgres: Postgres, no_standby: Callable[[], None]
) -> None:
    """Nobody can tell any more what a pop has popped, so it is never run again."""
    future = begin(pop, db)
    signal_waiting(postgres, "SyncRep", "pg_terminate_backend")
    no_standby()
    with pytest.raises(kvengine.OutcomeUnknown):
        future.result(timeout=60)
    assert db.get(*NAME, "n") is None


@pytest.mark.parametrize("verb", [set_, pop, session])
def test_a_commit_that_no_standby_has_is_not_acknowledged(
    db: Any, begin: Begin, postgres: Postgres, no_standby: Callable[[], None], verb: Verb
) -> None:
    """If the wait for a standby is cancelled, the server has the commit and a failover loses it.

    The server answers as ever, with a warning. The caller gets OutcomeUnknown.
    """
    future = begin(verb, db)
    signal_waiting(postgres, "SyncRep", "pg_cancel_backend")
    with pytest.raises(kvengine.OutcomeUnknown, match="standby"):
        future.result(timeout=60)
    no_standby()
    db.set(*NAME, "n", b"3")  # what was said of one commit is not said of the next


def test_an_outcome_is_unknown_if_no_server_can_be_asked(
    database: str, begin: Begin, postgres: Postgres, client: Connect
) -> None:
    """If the server that had a commit is gone for longer than the timeout, nobody can tell."""
    with client(database, timeout=1.0) as db:
        db.set(*NAME, "n", b"1")
        with locked(database):
            future = begin(set_, db)
            wait_until(lambda: bool(waiting(postgres, "Lock")), 10, "it waits for no lock")
            postgres.stop("kill")
            with pytest.raises(kvengine.OutcomeUnknown):
                future.result(timeout=60)


def test_an_outcome_stays_unknown_if_the_server_refuses_to_tell(
    database: str, begin: Begin, postgres: Postgres, client: Connect
) -> None:
    """If the look whether a commit is in fails in its turn, the outcome of the commit is unknown.

    The error of the look says that nothing was written, which is true of the look alone.
    """
    with client(f"{database}&options=-c%20statement_timeout%3D1s") as db:
        db.set(*NAME, "n", b"1")
        with locked(database):
            future = begin(expecting, db)
            signal_waiting(postgres, "Lock", "pg_terminate_backend")
            with pytest.raises(kvengine.OutcomeUnknown):
                future.result(timeout=60)


def lose_answer(db: PostgresStore, commit: Commit[int]) -> None:
    """Commit, and forget that there was an answer."""
    db.run(commit)
    commit.lost = psycopg.OperationalError("the connection is lost")


def test_a_commit_to_an_absent_object_is_not_applied_twice(database: str) -> None:
    """If an object is absent, a lost commit may have made it all the same: it may be gone again."""
    with kvengine.connect(database) as db:
        made = kvengine.Batch()
        made.set(*NAME, "n", b"1")
        commit = db.client.batch_commit(made, {NAME: 0}, None)
        lose_answer(db, commit)
        db.clear_all(*NAME)
        with pytest.raises(kvengine.OutcomeUnknown):
            db.run(commit)
        assert not db.exists(*NAME)


def test_a_session_that_gave_its_turn_back_with_a_lost_answer_is_unknown(database: str) -> None:
    """A commit that gave its turn back may be in, also if another client has the object since.

    To say SessionLost would be to say that nothing was written.
    """
    with kvengine.connect(database) as db, kvengine.connect(database) as other:
        db.set(*NAME, "n", b"1")
        with db.object(*NAME).session():
            place = db.client.claims.place(NAME)
            assert place is not None
            changed = kvengine.Batch()
            changed.set(*NAME, "n", b"2")
            version = db.version(*NAME)
            commit = db.client.batch_commit(changed, {NAME: version}, None, Turn(place, True))
            lose_answer(db, commit)
            with other.object(*NAME).session() as state:
                state.increment("n")
                state.commit()
                with pytest.raises(kvengine.OutcomeUnknown):
                    db.run(commit)
        assert db.get(*NAME, "n") == b"3"
