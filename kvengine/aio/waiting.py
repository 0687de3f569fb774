"""Waiting for blocking work without stopping the loop: reads, and commits that go on anyway."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Collection, Mapping
from concurrent import futures
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from kvengine.engine import Engine
from kvengine.errors import DatabaseClosed, KVEngineError, WriteFailed
from kvengine.objects.sessions.host import Late
from kvengine.objects.sessions.load import load
from kvengine.options import Durability
from kvengine.storage.batch import Batch, batch_of
from kvengine.storage.feed import Queue
from kvengine.storage.names import Name
from kvengine.storage.state import Commit
from kvengine.storage.syncs import Ended, Syncs

if TYPE_CHECKING:
    from kvengine.aio.session import Session

T = TypeVar("T")

THREADS = 8
"""Threads that wait for the disk on behalf of one database."""


class Threads:
    """Work in threads, waited for by one event loop."""

    def __init__(self) -> None:
        self.closed: bool = False
        self.feeds: weakref.WeakSet[Queue] = weakref.WeakSet()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pool = futures.ThreadPoolExecutor(THREADS, thread_name_prefix="kvengine-aio")

    def run(self, work: Callable[..., T], *args: Any, **kwargs: Any) -> asyncio.Future[T]:
        """Start ``work`` in a thread. Raise RuntimeError, with nothing done, if none can start."""
        loop = self.bind()
        outcome: futures.Future[T] = futures.Future()
        try:
            self._pool.submit(_do, [outcome], partial(work, *args, **kwargs))
        except RuntimeError:
            # The pool has queued it before it asked for one more thread.
            if outcome.cancel():
                raise
        return asyncio.wrap_future(outcome, loop=loop)

    def window(self, walk: Any, most: int) -> asyncio.Future[list[Any]]:
        """Begin to fetch what follows of a walk, in a thread."""
        return self.run(lambda: list(islice(walk, most)))

    def bind(self) -> asyncio.AbstractEventLoop:
        """The running loop, which must be the one that was here first.

        Every use comes by here; after `close` DatabaseClosed is raised.
        """
        self.check_open()
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise KVEngineError(
                "this database belongs to another event loop: open it in the loop that uses it, or"
                " share one kvengine.open() by kvengine.aio.wrap() in each"
            )
        return loop

    def check_open(self) -> None:
        """Raise DatabaseClosed after `close`."""
        if self.closed:
            raise DatabaseClosed("this database is closed")

    def close(self) -> None:
        """Refuse new work, let running work finish, and end all watches."""
        self.closed = True
        for feed in list(self.feeds):
            feed.end()
        self._pool.shutdown(wait=False)


class Waits(Threads):
    """Reads and commits of one open engine, waited for by one event loop."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine
        self._syncs = Syncs()

    async def read(
        self,
        source: Engine | Late,
        name: Name,
        work: Callable[..., T],
        *args: Any,
        **kwargs: Any,
    ) -> T:
        """What ``work`` reads of one object: at once where ``source`` has it in memory."""
        if source._in_memory(*name):
            self.bind()
            return work(*args, **kwargs)
        return await self.run(work, *args, **kwargs)

    def call(self, work: Callable[..., T], *args: Any, **kwargs: Any) -> asyncio.Future[T]:
        """A commit by any verb: its result to come, or what it raised. At once where it can be."""
        if self.engine._may_wait():
            return self.run(work, *args, **kwargs)
        return self._done(work, *args, **kwargs)

    def write(
        self,
        batch: Batch,
        *,
        expect: Mapping[Name, int] | None = None,
        durability: Durability | None = None,
    ) -> asyncio.Future[int]:
        """Commit a batch: its stamp to come, or what it raised. It has its place in the log now.

        Unless back-pressure keeps it from that: then it waits for its place in a thread.
        """
        engine = self.engine
        if not engine._may_wait(durability):
            return self._done(engine.write, batch, expect=expect, durability=durability)
        durable = (durability or engine.options.durability) == "sync"
        if not durable or not engine._may_begin():
            return self.run(engine.write, batch, expect=expect, durability=durability)
        stamp: asyncio.Future[int] = self.bind().create_future()
        try:
            try:
                commit = engine._begin_write(batch, expect=expect)
            except Exception as error:
                stamp.set_exception(error)
                return stamp
            if commit is None:
                stamp.set_result(batch.stamp or 0)
            else:
                self._syncs.add(commit, self._sync, partial(_settle, stamp, commit.stamp))
            return stamp
        finally:
            del stamp  # what is raised refers to this frame: the two would be a cycle

    def _sync(self, commit: Commit, ended: Ended) -> None:
        """Start to make a commit durable; where no thread can, do it here: it is in the log."""
        try:
            work = self.run(self.engine._finish_write, commit)
        except (RuntimeError, DatabaseClosed):
            try:
                self.engine._finish_write(commit)
            except Exception as error:
                ended(error)
            else:
                ended(None)
            return
        work.add_done_callback(lambda _: ended(None if work.cancelled() else work.exception()))

    async def commit(self, verb: str, *args: Any, **kwargs: Any) -> int:
        """A write verb of a batch as one commit; its stamp."""
        batch = batch_of(limit=self.engine.options.max_value_size)
        getattr(batch, verb)(*args, **kwargs)
        return await self.write(batch)

    async def load(
        self,
        session: Session,
        always: Collection[str],
        seconds: float | None,  # noqa: ARG002 - there are no other clients to wait for
    ) -> None:
        """Begin a session with its object; ``always``: state keys to load in any case."""
        if self.engine._in_memory(*session._handle._name):
            load(session, always)
        else:
            await settled(self.run(load, session, always))

    def save(self, session: Session, batch: Batch) -> asyncio.Future[int]:
        """Begin to commit what a session wrote, if its object is still as it was."""
        expect = {session._handle._name: session._version}
        return self.write(batch, expect=expect, durability=session._settings.durability)

    def _done(self, work: Callable[..., T], *args: Any, **kwargs: Any) -> asyncio.Future[T]:
        """``work`` done here and now, as something to await."""
        done: asyncio.Future[T] = self.bind().create_future()
        try:
            done.set_result(work(*args, **kwargs))
            return done
        except Exception as error:
            done.set_exception(error)
            return done
        finally:
            del done  # what is raised refers to this frame: the two would be a cycle


def _do(promised: list[futures.Future[T]], work: Callable[[], T]) -> None:
    """Do ``work`` in this thread, unless it was cancelled before.

    ``promised`` is emptied, since the pool refers to it, and an exception to what called it.
    """
    outcome = promised.pop()
    if outcome.set_running_or_notify_cancel():
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)
    del outcome


def _settle(outcome: asyncio.Future[int], stamp: int, error: BaseException | None) -> None:
    """Give whoever awaits a commit its stamp or an exception of its own."""
    if outcome.done():  # it was cancelled
        return
    if error is None:
        outcome.set_result(stamp)
    else:
        own = WriteFailed(str(error))
        own.__cause__ = error
        outcome.set_exception(own)


async def settled(work: asyncio.Future[T]) -> T:
    """The result of work that goes on whatever happens here.

    A cancellation counts once the work is done: what comes after it must find
    the work done or undone, and nothing in between.
    """
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait((work,))
        except asyncio.CancelledError as error:
            cancelled = error
    try:
        if cancelled is not None:
            if not work.cancelled():
                work.exception()  # seen
            raise cancelled
        return work.result()
    finally:
        del work, cancelled  # what is raised refers to this frame
