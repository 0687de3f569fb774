"""The Store on a PostgreSQL database, for asyncio: the scripts of the one for threads, awaited.

Measured on loopback, a statement costs 1.7 times as much through a thread as on a connection of
asyncio's own, and with eight tasks at once 1.4 times as much: so these are asyncio's own. Only the
keeper and watches, which wait for nobody, are threads with connections of theirs.
"""

from __future__ import annotations

import asyncio
import warnings
import weakref
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

import kvengine.aio.reads
import kvengine.store
from kvengine.aio.session import Session
from kvengine.aio.store import Store
from kvengine.aio.waiting import settled
from kvengine.aio.watch import Watch
from kvengine.closing import adopt_docstrings
from kvengine.errors import DatabaseClosed, KVEngineError
from kvengine.objects.sessions.host import Host
from kvengine.objects.verbs import ObjectVerbs
from kvengine.options import Durability
from kvengine.postgres import connections, failures, migrations
from kvengine.postgres.claims import Waiting
from kvengine.postgres.client import Client
from kvengine.postgres.clock import Moment
from kvengine.postgres.held import HeldReads
from kvengine.postgres.keeper import Keeper
from kvengine.postgres.scripts import Rows, Script
from kvengine.postgres.settings import Settings
from kvengine.postgres.walk import Course, WalkingReads
from kvengine.postgres.watch import Watcher
from kvengine.postgres.writes import Sent, writing
from kvengine.storage.batch import Batch, batch_of
from kvengine.storage.feed import Queue
from kvengine.storage.names import Name
from kvengine.store import Limits, Stats, StoredObject

T = TypeVar("T")


class Connection(connections.Pooled, psycopg.AsyncConnection[Any]):
    """A connection of a pool, as the one for threads."""

    verbs: psycopg.AsyncCursor[Any]

    @classmethod
    async def connect(cls, conninfo: str = "", **options: Any) -> Self:
        """Connect. ``refused``: called with the error if that fails; the pool tells nobody."""
        refused = options.pop("refused", None)
        try:
            return await super().connect(conninfo, **options)
        except psycopg.Error as error:
            if refused is not None:
                refused(error)
            raise


async def drive(cursor: psycopg.AsyncCursor[Any], script: Script[T]) -> T:
    """Run a script with one cursor, which nobody else uses meanwhile."""
    try:
        statement = next(script)
        while True:
            await cursor.execute(statement.text, statement.values)
            result = cursor.pgresult
            rows: Rows = await cursor.fetchall() if result is not None and result.nfields else []
            statement = script.send(rows)
    except StopIteration as stop:
        answer: T = stop.value
        return answer


