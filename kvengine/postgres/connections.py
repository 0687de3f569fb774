"""Connections: a pool, and running scripts on it, again if a server fails or has to be left.

Outside of a snapshot nothing is kept between statements: a statement is a transaction, each takes a
connection from the pool for itself, and so it works through a pooler that hands out servers by
transaction (pgbouncer). Statements are prepared only on connections that are the server's own.
"""

from __future__ import annotations

import random
import select
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg import errors
from psycopg.types.numeric import Int8BinaryDumper
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from kvengine.errors import DatabaseClosed, KVEngineError, PoolExhausted, Unavailable
from kvengine.postgres import failures
from kvengine.postgres.address import Address
from kvengine.postgres.scripts import Rows, Script
from kvengine.real_time import monotonic

if TYPE_CHECKING:
    from kvengine.postgres.writes import Commit, Pop

T = TypeVar("T")

Connection = psycopg.Connection[Any]

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
"""Seconds between attempts."""

_SLICE = 1.0
"""Seconds that the pool is waited for at a time: only who asks makes it try to connect again."""


class Patience:
    """Attempts until a time, with pauses between that grow."""

    def __init__(self, timeout: float) -> None:
        self._end = monotonic() + timeout
        self._pause = _FIRST_PAUSE

    @property
    def left(self) -> float:
        """Return the seconds that are left."""
        return max(self._end - monotonic(), 0.0)

    def pause(self) -> float | None:
        """Return how long to wait before the next attempt; None if there is to be none."""
        seconds = random.uniform(0.5, 1) * self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        return seconds if seconds < self.left else None


def configure(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Give a new connection what all need: one form for every int, so that plans are shared."""
    connection.adapters.register_dumper(int, Int8BinaryDumper)


def is_direct(connection: Any, pid: int) -> bool:
    """Return whether the connection is a server's own; ``pid``: of the server that answered.

    A pooler makes up the process that it tells its clients to cancel.
    """
    found: int = connection.info.backend_pid
    return found == pid


class Connections:
    """The connections of one open store. Thread-safe."""

    def __init__(self, address: Address, *, most: int, timeout: float) -> None:
        self.address = address
        self.timeout = timeout
        self._pool = ConnectionPool(
            address.conninfo,
            kwargs={"autocommit": True},
            min_size=0,
            max_size=most,
            timeout=timeout,
            max_idle=300.0,
            configure=self._configure,
            open=False,
            name="kvengine",
            reconnect_timeout=0.1,  # the attempts are made here
            connection_class=psycopg.Connection,
        )
        self._closed = False

    def _configure(self, connection: Connection) -> None:
        configure(connection)
        row = connection.execute("SELECT pg_backend_pid()", prepare=False).fetchone()
        if row is None or not is_direct(connection, row[0]):
            connection.prepare_threshold = None
        else:
            connection.prepare_threshold = 0

    def connect(self) -> Connection:
        """Return a connection that is nobody else's, to be closed by the caller.

        Raise BadAddress, AccessDenied or Unavailable if there is none to be had.
        """
        try:
            connection = psycopg.connect(self.address.conninfo, autocommit=True)
            self._configure(connection)
        except psycopg.Error as error:
            raise failures.refused(error, self.address.shown) from error
        return connection

    def run(self, work: Callable[[], Script[T]], commit: Commit | Pop | None = None) -> T:
        """Run a script, and return its answer; again, if a server fails, until ``timeout``.

        ``commit``: what the script commits, if anything. Its answer may be lost, and then it must
        find out what came of it. Raise what kvengine calls the driver's errors (failures.py).
        """
        patience = Patience(self.timeout)
        while True:
            connection = self._take(patience)
            try:
                return drive(connection, work())
            except psycopg.Error as error:
                failed = error
                self._judge(error, connection, commit)
            finally:
                self._pool.putconn(connection)
            pause = patience.pause()
            if pause is None:
                raise self._gave_up(failed, commit) from failed
            time.sleep(pause)

    def _judge(
        self, error: psycopg.Error, connection: Connection, commit: Commit | Pop | None
    ) -> None:
        """Return if there is to be another attempt; raise an error of kvengine if there is not."""
        if failures.is_unprepared(error):
            connection.prepare_threshold = None
        elif failures.is_broken(error):
            connection.close()
            if commit is not None:
                commit.lost = error
        elif not failures.is_retryable(error):
            raise failures.translated(error, self.address.shown) from error
        elif isinstance(error, errors.ReadOnlySqlTransaction):
            connection.close()  # a server that was demoted: another one has been promoted

    def _gave_up(self, error: psycopg.Error, commit: Commit | Pop | None) -> KVEngineError:
        if commit is not None and commit.lost is not None:
            return failures.unknown(commit.lost)
        return failures.translated(error, self.address.shown)

    def _take(self, patience: Patience) -> Connection:
        """Return a connection of the pool that looks alive.

        Raise PoolExhausted, or why there is none. The pool does not tell: if it has no connection
        for a while, one is made here.
        """
        while True:
            try:
                connection = self._pool.getconn(timeout=min(_SLICE, max(patience.left, 0.001)))
            except PoolClosed:
                raise DatabaseClosed("this database is closed") from None
            except PoolTimeout:
                if patience.left:
                    continue
                if self._pool.get_stats().get("pool_size", 0) >= self._pool.max_size:
                    raise PoolExhausted(
                        f"{self.address.shown}: all {self._pool.max_size} connections were in use"
                        f" for {self.timeout:g} s; allow more by pool_size="
                    ) from None
                self.connect().close()
                raise Unavailable(f"{self.address.shown}: no connection within the time") from None
            if not is_stale(connection):
                return connection
            connection.close()
            self._pool.putconn(connection)

    def open(self) -> None:
        self._pool.open()

    def close(self) -> None:
        """Close the connections; those that are in use when they are given back."""
        self._closed = True
        self._pool.close(timeout=2.0)


def is_stale(connection: Any) -> bool:
    """Return whether the server has said something, or hung up, while nobody asked.

    A failover leaves a pool full of these. To send a commit on one would leave its outcome open.
    """
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def drive(connection: Connection, script: Script[T]) -> T:
    """Run a script on one connection."""
    cursor = connection.cursor(binary=True)
    try:
        statement = next(script)
        while True:
            cursor.execute(statement.text, statement.values)
            rows: Rows = cursor.fetchall() if cursor.description else []
            statement = script.send(rows)
    except StopIteration as stop:
        answer: T = stop.value
        return answer
