"""The keeper: a thread of each open store, on one connection, that keeps the lease and sweeps.

Three times in a lease it moves the lease of this client, once a session has begun, and gives back
claims that an interrupt left behind. Every `SWEEP_EVERY` seconds it removes a little of what is
dead in the database; any number of clients may do so at once, and none needs to.
"""

from __future__ import annotations

import logging
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import errors

from kvengine.errors import KVEngineError
from kvengine.postgres import failures
from kvengine.postgres.client import Client
from kvengine.postgres.connections import Connection, Connections, drive
from kvengine.postgres.scripts import Script, Statement
from kvengine.real_time import monotonic, wall
from kvengine.storage.clock import SECOND
from kvengine.storage.names import Name

log: logging.Logger = logging.getLogger("kvengine")

SWEEP_EVERY = 10.0
"""Seconds between two looks for what is dead."""

SWEPT_AT_ONCE = 100
"""Objects that one statement of a sweep locks and cleans."""

_BUSY = 1.0
"""Seconds that a sweep goes on at most, before it leaves the rest for the next time."""

_SWEEP = "SELECT {schema}.sweep(%s, {schema}.now_for(%s, %s))"
_SERVER_TIME = "SELECT {schema}.clock()"


class Keeper:
    """Keeps the lease of one client and sweeps, until it is closed."""

    def __init__(
        self, connections: Connections, client: Client, is_taken: Callable[[Name], bool]
    ) -> None:
        """``is_taken``: whether an object is in a session of this client."""
        self._connections = connections
        self._claims = client.claims
        self._is_taken = is_taken
        self._schema = client.schema
        self._time = client.clock
        self._ends = threading.Event()
        self._sweeps = True
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._work, name="kvengine-keeper", daemon=True)

    def start(self, store: object) -> None:
        """Begin to work, until `close`, or until ``store`` is collected without it: that warns."""
        forgotten = weakref.finalize(store, self._forgotten)
        forgotten.atexit = False  # at the end of the interpreter the lease runs out by itself
        self._thread.start()

    def _forgotten(self) -> None:
        if not self._ends.is_set():
            self._ends.set()
            warnings.warn(
                f"a store of {self._connections.address.shown} was forgotten: close it, or use it"
                " in a `with` block",
                ResourceWarning,
                stacklevel=2,
            )

    def close(self) -> None:
        """End the thread, and give back what is claimed."""
        self._ends.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(5.0)

    def _work(self) -> None:
        every = min(self._claims.lease / 3, SWEEP_EVERY)
        swept, fails = monotonic(), False
        while not self._ends.wait(every):
            try:
                if self._claims.is_used:
                    self._run(self._claims.renew())
                    self._run(self._claims.clean(self._is_taken))
                if self._sweeps and monotonic() - swept >= SWEEP_EVERY:
                    swept = monotonic()
                    self.sweep()
                fails = False
            except errors.InsufficientPrivilege as error:
                log.info("%s: nothing is swept: %s", self._connections.address.shown, error)
                self._sweeps = False
            except (psycopg.Error, KVEngineError) as error:
                if not fails:  # the first of many
                    log.warning("the keeper fails: %s", self._told(error))
                fails = True
                self._disconnect()
        try:
            self._run(self._claims.end())
        except (psycopg.Error, KVEngineError):
            pass  # the lease runs out by itself
        finally:
            self._disconnect()

    def sweep(self) -> int:
        """Remove what is dead, for a second at most; return of how many objects.

        Nothing is removed while this machine's clock and the server's are more than a minute apart:
        one of them is wrong, and what a wrong clock removes is gone for good.
        """
        ((server,),) = self._run(
            self._rows(Statement(_SERVER_TIME.format(schema=self._schema), ()))
        )
        if abs(server - wall() * SECOND) > 60 * SECOND:
            log.warning(
                "%s: nothing is swept: the server's clock is %.0f s from this machine's",
                self._connections.address.shown,
                server / SECOND - wall(),
            )
            return 0
        began, total = monotonic(), 0
        while not self._ends.is_set() and monotonic() - began < _BUSY:
            bounds = self._time.bounds()
            values = (SWEPT_AT_ONCE, bounds.floor, bounds.estimate)
            statement = Statement(_SWEEP.format(schema=self._schema), values)
            ((swept,),) = self._run(self._rows(statement))
            total += swept
            if swept < SWEPT_AT_ONCE:
                break
            time.sleep(0)
        return total

    def _rows(self, statement: Statement) -> Script[Any]:
        return (yield statement)

    def _run(self, script: Script[Any]) -> Any:
        if self._connection is None:
            self._connection = self._connections.connect()
        return drive(self._connection.verbs, script)

    def _told(self, error: psycopg.Error | KVEngineError) -> KVEngineError:
        if isinstance(error, KVEngineError):
            return error
        return failures.translated(error, self._connections.address.shown)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
