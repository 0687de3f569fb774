"""The Store on a PostgreSQL database, for threads."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Self, TypeVar

import psycopg

import kvengine.store
from kvengine.closing import Closing, adopt_docstrings, public_names
from kvengine.errors import DatabaseClosed, ForkedError, Unavailable
from kvengine.objects.sessions.host import Host
from kvengine.objects.verbs import ObjectVerbs
from kvengine.options import Durability
from kvengine.postgres import failures, migrations, walk, writes
from kvengine.postgres.address import Address
from kvengine.postgres.claims import Claims
from kvengine.postgres.clock import Moment, ServerClock
from kvengine.postgres.connections import Connection, Connections, drive
from kvengine.postgres.keeper import Keeper
from kvengine.postgres.reads import Reads, encoded, range_of
from kvengine.postgres.scripts import Script
from kvengine.postgres.sessions import Sessions
from kvengine.postgres.watch import Watcher
from kvengine.postgres.writes import Commit, Pop, Turn
from kvengine.serdes.registry import Serdes
from kvengine.storage.batch import (
    Batch,
    ClearAll,
    Operation,
    batch_of,
    check_expect,
    clear_operation,
    clear_range_operation,
    clear_service_operation,
    expire_operation,
    object_name,
    set_operation,
)
from kvengine.storage.clock import SECOND
from kvengine.storage.names import Name, check_name
from kvengine.storage.times import DAY, check_agrees, retention_time
from kvengine.store import Estimate, Limits, Stats, StoredObject, StoredWorkflow
from kvengine.watch import Watch

T = TypeVar("T")

_BEGIN = (
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
    " SELECT {schema}.believed({schema}.moment(), {floor}, {estimate})"
)


class ReadVerbs:
    """The read verbs of `kvengine.Store`, each of which runs a script and waits for it."""

    _reads: Reads

    def run(self, work: Callable[[], Script[T]]) -> T:
        """Run a script, a new one for each attempt, and return its answer."""
        raise NotImplementedError

    def _walk(self, course: walk.Course[Any]) -> walk.Walk:
        """Return a walk at one moment."""
        raise NotImplementedError

    def get(self, service: str, key: str, state_key: str) -> bytes | None:
        return self.run(partial(self._reads.get, service, key, state_key))

    def get_many(self, service: str, key: str, state_keys: Iterable[str]) -> dict[str, bytes]:
        if not isinstance(state_keys, str):
            state_keys = list(state_keys)  # it may be asked for again
        return self.run(partial(self._reads.get_many, service, key, state_keys))

    def get_all(self, service: str, key: str) -> dict[str, bytes]:
        return self.run(partial(self._reads.get_all, service, key))

    def exists(self, service: str, key: str) -> bool:
        return self.run(partial(self._reads.exists, service, key))

    def load(self, service: str, key: str, *, max_bytes: int | None = None) -> StoredObject | None:
        return self.run(partial(self._reads.load, service, key, max_bytes=max_bytes))

    def load_many(self, service: str, keys: Iterable[str]) -> dict[str, StoredObject]:
        if not isinstance(keys, str):
            keys = list(keys)
        return self.run(partial(self._reads.load_many, service, keys))

    def state_keys(
        self,
        service: str,
        key: str,
        *,
        prefix: str = "",
        start: str = "",
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[str]:
        script = partial(
            self._reads.state_keys,
            service,
            key,
            prefix=prefix,
            start=start,
            reverse=reverse,
            limit=limit,
        )
        return self.run(script)

    def expires_at(self, service: str, key: str, state_key: str | None = None) -> float | None:
        return self.run(partial(self._reads.expires_at, service, key, state_key))

    def version(self, service: str, key: str) -> int:
        return self.run(partial(self._reads.version, service, key))

    def services(self, start: str = "", limit: int | None = None) -> list[str]:
        return self.run(partial(self._reads.services, start, limit))

    def object_keys(
        self,
        service: str,
        *,
        prefix: str = "",
        start: str | None = None,
        stop: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[str]:
        within = range_of(check_name("service", service), prefix, start, stop, reverse, limit)
        return self._walk(walk.keys(within, reverse, limit))

    def scan(
        self,
        service: str | None = None,
        *,
        prefix: str = "",
        start: str | None = None,
        stop: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[StoredObject]:
        within = range_of(service, prefix, start, stop, reverse, limit)
        return self._walk(walk.objects(within, reverse, limit))

    def workflows(self, service: str, completed: bool | None = None) -> Iterator[StoredWorkflow]:
        within = range_of(check_name("service", service), "", None, None, False, None)
        return self._walk(walk.workflows(within, completed))

    def count(self, service: str, *, prefix: str = "") -> int:
        return self.run(partial(self._reads.count, service, prefix=prefix))


class Snapshot(ReadVerbs, Closing):
    """Every read verb, as of one moment: a transaction on a connection of its own.

    Close it soon: while it is open, the server keeps what it may still read.
    """

    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self._shown = store._address.shown
        self._connection: Connection | None = store._connections.connect()
        try:
            bounds = store.clock.bounds()
            parts = ("NULL" if part is None else str(part) for part in bounds[:2])
            begin = _BEGIN.format(
                schema=store.schema, **dict(zip(("floor", "estimate"), parts, strict=True))
            )
            cursor = self._connection.execute(begin, prepare=False)
            cursor.nextset()
            ((now,),) = cursor.fetchall()
        except BaseException as error:
            self._connection.close()
            if isinstance(error, psycopg.Error):
                raise failures.translated(error, self._shown) from error
            raise
        self._reads = Reads(store.schema, Moment(now))
        self._now = int(now)

    @property
    def stamp(self) -> int:
        """Return the time that the snapshot is of, in microseconds since the epoch."""
        return self._now

    @property
    def closed(self) -> bool:
        """Return whether the snapshot was closed, or went with its connection."""
        return self._connection is None

    def __enter__(self) -> Self:
        if self._connection is None:
            raise DatabaseClosed("this snapshot is closed")
        return self

    def close(self) -> None:
        """End the transaction. May be called again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def run(self, work: Callable[[], Script[T]]) -> T:
        """Run a script in the transaction of the snapshot, and return its answer."""
        self._store._check_open()
        connection = self._connection
        if connection is None:
            raise DatabaseClosed("this snapshot is closed")
        try:
            return drive(connection, work())
        except psycopg.Error as error:
            if failures.is_broken(error):
                self.close()
                raise Unavailable(
                    f"{self._shown}: the snapshot went with its connection; take another: {error}"
                ) from error
            raise failures.translated(error, self._shown) from error

    def _walk(self, course: walk.Course[Any]) -> walk.Walk:
        fetch = partial(self.run, partial(course.following, self._reads))
        return walk.Walk(course, fetch, _nothing)


