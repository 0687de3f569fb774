"""Connections: a pool, and running scripts on it, again if a server fails or has to be left.

Outside of a snapshot nothing is kept between statements: a statement is a transaction, each takes a
connection from the pool for itself, and so it works through a pooler that hands out servers by
transaction (pgbouncer). Statements are prepared only on connections that are the server's own.
"""

from __future__ import annotations

import logging
import random
import select
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Self, TypeVar

import psycopg
from psycopg import errors
from psycopg.types.numeric import Int8BinaryDumper
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from kvengine.errors import (
    DatabaseClosed,
    KVEngineError,
    OutcomeUnknown,
    PoolExhausted,
    Unavailable,
)
from kvengine.postgres import failures
from kvengine.postgres.address import Address
from kvengine.postgres.scripts import Rows, Script
from kvengine.postgres.writes import Sent
from kvengine.real_time import monotonic

log: logging.Logger = logging.getLogger("kvengine")

T = TypeVar("T")


class Pooled:
    """What connections of both kinds have in common."""

    unconfirmed: list[str]

    def __del__(self, warn: object = None, /) -> None:
        """Say nothing, unlike the driver: its owner warns if that was never closed."""


class Connection(Pooled, psycopg.Connection[Any]):
    """A connection of a pool. ``verbs``: the cursor of the verbs that use it in turn.

    A new cursor for each verb would cost a tenth of a read more. ``unconfirmed``: what the server
    said of commits for which it did not wait until its standbys have them.
    """

    verbs: psycopg.Cursor[Any]

    @classmethod
    def connect(cls, conninfo: str = "", **options: Any) -> Self:
        """Connect. ``refused``: called with the error if that fails; the pool tells nobody."""
        refused = options.pop("refused", None)
        try:
            return super().connect(conninfo, **options)
        except psycopg.Error as error:
            if refused is not None:
                refused(error)
            raise


_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
"""Seconds between attempts."""

IDLE = 300.0
"""Seconds after which a connection that nobody uses is closed."""

RECONNECT = 0.1
"""Seconds for which the pool itself tries to connect again: attempts are made here."""

SLICE = 0.25
"""Seconds that the pool is waited for at a time: only who asks makes it try to connect again."""

POOLS = ("kvengine", "kvengine-aio")
"""The names of pools: of threads, and of tasks."""


def _is_told_otherwise(record: logging.LogRecord) -> bool:
    """Return False for what the pools here log of every attempt: `Attempts` tells of an outage."""
    about = record.args[0] if isinstance(record.args, tuple) and record.args else None
    return not (isinstance(about, Pooled) or about in POOLS)


logging.getLogger("psycopg.pool").addFilter(_is_told_otherwise)


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


OWN_PROCESS = "SELECT pg_backend_pid()"


def prepare(connection: Any, rows: Rows) -> None:
    """Make a new connection ready; ``rows``: of `OWN_PROCESS`, asked on it.

    Each int is sent in one form, so that plans are shared. Statements are prepared if the
    connection is the server's own: a pooler makes up the process that it tells its clients of.
    """
    connection.adapters.register_dumper(int, Int8BinaryDumper)
    is_direct = connection.info.backend_pid == rows[0][0]
    connection.prepare_threshold = 0 if is_direct else None
    connection.verbs = connection.cursor(binary=True)
    connection.unconfirmed = []
    connection.add_notice_handler(partial(failures.note_unconfirmed, connection.unconfirmed))