class Connections(connections.Attempts):
    """The connections of one open store, for one event loop.

    Tasks queue up here, and as many as there are connections ask the pool: to let thousands wait
    for it in slices took all the time there was, and 5,000 sets ended with PoolExhausted.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.client.address, most=settings.pool_size, timeout=settings.timeout)
        self._places = asyncio.Semaphore(settings.pool_size)
        self._pool = AsyncConnectionPool(
            self.address.conninfo,
            connection_class=Connection,
            kwargs={"autocommit": True, "refused": self._refused},
            min_size=0,
            max_size=settings.pool_size,
            max_idle=connections.IDLE,
            configure=self._configure,
            open=False,
            name=connections.POOLS[1],
            reconnect_timeout=connections.RECONNECT,
        )

    async def open(self) -> None:
        await self._pool.open()

    async def close(self) -> None:
        """Close the connections; those that are in use when they are given back."""
        await self._pool.close(timeout=2.0)

    async def connect(self) -> Connection:
        """Return a connection that is nobody else's, to be closed by the caller.

        Raise BadAddress, AccessDenied or Unavailable if there is none to be had.
        """
        try:
            connection = await Connection.connect(self.address.conninfo, autocommit=True)
            await self._configure(connection)
        except psycopg.Error as error:
            raise failures.refused(error, self.address.shown) from error
        return connection

    async def run(self, work: Callable[[], Script[T]]) -> T:
        """Run a script, and return its answer; again, if a server fails, until ``timeout``."""
        patience = connections.Patience(self.timeout)
        try:
            while True:
                await self._place(patience)
                try:
                    connection = await self._take(patience)
                    try:
                        connection.unconfirmed.clear()
                        answer = await drive(connection.verbs, work())
                        self._confirm(connection, work)
                        return answer
                    except psycopg.Error as error:
                        failed = error
                        self._judge(error, connection, work)
                    finally:
                        await self._pool.putconn(connection)
                finally:
                    self._places.release()
                await asyncio.sleep(self._pause(patience, failed))
        except KVEngineError as error:
            self._check_known(error, work)
            raise

    async def _configure(self, connection: Connection) -> None:
        cursor = await connection.execute(connections.OWN_PROCESS, prepare=False)
        connections.prepare(connection, await cursor.fetchall())
        self._connected()

    async def _place(self, patience: connections.Patience) -> None:
        """Take a place among those who ask the pool. Raise why there is none within the time."""
        if not self._places.locked():
            await self._places.acquire()  # at once: a timeout would cost more
            return
        try:
            async with asyncio.timeout(patience.left):
                await self._places.acquire()
        except TimeoutError:
            raise self._unavailable(self._pool.get_stats()) from self._refusal

    async def _take(self, patience: connections.Patience) -> Connection:
        """Return a connection of the pool that looks alive; as the one for threads."""
        while True:
            wait = min(connections.SLICE, max(patience.left, 0.001))
            try:
                connection = await self._pool.getconn(timeout=wait)
            except PoolClosed:
                raise DatabaseClosed("this database is closed") from None
            except PoolTimeout:
                if patience.left:
                    continue
                raise self._unavailable(self._pool.get_stats()) from self._refusal
            if not connections.is_stale(connection):
                return connection
            await connection.close()
            await self._pool.putconn(connection)


class Waits:
    """Scripts of one open store, awaited by one event loop: what aio/home.py asks for."""

    def __init__(self, client: Client, pool: Connections) -> None:
        self.client: Client = client
        self.closed: bool = False
        self.feeds: weakref.WeakSet[Queue] = weakref.WeakSet()
        self._connections = pool
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._moments: weakref.WeakSet[SnapshotWaits] = weakref.WeakSet()

    def snapshot(self) -> SnapshotWaits:
        """Return the moment of a snapshot, which `close` ends too."""
        self.check_open()
        moment = SnapshotWaits(self)
        self._moments.add(moment)
        return moment

    def bind(self) -> asyncio.AbstractEventLoop:
        """Return the running loop, which must be the one that was here first."""
        self.check_open()
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise KVEngineError(
                "this database belongs to another event loop: connect in the loop that uses it"
            )
        return loop

    def check_open(self) -> None:
        """Raise DatabaseClosed after the store was closed."""
        if self.closed:
            raise DatabaseClosed("this database is closed")
        self.client.check_open()

    async def ask(self, work: Callable[[], Script[T]]) -> T:
        """Run a script, a new one for each attempt, and return its answer."""
        self.bind()
        return await self._connections.run(work)

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin work that goes on whoever is cancelled."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Wait for all work that was begun, and end all snapshots, walks and watches."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))
        self.closed = self.client.is_closed = True
        for feed in list(self.feeds):
            feed.end()
        for moment in list(self._moments):
            moment.end()

    async def read(
        self, source: Any, name: Name, work: Callable[..., Any], /, *args: Any, **kw: Any
    ) -> Any:
        """Return what a script of one object answers."""
        del source, name
        return await self.ask(partial(work, *args, **kw))

    def run(self, work: Callable[..., Any], /, *args: Any, **kw: Any) -> asyncio.Future[Any]:
        """Begin a script."""
        return self.begin(self.ask(partial(work, *args, **kw)))

    def call(self, work: Callable[..., Any], /, *args: Any, **kw: Any) -> asyncio.Future[Any]:
        """Begin what a verb makes to be sent."""
        return self.begin(self.ask(work(*args, **kw)))

    def window(self, walk: Course[Any], most: int, /) -> asyncio.Future[list[Any]]:
        """Begin to fetch what follows of a walk."""
        del most  # it knows better itself
        return self.begin(self._following(walk))

    async def _following(self, walk: Course[Any]) -> list[Any]:
        """Return what follows: one statement if that is all, else of a snapshot."""
        moment: Any = walk.moment
        items: list[Any]
        while not walk.is_over:
            if moment is None:
                items = await self.ask(partial(walk.started, self.client))
                if not walk.is_over:
                    walk.moment = moment = self.snapshot()
                    walk.start()
                    continue
            else:
                items = await moment.ask(partial(walk.following, moment.reads))
            if items:
                return items
        walk.close()
        return []

    def write(
        self,
        batch: Batch,
        *,
        expect: Mapping[Name, int] | None = None,
        durability: Durability | None = None,
    ) -> asyncio.Future[int]:
        """Begin to commit a batch, and return its stamp to come."""
        return self.begin(self._write(batch, self.client.batch_commit(batch, expect, durability)))

    async def _write(self, batch: Batch, commit: Sent[int]) -> int:
        with writing(batch):
            stamp = await self.ask(commit)
        batch.close(stamp)
        return stamp

    async def commit(self, verb: str, /, *args: Any, **kw: Any) -> int:
        """Commit a write verb of a batch, and return the stamp."""
        batch = batch_of(limit=self.client.limits.value)
        getattr(batch, verb)(*args, **kw)
        return await asyncio.shield(self.write(batch))

    # --- sessions

    async def load(
        self, session: Session, always: Collection[str], seconds: float | None, /
    ) -> None:
        """Wait until this client has the object of a session, and begin it."""
        if not session._settings.read_only:
            waiting = Waiting(self.client, session._handle._name, seconds)
            while not await self.ask(waiting.ask):  # noqa: ASYNC110  # the server wakes nobody
                await asyncio.sleep(waiting.pause())
        held = await self.ask(partial(self.client.begin, session, always))
        session._moment = None if held is None else _Held(held)

    def save(self, session: Session, batch: Batch, /) -> asyncio.Future[int]:
        """Begin to commit what a session wrote, if it still has its turn."""
        return self.begin(self._save(session, batch, leaves=not session._open))

    async def _save(self, session: Session, batch: Batch, *, leaves: bool) -> int:
        stamp = await self.ask(self.client.session_commit(session, batch, leaves))
        if leaves:
            self.client.claims.forget(session._handle._name)
        held: Any = session._moment
        if held is not None:
            held.version = stamp  # what is read late is of the object as it is now
        return stamp

    def leave(self, name: Name, /) -> asyncio.Future[None] | None:
        """Begin to give an object back; None if it is given back already."""
        place = self.client.claims.forget(name)
        if place is None or self.closed:
            return None
        return self.begin(self._leave(name, place))

    async def _leave(self, name: Name, place: int) -> None:
        with suppress(KVEngineError):
            await self.ask(partial(self.client.claims.leave, name, place))

    async def connect(self) -> Connection:
        """Return a connection that is nobody else's."""
        self.bind()
        return await self._connections.connect()


