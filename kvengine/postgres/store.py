"""The Store on a PostgreSQL database, for threads."""

from __future__ import annotations

import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Self, TypeVar

import psycopg

import kvengine.store
from kvengine.closing import Closing, adopt_docstrings, public_names
from kvengine.errors import DatabaseClosed
from kvengine.objects.sessions.host import Host
from kvengine.objects.verbs import ObjectVerbs
from kvengine.options import Durability
from kvengine.postgres import failures, migrations
from kvengine.postgres.client import Client
from kvengine.postgres.clock import Moment
from kvengine.postgres.connections import Connection, Connections, drive
from kvengine.postgres.keeper import Keeper
from kvengine.postgres.scripts import Script
from kvengine.postgres.sessions import Sessions
from kvengine.postgres.settings import Settings
from kvengine.postgres.walk import Course, Walk, WalkingReads
from kvengine.postgres.watch import Watcher
from kvengine.postgres.writes import writing
from kvengine.storage.batch import (
    Batch,
    ClearAll,
    Operation,
    batch_of,
    clear_operation,
    clear_range_operation,
    clear_service_operation,
    object_name,
    set_operation,
)
from kvengine.storage.names import Name
from kvengine.store import Estimate, Limits, Stats, StoredObject, StoredWorkflow
from kvengine.watch import Watch

T = TypeVar("T")


class ReadVerbs:
    """The read verbs of `kvengine.Store`, each of which runs a script and waits for it."""

    _reads: WalkingReads

    def run(self, work: Callable[[], Script[T]]) -> T:
        """Run a script, a new one for each attempt, and return its answer."""
        raise NotImplementedError

    def _walk(self, course: Course[Any]) -> Walk:
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
        bounds: dict[str, Any] = {"start": start, "stop": stop, "reverse": reverse, "limit": limit}
        return self._walk(self._reads.object_keys(service, prefix=prefix, **bounds))

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
        bounds: dict[str, Any] = {"start": start, "stop": stop, "reverse": reverse, "limit": limit}
        return self._walk(self._reads.scan(service, prefix=prefix, **bounds))

    def workflows(self, service: str, completed: bool | None = None) -> Iterator[StoredWorkflow]:
        return self._walk(self._reads.workflows(service, completed))

    def count(self, service: str, *, prefix: str = "") -> int:
        return self.run(partial(self._reads.count, service, prefix=prefix))


class Snapshot(ReadVerbs, Closing):
    """Every read verb, as of one moment: a transaction on a connection of its own.

    Close it soon: while it is open, the server keeps what it may still read. One that is never
    closed warns (ResourceWarning) when collected.
    """

    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self._shown = store.client.address.shown
        self._connection: Connection | None = store._connections.connect()
        try:
            cursor = self._connection.execute(store.client.begin_snapshot(), prepare=False)
            cursor.nextset()
            ((now,),) = cursor.fetchall()
        except BaseException as error:
            self.end()
            if isinstance(error, psycopg.Error):
                raise failures.translated(error, self._shown) from error
            raise
        self._reads = WalkingReads(store.client.schema, Moment(now))
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
        self.end()

    def end(self) -> None:
        """End the transaction, as `close` does."""
        connection, self._connection = self._connection, None
        if connection is not None and not self._store.client.is_forked:
            connection.close()

    def __del__(self) -> None:
        if getattr(self, "_connection", None) is not None and not self._store.client.is_forked:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            self.end()

    def run(self, work: Callable[[], Script[T]]) -> T:
        """Run a script in the transaction of the snapshot, and return its answer."""
        self._store.client.check_open()
        connection = self._connection
        if connection is None:
            raise DatabaseClosed("this snapshot is closed")
        try:
            return drive(connection.cursor(binary=True), work())
        except psycopg.Error as error:
            if failures.is_broken(error):
                self.close()
                raise failures.gone(error, self._shown) from error
            raise failures.translated(error, self._shown) from error

    def _walk(self, course: Course[Any]) -> Walk:
        return Walk(course, partial(self.run, partial(course.following, self._reads)))


