"""The Store on a directory that several processes share, for asyncio.

Reads of one object, commits and turns are asked by the event loop itself. The other verbs are those
of the store for threads, in a thread. A session that waits for its object waits in none.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

from kvengine.aio.reads import Reads, Walk
from kvengine.aio.store import Store
from kvengine.aio.waiting import Threads, settled
from kvengine.aio.watch import Bell, Watch
from kvengine.arguments import check_completed
from kvengine.closing import adopt_docstrings
from kvengine.errors import DatabaseClosed, KVEngineError
from kvengine.objects.sessions.host import Host
from kvengine.objects.verbs import ObjectVerbs
from kvengine.options import Durability
from kvengine.real_time import monotonic
from kvengine.share import requests, results, wire
from kvengine.share.link import Broken
from kvengine.share.member import Writing
from kvengine.share.owner import LocalOwner, Owner, RemoteOwner
from kvengine.share.pipeline import MOST_BYTES, Pipeline, Pipelines
from kvengine.share.reads import RemoteReads, RemoteSnapshot
from kvengine.share.requests import Begun, Request
from kvengine.share.sessions import LOOK_AGAIN, Beginning, LateReads, Sessions
from kvengine.share.store import SharedStore, reopen
from kvengine.storage.batch import Batch, batch_of
from kvengine.storage.names import Name
from kvengine.store import Estimate, Limits, SegmentStats, Stats, StoredObject, StoredWorkflow

if TYPE_CHECKING:
    from kvengine.aio.session import Session

T = TypeVar("T")


class Asked(NamedTuple):
    """What a verb asks of the owner, and what decodes the answer."""

    request: Request
    decode: Callable[[Any], Any]


class Asks(RemoteReads):
    """The read verbs of one object, each of which returns what it would ask."""

    def _ask(self, request: Request, decode: Callable[[Any], Any]) -> Any:
        return Asked(request, decode)


class Waits(Threads):
    """Verbs of one shared store, waited for by one event loop.

    What the owner answers at once is asked by the event loop itself, over connections of its own.
    A thread asks the rest: walks, what is long, and all there is while no owner is known or a
    connection broke, for then one may have to wait for the next owner, or to become it.
    """

    def __init__(self, store: SharedStore) -> None:
        super().__init__()
        self.store = store
        self._member = store._member
        self._sessions = Sessions(store._member, store)
        self._asks = Asks()
        self._pipelines: Pipelines | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._telling: asyncio.Future[None] | None = None
        self._is_closing = False

    async def read(
        self, source: Any, name: Name, work: Callable[..., Any], /, *args: Any, **kw: Any
    ) -> Any:
        if source is self.store:
            request, decode = getattr(self._asks, work.__name__)(*args, **kw)
            return await self._ask(name, request, decode)
        if type(source) is LateReads:
            return await self._ask(name, *work(*args, **kw))
        return await self.run(work, *args, **kw)

    def call(self, work: Callable[..., T], /, *args: Any, **kw: Any) -> asyncio.Future[T]:
        return self.run(work, *args, **kw)

    def write(
        self,
        batch: Batch,
        *,
        expect: Mapping[Name, int] | None = None,
        durability: Durability | None = None,
    ) -> asyncio.Future[int]:
        self._check_not_closing()
        return asyncio.shield(self._begin(self._write(batch, expect, durability)))

    async def _write(
        self, batch: Batch, expect: Mapping[Name, int] | None, durability: Durability | None
    ) -> int:
        asked = self.store._writes(batch, expect, durability)
        try:
            stamp: int = await self._commit(Writing(self._member, asked, None))
        except Exception as error:
            reopen(batch, error)
            raise
        batch.close(stamp)
        return stamp

    async def commit(self, verb: str, /, *args: Any, **kw: Any) -> int:
        batch = batch_of(limit=self.store.limits.value)
        getattr(batch, verb)(*args, **kw)
        return await self.write(batch)

    # --- asking

    async def _ask(self, name: Name, request: Request, decode: Callable[[Any], Any]) -> Any:
        """Return what the owner answers about an object."""
        self._check_not_closing()
        return (await self._ask_some(name, request, decode))[0]

    async def _ask_some(
        self, name: Name, request: Request, decode: Callable[[Any], Any]
    ) -> tuple[Any, Owner]:
        """Return what the owner answers about an object, and who that is."""
        owner = self._owner()
        if isinstance(owner, LocalOwner):
            if owner.engine._in_memory(*name):
                return owner.ask(request, decode), owner
        elif isinstance(owner, RemoteOwner):
            pipeline = self._pipelines_to(owner).reading()
            if pipeline is not None:
                try:
                    return await _answer(pipeline, wire.frame(request), decode), owner
                except Broken as error:
                    self._member.broken(owner, error)
                    if error.is_slow:
                        raise self._member.silence(owner, error) from None
                except DatabaseClosed:
                    if not self._member.has_left(owner):
                        raise
        return await self.run(self._member.ask_some, request, decode)

    async def _commit(self, writing: Writing) -> Any:
        """Send a commit, and return its stamp."""
        owner = self._owner()
        if isinstance(owner, RemoteOwner):
            pipeline = self._pipelines_to(owner).writing()
            if pipeline is not None:
                data = wire.frame(writing.to(owner))
                if len(data) <= MOST_BYTES:
                    try:
                        return writing.made(await _answer(pipeline, data, results.number))
                    except Broken as error:
                        writing.broken(owner, error)
                    except DatabaseClosed:
                        if not self._member.has_left(owner):
                            raise
        return await self.run(self._member.finish, writing, results.number)

    def _owner(self) -> Owner | None:
        """Return the owner, if it is known."""
        self.bind()
        self.store._check_open()
        owner = self._member.at_hand
        if (
            isinstance(owner, RemoteOwner)
            and owner.has_untold
            and (self._telling is None or self._telling.done())
        ):
            self._telling = self.run(owner.tell_all)
        return owner

    def _pipelines_to(self, owner: RemoteOwner) -> Pipelines:
        """Return the connections of this loop to an owner. Those to another one are closed."""
        pipelines = self._pipelines
        if pipelines is None or pipelines.owner is not owner:
            if pipelines is not None:
                pipelines.close()
            pipelines = self._pipelines = Pipelines(owner, self.bind(), self.run)
        return pipelines

    def _begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin work that goes on whoever is cancelled."""
        try:
            task = self.bind().create_task(work)
        except BaseException:
            work.close()
            raise
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen, for who waited for it may be cancelled

    def _check_not_closing(self) -> None:
        if self._is_closing:
            raise DatabaseClosed("this database is closed")

    async def finish(self) -> None:
        """Begin nothing more, wait for what has begun, and hang up."""
        self._is_closing = True
        while self._tasks:  # sessions that end meanwhile give their objects back
            await asyncio.wait(tuple(self._tasks))
        if self._pipelines is not None:
            await self._pipelines.finish()

    # --- sessions

    async def load(
        self, session: Session, always: Collection[str], seconds: float | None, /
    ) -> None:
        """Wait until the session has its object, and begin it."""
        beginning, sessions = Beginning(session, always), self._sessions
        if not beginning.claims:
            found = await self._ask(beginning.name, beginning.request, results.begun)
            session._moment = beginning.settle(found, Asked)
            return
        self._check_not_closing()
        bell = Bell(self.bind())
        end = math.inf if seconds is None else monotonic() + seconds
        sessions.claim(beginning.name, bell.ring)
        while (begun := await settled(self._begin(self._claim(beginning)))) is None:
            left = end - monotonic()
            if left <= 0:
                given = session._settings.timeout or 0
                raise await self.run(sessions.timed_out, beginning.name, given)
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, LOOK_AGAIN)):
                    await bell.heard.wait()
            bell.clear()
            self._check_not_closing()
        session._moment = beginning.settle(begun, Asked)

    async def _claim(self, beginning: Beginning) -> Begun | None:
        """Ask for the object of a session, and return what it holds, None if it is not ours yet."""
        name = beginning.name
        found, owner = await self._ask_some(name, beginning.request, results.begun)
        return found if self._sessions.is_granted(name, found, owner) else None

    def save(self, session: Session, batch: Batch, /) -> asyncio.Future[int]:
        """Begin to commit what a session wrote, if it still has its object."""
        self._check_not_closing()
        return self._begin(self._save(session, batch, not session._open))

    async def _save(self, session: Session, batch: Batch, leaves: bool) -> int:
        stamp: int = await self._commit(self._sessions.writes(session, batch, leaves))
        if leaves:
            self._member.claims.pop(session._handle._name, None)
        held: Any = session._moment
        if held is not None:
            held.version = stamp  # what is read late is of the object as it is now
        return stamp

    def leave(self, name: Name, /) -> asyncio.Future[None] | None:
        """Begin to give an object back; None if it is given back already, or the store is closed.

        A store that is closing does so too: who is cancelled must see that, and no other error.
        """
        if name not in self._member.claims or self.closed:
            return None
        return self._begin(self._leave(name))

    async def _leave(self, name: Name) -> None:
        """Give an object back as `Member.give_back` does, without a thread where that can be."""
        claim, owner = self._member.claims.get(name), self._member.at_hand
        if (
            claim is not None
            and isinstance(owner, RemoteOwner)
            and claim.is_of(owner)
            and not self._is_closing
        ):
            pipeline = self._pipelines_to(owner).reading()
            if pipeline is not None:
                try:
                    await _answer(pipeline, wire.frame(requests.Leave(*name)), results.nothing)
                except Broken as error:
                    if error.is_slow:
                        return  # `Member.clean` repeats it
                except KVEngineError:  # the owner is closing
                    pass
                else:
                    if claim.is_of(owner):  # else the next owner has given it to us meanwhile
                        self._member.given_back(name, owner)
                        return
        with suppress(DatabaseClosed):
            await self.run(self._sessions.leave, name)