class SnapshotWaits(Waits):
    """Scripts within the transaction of a snapshot, which begins with the first of them."""

    def __init__(self, live: Waits) -> None:
        super().__init__(live.client, live._connections)
        self.reads: WalkingReads = WalkingReads(live.client.schema, Moment(0))
        self.now: int | None = None
        self._live = live
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()

    def check_open(self) -> None:
        self._live.check_open()
        if self.closed:
            raise DatabaseClosed("this snapshot is closed")

    async def start(self) -> None:
        """Begin the transaction, if it has not begun."""
        self.check_open()
        async with self._lock:
            if self._connection is None:
                connection = await self._live.connect()
                try:
                    cursor = await connection.execute(self.client.begin_snapshot(), prepare=False)
                    cursor.nextset()
                    ((self.now,),) = await cursor.fetchall()
                except BaseException as error:
                    await connection.close()
                    if isinstance(error, psycopg.Error):
                        raise failures.translated(error, self.client.address.shown) from error
                    raise
                self.reads.fix(Moment(self.now or 0))
                self._connection = connection

    async def ask(self, work: Callable[[], Script[T]]) -> T:
        """Run a script in the transaction of the snapshot, and return its answer."""
        try:
            await self.start()
            if self._connection is None:
                raise DatabaseClosed("this snapshot is closed")
            return await drive(self._connection.cursor(binary=True), work())
        except psycopg.Error as error:
            self.check_open()
            if failures.is_broken(error):
                self.end()
                raise failures.gone(error, self.client.address.shown) from error
            raise failures.translated(error, self.client.address.shown) from error

    async def _following(self, walk: Course[Any]) -> list[Any]:
        while not walk.is_over:
            items = await self.ask(partial(walk.following, self.reads))
            if items:
                return items
        return []

    @property
    def is_begun(self) -> bool:
        """Whether the transaction has begun, has not ended, and is of this process."""
        return self._connection is not None and not self.client.is_forked

    def end(self) -> None:
        """End the transaction. May be called again."""
        self.closed = True
        connection, self._connection = self._connection, None
        if connection is not None and not self.client.is_forked:
            connection.pgconn.finish()


class Snapshot(kvengine.aio.reads.Reads):
    """Every read verb, awaited, as of one moment: that of entering ``async with``, or of first use.

    A transaction on a connection of its own. Close it soon: while it is open, the server keeps what
    it may still read.
    """

    def __init__(self, moment: SnapshotWaits) -> None:
        self._own = moment
        super().__init__(moment.reads, moment)

    @property
    def stamp(self) -> int:
        """Return the time that the snapshot is of, in microseconds since the epoch; 0 before."""
        return self._own.now or 0

    async def close(self) -> None:
        """End the transaction. May be called again."""
        self._own.end()

    def __del__(self) -> None:
        own = getattr(self, "_own", None)
        if own is not None and own.is_begun:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            own.end()

    async def __aenter__(self) -> Self:
        await self._own.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._own.end()


