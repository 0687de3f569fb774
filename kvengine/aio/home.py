"""What the awaited verbs need of a store: how it waits for reads, commits and turns."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from kvengine.options import Durability
from kvengine.storage.batch import Batch
from kvengine.storage.feed import Queue
from kvengine.storage.names import Name

if TYPE_CHECKING:
    from kvengine.aio.session import Session

T = TypeVar("T")


class Home(Protocol):
    """One open store, as one event loop waits for it."""

    closed: bool
    feeds: weakref.WeakSet[Queue]

    def bind(self) -> asyncio.AbstractEventLoop:
        """Return the running loop, which must be the one that was here first.

        Every use comes by here. Raise DatabaseClosed after `close`.
        """
        ...

    def check_open(self) -> None:
        """Raise DatabaseClosed after `close`."""
        ...

    def read(
        self, source: Any, name: Name, work: Callable[..., T], /, *args: Any, **kw: Any
    ) -> Coroutine[Any, Any, T]:
        """Return what ``work``, a verb of ``source``, reads of one object."""
        ...

    def run(self, work: Callable[..., T], /, *args: Any, **kw: Any) -> asyncio.Future[T]:
        """Begin what ``work`` does, and return its result to come."""
        ...

    def window(self, walk: Any, most: int, /) -> asyncio.Future[list[Any]]:
        """Begin to fetch what follows of a walk, and return it to come; nothing at its end."""
        ...

    def call(self, work: Callable[..., T], /, *args: Any, **kw: Any) -> asyncio.Future[T]:
        """Begin a commit by a verb that returns more than a stamp, and return that to come."""
        ...

    def write(
        self,
        batch: Batch,
        *,
        expect: Mapping[Name, int] | None = None,
        durability: Durability | None = None,
    ) -> asyncio.Future[int]:
        """Begin to commit a batch, and return its stamp to come. No cancellation stops it."""
        ...

    def commit(self, verb: str, /, *args: Any, **kw: Any) -> Coroutine[Any, Any, int]:
        """Commit a write verb of a batch, and return the stamp."""
        ...

    def load(
        self, session: Session, always: Collection[str], seconds: float | None, /
    ) -> Coroutine[Any, Any, None]:
        """Begin a session with its object; ``always``: state keys to load in any case.

        Unless the session only reads, wait until no other client of the store has the object in a
        session, for at most so many seconds.
        """
        ...

    def save(self, session: Session, batch: Batch, /) -> asyncio.Future[int]:
        """Begin to commit what a session wrote, and return the stamp to come."""
        ...