async def _answer(pipeline: Pipeline, data: bytes, decode: Callable[[Any], Any]) -> Any:
    """Return the result of a request in its frame. Raise what its verb raises, Broken."""
    return wire.result_of(await pipeline.ask(data), decode)


class _WalkToCome:
    """A walk that begins when its first items are asked for, which is in a thread."""

    def __init__(self, begin: Callable[[], Any]) -> None:
        self._begin = begin
        self._walk: Any = None
        self._is_closed = False

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._walk is None and not self._is_closed:
            self._walk = self._begin()
        if self._is_closed:  # maybe only now, by the event loop
            self.close()
            raise StopIteration
        return next(self._walk)

    def close(self) -> None:
        self._is_closed = True
        if self._walk is not None:
            self._walk.close()


class _Walks(Reads):
    """Walks that begin when they are first awaited."""

    def object_keys(self, *args: Any, **kw: Any) -> Walk[str]:
        return self._walk_to_come(self._source.object_keys, *args, **kw)

    def scan(self, *args: Any, **kw: Any) -> Walk[StoredObject]:
        return self._walk_to_come(self._source.scan, *args, **kw)

    def workflows(self, service: str, completed: bool | None = None) -> Walk[StoredWorkflow]:
        check_completed(completed)
        return self._walk_to_come(self._source.workflows, service, completed)

    def _walk_to_come(self, begin: Callable[..., Any], *args: Any, **kw: Any) -> Walk[Any]:
        self._waits.check_open()
        return Walk(self._waits, _WalkToCome(partial(begin, *args, **kw)))