class _Held:
    """One object as its session began, for the session: its verbs are scripts."""

    def __init__(self, reads: HeldReads) -> None:
        self._reads = reads

    @property
    def version(self) -> int:
        return self._reads.at_version or 0

    @version.setter
    def version(self, version: int) -> None:
        self._reads.at_version = version

    def close(self) -> None:
        """Nothing is held."""

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._reads, verb)


class _Handles(ObjectVerbs):
    """Gives the handles of objects beneath the awaited ones."""

    def __init__(self, host: Host) -> None:
        self._host = host


class AsyncPostgresStore(Store):
    """The Store on a PostgreSQL database, awaited, made by `kvengine.aio.connect`.

    It belongs to one event loop. Any number of processes and machines may use the same database at
    once: sessions of an object exclude each other across all of them.
    """

    _waits: Waits

    def __init__(self, settings: Settings) -> None:
        """For `connect` alone, which opens what this makes."""
        client = settings.client
        self.client: Client = client
        self._connections = Connections(settings)
        waits = Waits(client, self._connections)
        source: Any = client
        shared: Any = waits
        host = Host(
            source,
            settings.serdes,
            max_value_size=client.limits.value,
            retention_of=client.retention_of,
            shared=shared,
        )
        super().__init__(client, waits, _Handles(host))
        self._threads = connections.Connections(client.address, most=2, timeout=settings.timeout)
        """The connections of threads that look for changes and keep the lease."""
        self._watcher = Watcher(self._threads.run, client.schema)
        self._keeper = Keeper(self._threads, client, host.turns.is_taken)

    async def _open(self, settings: Settings) -> None:
        prepare = partial(
            migrations.prepare,
            self._threads,
            create=settings.create,
            read_only=settings.client.read_only,
        )
        await settled(asyncio.get_running_loop().run_in_executor(None, prepare))
        self._threads.open()
        await self._connections.open()
        try:
            await self._waits.ask(partial(self.client.agree, settings.retention))
            if not self.client.read_only:
                self._keeper.start(self)
        except BaseException:
            await self.close()
            raise

    @property
    def limits(self) -> Limits:
        return self.client.limits

    async def get_many(self, service: str, key: str, state_keys: Iterable[str]) -> dict[str, bytes]:
        wanted = state_keys if isinstance(state_keys, str) else list(state_keys)
        return await super().get_many(service, key, wanted)

    async def load_many(self, service: str, keys: Iterable[str]) -> dict[str, StoredObject]:
        wanted = keys if isinstance(keys, str) else list(keys)
        return await super().load_many(service, wanted)

    def snapshot(self) -> Snapshot:
        """Return all read verbs as of one moment: that of entering ``async with``."""
        return Snapshot(self._waits.snapshot())

    def watch(self, service: str, key: str | None = None, *, prefix: str = "") -> Watch:
        """Return the changes to come; see `kvengine.postgres.PostgresStore.watch`.

        It blocks the event loop until the server has answered: a millisecond or two, a second
        beside a transaction that runs long, and up to ``timeout`` while there is no server. From
        then on no commit is missed.
        """
        self.client.check_writable()
        return Watch(self._waits, partial(self._watcher.begin, service, key, prefix))

    async def stats(self) -> Stats:
        """Return the figures of this moment: of the server's tables, and of this client."""
        objects, size = await self._waits.ask(self.client.sizes)
        return Stats(bytes_on_disk=size, estimated_objects=objects)

    async def staleness(self) -> float:
        """Return how many seconds the server that is read may be behind the primary; 0 for that."""
        return await self._waits.ask(self.client.staleness)

    async def retention(self, service: str) -> timedelta:
        return await self._waits.ask(partial(self.client.retention, service))

    async def retentions(self) -> dict[str, timedelta]:
        """Return the retentions that are stored with the database, by service."""
        return await self._waits.ask(self.client.stored_retentions)

    async def set_retention(self, service: str, retention: float | timedelta) -> None:
        await self._waits.call(self.client.set_retention, service, retention)

    async def close(self) -> None:
        """End all use of the database. What is claimed is free at once. May be called again."""
        if self._waits.closed:
            return
        await self._waits.close()
        await settled(asyncio.get_running_loop().run_in_executor(None, self._close_threads))
        await self._connections.close()

    def _close_threads(self) -> None:
        self._watcher.close()
        self._keeper.close()
        self._threads.close()

    def __repr__(self) -> str:
        return f"<kvengine.postgres.AsyncPostgresStore {self.client.address.shown!r}>"


async def connected(settings: Settings) -> AsyncPostgresStore:
    """Return a store that is connected."""
    store = AsyncPostgresStore(settings)
    await store._open(settings)
    return store


adopt_docstrings(AsyncPostgresStore, kvengine.store.Store)