class PostgresStore(ReadVerbs, ObjectVerbs, Closing):
    """The Store on a PostgreSQL database, made by `kvengine.connect`. Thread-safe.

    A context manager; `close` is idempotent. Any number of processes and machines may use the same
    database at once: sessions of an object exclude each other across all of them.
    """

    def __init__(self, settings: Settings) -> None:
        client = settings.client
        self.client: Client = client
        self._reads = client
        self._closing = threading.Lock()
        self._connections = Connections(
            client.address, most=settings.pool_size, timeout=settings.timeout
        )
        self._host = Host(
            self,
            settings.serdes,
            max_value_size=client.limits.value,
            retention_of=client.retention_of,
            shared=Sessions(client, self.run),
        )
        self._open_snapshots: weakref.WeakSet[Snapshot] = weakref.WeakSet()
        self._watcher = Watcher(self.run, client.schema)
        self._keeper = Keeper(self._connections, client, self._host.turns.is_taken)
        migrations.prepare(self._connections, create=settings.create, read_only=client.read_only)
        self._connections.open()
        try:
            self.run(partial(client.agree, settings.retention))
            if not client.read_only:
                self._keeper.start(self)
        except BaseException:
            self.close()
            raise

    # --- reading: the verbs are those of `ReadVerbs`

    def run(self, work: Callable[[], Script[T]]) -> T:
        """Run a script, a new one for each attempt, and return its answer."""
        self.client.check_open()
        return self._connections.run(work)

    def _walk(self, course: Course[Any]) -> Walk:
        """Return a walk at one moment: one statement if that is all, else a snapshot."""
        items = self.run(partial(course.started, self.client))
        if course.is_over:
            return Walk(course, list, items)
        course.moment = snapshot = self.snapshot()
        course.start()
        return snapshot._walk(course)

    def snapshot(self) -> Snapshot:
        self.client.check_open()
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
        limit = self.client.limits.value
        return self._commit(set_operation(service, key, state_key, value, ttl, expires_at, limit))

    def clear(self, service: str, key: str, state_key: str) -> int:
        return self._commit(clear_operation(service, key, state_key))

    def pop(self, service: str, key: str, state_key: str) -> bytes | None:
        return self.run(self.client.pop(service, key, state_key))

    def clear_all(self, service: str, key: str) -> int:
        return self._commit(ClearAll(object_name(service, key)))

    def clear_service(self, service: str) -> int:
        return self._commit(clear_service_operation(service))

    def clear_range(self, service: str, start: str, stop: str | None) -> int:
        return self._commit(clear_range_operation(service, start, stop))

    def expire(
        self,
        service: str,
        key: str,
        *,
        at: float | datetime | None = None,
        ttl: float | timedelta | None = None,
    ) -> bool:
        return self.run(self.client.expire(service, key, at=at, ttl=ttl))

    def batch(self) -> Batch:
        return batch_of(self, self.client.limits.value)

    def write(
        self,
        batch: Batch,
        *,
        expect: Mapping[Name, int] | None = None,
        durability: Durability | None = None,
    ) -> int:
        commit = self.client.batch_commit(batch, expect, durability)
        with writing(batch):
            stamp = self.run(commit)
        batch.close(stamp)
        return stamp

    def _commit(self, operation: Operation) -> int:
        return self.run(self.client.commit(operation))

    # --- the whole

    def watch(self, service: str, key: str | None = None, *, prefix: str = "") -> Watch:
        """Return the changes to come, as they become visible: an iterator that waits for each.

        It covers all objects of a service, those whose key starts with ``prefix``, or the one
        ``key``. It reports commits of all clients made after this call, within a tenth of a second
        or so, once for each object. An expiry is not a commit, so it is not reported. Writers never
        wait for a watch: one that falls 10,000 changes behind, or whose server crashed, drops them
        and reports a single change with ``gap=True``.
        """
        self.client.check_open()
        self.client.check_writable()
        return Watch(self, partial(self._watcher.begin, service, key, prefix))

    def stats(self) -> Stats:
        """Return the figures of this moment: of the server's tables, and of this client.

        What only the embedded engine has is 0 or empty.
        """
        objects, size = self.run(self.client.sizes)
        return Stats(
            bytes_on_disk=size,
            estimated_objects=objects,
            open_snapshots=sum(not each.closed for each in list(self._open_snapshots)),
        )

    def staleness(self) -> float:
        """Return how many seconds the server that is read may be behind the primary; 0 for that.

        The age of the last commit that a replica has applied: too much if nobody writes.
        """
        return self.run(self.client.staleness)

    def estimate(self, service: str, *, prefix: str = "") -> Estimate:
        """Estimate how many objects of a service have a prefix, and how many bytes they hold.

        Costs little, however many there are: up to 1,000 objects are counted, the dead ones among
        them that are not swept yet; of more the planner's statistics tell. ``bytes`` are those of
        names and values, if all objects are as large as the first hundred.
        """
        return self.run(partial(self._reads.estimate, service, prefix))

    def pulse(self) -> tuple[int, int]:
        """Return the time, and how far the server's log has come, for who follows a database.

        The time is in microseconds since the epoch: later commits have greater stamps. The log
        stands still, but for a little upkeep, while nobody writes to the server.
        """
        return self.run(self._reads.pulse)

    @property
    def limits(self) -> Limits:
        return self.client.limits

    def retention(self, service: str) -> timedelta:
        return self.run(partial(self.client.retention, service))

    def retentions(self) -> dict[str, timedelta]:
        """Return the retentions that are stored with the database, by service."""
        return self.run(self.client.stored_retentions)

    def set_retention(self, service: str, retention: float | timedelta) -> None:
        self.run(self.client.set_retention(service, retention))

    def close(self) -> None:
        """End all use of the database. What is claimed is free at once. May be called again."""
        with self._closing:
            if self.client.is_closed:
                return
            self.client.is_closed = True
            if self.client.is_forked:
                return
            for snapshot in list(self._open_snapshots):
                snapshot.close()
            self._watcher.close()
            self._keeper.close()
            self._connections.close()

    def __dir__(self) -> list[str]:
        return public_names(self)

    def __repr__(self) -> str:
        return f"<kvengine.postgres.PostgresStore {self.client.address.shown!r}>"


adopt_docstrings(ReadVerbs, kvengine.store.Store)
adopt_docstrings(Snapshot, kvengine.store.Snapshot)
adopt_docstrings(PostgresStore, kvengine.store.Store)