class Snapshot(_Walks):
    """Every read verb, awaited, as of one moment: that of entering ``async with``, or of first use.

    Close it soon: until then the owner keeps the files that it names.
    """

    _source: RemoteSnapshot

    @property
    def stamp(self) -> int:
        """Return the stamp of the last commit that the snapshot sees; 0 before it is taken."""
        return self._source.stamp

    async def close(self) -> None:
        """Let the owner forget it. May be called again."""
        self._source.close()

    async def __aenter__(self) -> Self:
        try:
            await self._waits.run(self._source.begin)
        except asyncio.CancelledError:  # the thread that takes it goes on
            self._source.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._source.close()


class _Handles(ObjectVerbs):
    """Gives the handles of objects beneath the awaited ones."""

    def __init__(self, host: Host) -> None:
        self._host = host


class AsyncSharedStore(_Walks, Store):
    """The Store on a directory that several processes share, awaited.

    Made by `kvengine.aio.open(path, share=True)` and `kvengine.aio.connect(path)`; see
    `kvengine.share.store.SharedStore`. It belongs to one event loop.
    """

    _waits: Waits

    def __init__(self, store: SharedStore) -> None:
        self.store = store
        waits = Waits(store)
        shared: Any = waits
        host = Host(
            store,
            store._host.serdes,
            max_value_size=store.limits.value,
            retention_of=store._retention_of,
            shared=shared,
        )
        self._host = host
        store._member.add(self)
        super().__init__(store, waits, _Handles(host))

    @property
    def path(self) -> str:
        """Return the absolute path of the directory."""
        return self.store.path

    @property
    def limits(self) -> Limits:
        return self.store.limits

    def snapshot(self) -> Snapshot:
        """Return all read verbs as of one moment: that of entering ``async with``."""
        self._waits.check_open()
        return Snapshot(self.store._snapshot_to_come(), self._waits)

    def watch(self, service: str, key: str | None = None, *, prefix: str = "") -> Watch:
        """Return the changes to come; see `kvengine.share.store.SharedStore.watch`.

        It blocks the event loop until the owner has answered. From then on no commit is missed.
        """
        self.store._check_open()
        return Watch(self._waits, partial(self.store._member.watch, service, key, prefix))

    async def retention(self, service: str) -> timedelta:
        return await self._waits.run(self.store.retention, service)

    async def retentions(self) -> dict[str, timedelta]:
        """Return the retentions that are stored with the database, by service."""
        return await self._waits.run(self.store.retentions)

    async def estimate(self, service: str, *, prefix: str = "") -> Estimate:
        return await self._waits.run(self.store.estimate, service, prefix=prefix)

    async def segments(self) -> tuple[SegmentStats, ...]:
        return await self._waits.run(self.store.segments)

    async def stats(self) -> Stats:
        return await self._waits.run(self.store.stats)

    async def flush(self) -> None:
        await self._waits.run(self.store.flush)

    async def compact(self, service: str | None = None) -> None:
        await self._waits.run(self.store.compact, service)

    async def checkpoint(self, path: str | os.PathLike[str]) -> None:
        await self._waits.run(self.store.checkpoint, path)

    async def close(self) -> None:
        """Leave the others that share the directory. May be called again."""
        if not self._waits.closed:
            await self._waits.finish()
            await self._waits.run(self.store.close)
        self._waits.close()

    def __repr__(self) -> str:
        return f"<kvengine.share.AsyncSharedStore {self.store.path!r}>"


adopt_docstrings(AsyncSharedStore, SharedStore)