class PostgresStore(ReadVerbs, ObjectVerbs, Closing):
    """The Store on a PostgreSQL database, made by `kvengine.connect`. Thread-safe.

    A context manager; `close` is idempotent. Any number of processes and machines may use the same
    database at once: sessions of an object exclude each other across all of them.
    """

    def __init__(
        self,
        address: Address,
        *,
        create: bool,
        durability: Durability,
        limits: Limits,
        serdes: Serdes,
        retention: Mapping[str, float | timedelta],
        pool_size: int,
        timeout: float,
        lease: float,
    ) -> None:
        self._address = address
        self.schema: str = address.schema
        self._durability = durability
        self._limits = limits
        self._pid = os.getpid()
        self._closed = False
        self._closing = threading.Lock()
        self.clock: ServerClock = ServerClock()
        self._reads = Reads(address.schema, self.clock)
        self._connections = Connections(address, most=pool_size, timeout=timeout)
        self._retentions: dict[str, int] = {}
        self._sessions = Sessions(self, Claims(address.schema, lease))
        self._host = Host(
            self,
            serdes,
            max_value_size=limits.value,
            retention_of=self._retention_of,
            shared=self._sessions,
        )
        self._commits = 0
        self._open_snapshots: weakref.WeakSet[Snapshot] = weakref.WeakSet()
        connection = self._connections.connect()
        try:
            migrations.check_server(connection, address.shown)
            migrations.migrate(connection, address.schema, address.shown, create=create)
        except psycopg.Error as error:
            raise failures.translated(error, address.shown) from error
        finally:
            connection.close()
        self._connections.open()
        self._watcher = Watcher(self.run, self.schema)
        self._keeper = Keeper(self._connections, self._sessions.claims, address.schema, self.clock)
        try:
            self._agree(retention)
            self._keeper.start()
        except BaseException:
            self.close()
            raise

    # --- reading: the verbs are those of `ReadVerbs`

    def _check_open(self) -> None:
        if self._closed:
            raise DatabaseClosed("this database is closed")
        if os.getpid() != self._pid:
            raise ForkedError(
                "a forked child used the connections of its parent; call kvengine.connect() in it"
            )

    def run(self, work: Callable[[], Script[T]], commit: Commit | Pop | None = None) -> T:
        """Run a script, a new one for each attempt; ``commit``: what it commits, if anything."""
        self._check_open()
        return self._connections.run(work, commit)

    def _walk(self, course: walk.Course[Any]) -> walk.Walk:
        """Return a walk at one moment: one statement if that is all, else a snapshot."""
        items = self.run(partial(self._restarted, course))
        if course.is_over:
            return walk.Walk(course, list, _nothing, items)
        snapshot = self.snapshot()
        course.start()
        return walk.Walk(
            course,
            partial(snapshot.run, partial(course.following, snapshot._reads)),
            snapshot.close,
        )

    def _restarted(self, course: walk.Course[Any]) -> Script[list[Any]]:
        course.start()
        return (yield from course.following(self._reads))

    def snapshot(self) -> Snapshot:
        self._check_open()
        snapshot = Snapshot(self)
        self._open_snapshots.add(snapshot)
        return snapshot

    # --- writing

    def set(
        self,
        service: str,
        key: str,
        state_key: str,
        value: bytes,
        *,
        ttl: float | timedelta | None = None,
        expires_at: float | datetime | None = None,
    ) -> int:
        limit = self._limits.value
        return self._stamp(set_operation(service, key, state_key, value, ttl, expires_at, limit))

    def clear(self, service: str, key: str, state_key: str) -> int:
        return self._stamp(clear_operation(service, key, state_key))

    def pop(self, service: str, key: str, state_key: str) -> bytes | None:
        name = object_name(service, key)
        check_name("state_key", state_key)
        durable = self._durability == "sync"
        popping = Pop(name, state_key, durable)
        return self.run(partial(popping.script, self.schema, self.clock), popping)

    def clear_all(self, service: str, key: str) -> int:
        return self._stamp(ClearAll(object_name(service, key)))

    def clear_service(self, service: str) -> int:
        return self._stamp(clear_service_operation(service))

    def clear_range(self, service: str, start: str, stop: str | None) -> int:
        return self._stamp(clear_range_operation(service, start, stop))

    def expire(
        self,
        service: str,
        key: str,
        *,
        at: float | datetime | None = None,
        ttl: float | timedelta | None = None,
    ) -> bool:
        return self._commit([expire_operation(service, key, at, ttl)]).taken

    def batch(self) -> Batch:
        return batch_of(self, self._limits.value)

    def write(
        self,
        batch: Batch,
        *,
        expect: Mapping[Name, int] | None = None,
        durability: Durability | None = None,
    ) -> int:
        return self.write_in_turn(batch, expect, durability, None)

    def write_in_turn(
        self,
        batch: Batch,
        expect: Mapping[Name, int] | None,
        durability: Durability | None,
        turn: Turn | None,
    ) -> int:
        """Commit a batch as `write` does; ``turn``: if the session still has it."""
        if not isinstance(batch, Batch):
            raise TypeError(f"batch must be a kvengine.Batch, not {type(batch).__name__}")
        if expect is not None:
            check_expect(expect)
        if durability is not None and durability not in ("sync", "os"):
            raise ValueError(f"durability must be 'sync' or 'os', not {durability!r}")
        self._check_open()
        batch.check_open()
        commit = writes.commit_of(batch, expect, durability or self._durability, self._limits, turn)
        batch.close()  # what is being committed must not change
        try:
            self._send(commit)
        except BaseException:
            batch._reopen()
            raise
        batch.close(commit.stamp)
        return commit.stamp or 0

    def _stamp(self, operation: Operation) -> int:
        return self._commit([operation]).stamp or 0

    def _commit(self, operations: list[Operation]) -> Commit:
        durable = self._durability == "sync"
        commit = Commit(writes.steps_of(operations), {}, self._limits, durable=durable)
        self._send(commit)
        return commit

    def _send(self, commit: Commit) -> None:
        self.run(partial(commit.script, self.schema, self.clock), commit)
        self._commits += 1

    # --- the whole

    def watch(self, service: str, key: str | None = None, *, prefix: str = "") -> Watch:
        """Return the changes to come, as they become visible: an iterator that waits for each.

        It covers all objects of a service, those whose key starts with ``prefix``, or the one
        ``key``. It reports commits of all clients made after this call, within a tenth of a second
        or so, once for each object. An expiry is not a commit, so it is not reported. Writers never
        wait for a watch: one that falls 10,000 changes behind, or whose server crashed, drops them
        and reports a single change with ``gap=True``.
        """
        self._check_open()
        return Watch(self, partial(self._watcher.begin, service, key, prefix))

    def stats(self) -> Stats:
        """Return the figures of this moment: of the server's tables, and of this client.

        What only the embedded engine has is 0 or empty.
        """
        objects, size = self.run(self._reads.sizes)
        return Stats(
            bytes_on_disk=size,
            estimated_objects=objects,
            open_snapshots=sum(not each.closed for each in list(self._open_snapshots)),
            commits=self._commits,
        )

    def estimate(self, service: str, *, prefix: str = "") -> Estimate:
        """Estimate how many objects of a service have a prefix, and how many bytes they hold.

        Costs little, however many there are: up to 1,000 objects are counted, the dead ones among
        them that are not swept yet; of more the planner's statistics tell. ``bytes`` are those of
        names and values, if all objects are as large as the first hundred.
        """
        return self.run(partial(self._reads.estimate, service, prefix))

    @property
    def limits(self) -> Limits:
        return self._limits

    def retention(self, service: str) -> timedelta:
        """Return how long workflows of a service are kept once they are complete.

        This is the value stored with the database, or one day if none is set.
        """
        encoded("service", service)
        self._retentions = self.run(self._reads.retentions)
        return timedelta(microseconds=self._retentions.get(service, DAY))

    def retentions(self) -> dict[str, timedelta]:
        """Return the retentions that are stored with the database, by service."""
        self._retentions = self.run(self._reads.retentions)
        stored = sorted(self._retentions.items())
        return {service: timedelta(microseconds=kept) for service, kept in stored}

    def set_retention(self, service: str, retention: float | timedelta) -> None:
        """Store how long workflows of a service are kept once they are complete.

        ``retention``: seconds or a timedelta. It counts for handles made from now on. Workflows
        that are already complete keep the retention they completed with.
        """
        name, kept = encoded("service", service).decode(), retention_time(retention)
        self.run(partial(writes.set_retention, self.schema, name, kept))
        self._retentions[name] = kept

    def _retention_of(self, service: str) -> int | None:
        return self._retentions.get(service)

    def _agree(self, retention: Mapping[str, float | timedelta]) -> None:
        """Store the retentions that were stated; ValueError if the database has other ones."""
        self._retentions = self.run(self._reads.retentions)
        for service, given in retention.items():
            kept = retention_time(given)
            stored = self._retentions.get(check_name("service", service))
            check_agrees(service, kept, stored)
            if stored is None:
                self.set_retention(service, kept / SECOND)

    def close(self) -> None:
        """End all use of the database. What is claimed is free at once. May be called again."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            if os.getpid() != self._pid:
                return
            for snapshot in list(self._open_snapshots):
                snapshot.close()
            self._watcher.close()
            self._keeper.close()
            self._connections.close()

    def __dir__(self) -> list[str]:
        return public_names(self)

    def __repr__(self) -> str:
        return f"<kvengine.postgres.PostgresStore {self._address.shown!r}>"


def _nothing() -> None:
    pass


adopt_docstrings(ReadVerbs, kvengine.store.Store)
adopt_docstrings(Snapshot, kvengine.store.Snapshot)
adopt_docstrings(PostgresStore, kvengine.store.Store)