class Attempts:
    """What is to be done about a failure, for those who block and those who await.

    A new attempt, and at the end an error of kvengine.
    """

    def __init__(self, address: Address, *, most: int, timeout: float) -> None:
        """``most``: connections; ``timeout``: seconds for which a verb tries again."""
        self.address: Address = address
        self.timeout: float = timeout
        self._most = most
        self._refusal: psycopg.Error | None = None
        self._lock = threading.Lock()  # several threads of a pool connect

    def _refused(self, error: psycopg.Error) -> None:
        """Note why there is no connection; log the first of attempts that fail in a row."""
        with self._lock:
            before, self._refusal = self._refusal, error
        if before is None:
            log.warning("%s", failures.refused(error, self.address.shown))

    def _connected(self) -> None:
        """Note that there is a connection."""
        with self._lock:
            before, self._refusal = self._refusal, None
        if before is not None:
            log.info("%s: connected again", self.address.shown)

    def _unavailable(self, stats: Mapping[str, int]) -> KVEngineError:
        """Return the error for a pool that had no connection in all the time; ``stats``: of it."""
        shown = self.address.shown
        refusal = self._refusal
        if refusal is not None:
            return failures.refused(refusal, shown)
        if stats.get("pool_size", 0) < self._most:
            return Unavailable(f"{shown}: no server has answered in {self.timeout:g} s")
        return PoolExhausted(
            f"{shown}: all {self._most} connections were in use for {self.timeout:g} s; allow more"
            " by pool_size="
        )

    def _judge(self, error: psycopg.Error, connection: Any, work: object) -> None:
        """Return if there is to be another attempt; raise an error of kvengine if there is not."""
        if failures.is_unprepared(error):
            connection.prepare_threshold = None
        elif failures.is_broken(error):
            connection.pgconn.finish()
            if isinstance(work, Sent):
                work.lost = error
        elif not failures.is_retryable(error):
            raise failures.translated(error, self.address.shown) from error
        elif isinstance(error, errors.ReadOnlySqlTransaction):
            connection.pgconn.finish()  # a server that was demoted: another one was promoted

    def _confirm(self, connection: Any, work: object) -> None:
        """Raise OutcomeUnknown if a commit was answered that the standbys may not have."""
        if connection.unconfirmed and isinstance(work, Sent):
            raise failures.unconfirmed(connection.unconfirmed[0])

    def _pause(self, patience: Patience, error: psycopg.Error) -> float:
        """Return the seconds to wait before the next attempt; raise if there is to be none."""
        pause = patience.pause()
        if pause is None:
            raise failures.translated(error, self.address.shown) from error
        return pause

    def _check_known(self, error: KVEngineError, work: object) -> None:
        """Raise OutcomeUnknown if ``error`` is of a later attempt than one that may have worked."""
        lost = work.lost if isinstance(work, Sent) else None
        if lost is not None and not isinstance(error, OutcomeUnknown):
            raise failures.unknown(lost) from error


class Connections(Attempts):
    """The connections of one open store. Thread-safe."""

    def __init__(self, address: Address, *, most: int, timeout: float) -> None:
        super().__init__(address, most=most, timeout=timeout)
        self._pool = ConnectionPool(
            address.conninfo,
            connection_class=Connection,
            kwargs={"autocommit": True, "refused": self._refused},
            min_size=0,
            max_size=most,
            max_idle=IDLE,
            configure=self._configure,
            open=False,
            name=POOLS[0],
            reconnect_timeout=RECONNECT,
        )

    def open(self) -> None:
        self._pool.open()

    def close(self) -> None:
        """Close the connections; those that are in use when they are given back."""
        self._pool.close(timeout=2.0)

    def connect(self) -> Connection:
        """Return a connection that is nobody else's, to be closed by the caller.

        Raise BadAddress, AccessDenied or Unavailable if there is none to be had.
        """
        try:
            connection = Connection.connect(self.address.conninfo, autocommit=True)
            self._configure(connection)
        except psycopg.Error as error:
            raise failures.refused(error, self.address.shown) from error
        return connection

    def run(self, work: Callable[[], Script[T]]) -> T:
        """Run a script, and return its answer; again, if a server fails, until ``timeout``.

        ``work`` makes a script for each attempt. What was `Sent` is told if an answer was lost, and
        then finds out what came of it. Raise what kvengine calls the driver's errors (failures.py).
        """
        patience = Patience(self.timeout)
        try:
            while True:
                connection = self._take(patience)
                try:
                    connection.unconfirmed.clear()
                    answer = drive(connection.verbs, work())
                    self._confirm(connection, work)
                    return answer
                except psycopg.Error as error:
                    failed = error
                    self._judge(error, connection, work)
                finally:
                    self._pool.putconn(connection)
                time.sleep(self._pause(patience, failed))
        except KVEngineError as error:
            self._check_known(error, work)
            raise

    def _configure(self, connection: Connection) -> None:
        prepare(connection, connection.execute(OWN_PROCESS, prepare=False).fetchall())
        self._connected()

    def _take(self, patience: Patience) -> Connection:
        """Return a connection of the pool that looks alive.

        Raise PoolExhausted, or why there is none.
        """
        while True:
            try:
                connection = self._pool.getconn(timeout=min(SLICE, max(patience.left, 0.001)))
            except PoolClosed:
                raise DatabaseClosed("this database is closed") from None
            except PoolTimeout:
                if patience.left:
                    continue
                raise self._unavailable(self._pool.get_stats()) from self._refusal
            if not is_stale(connection):
                return connection
            connection.close()
            self._pool.putconn(connection)


def is_stale(connection: Any) -> bool:
    """Return whether the server has said something, or hung up, while nobody asked.

    A failover leaves a pool full of these. To send a commit on one would leave its outcome open.
    """
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def drive(cursor: psycopg.Cursor[Any], script: Script[T]) -> T:
    """Run a script with one cursor, which nobody else uses meanwhile."""
    try:
        statement = next(script)
        while True:
            result = cursor.execute(statement.text, statement.values).pgresult
            # `description` would tell the same, and costs a tenth of a read.
            rows: Rows = cursor.fetchall() if result is not None and result.nfields else []
            statement = script.send(rows)
    except StopIteration as stop:
        answer: T = stop.value
        return answer
