"""The database behind the page: asked in threads, never on the event loop, and followed.

Owners come and go while a page is open. A read that meets a closed store is asked once more of
whatever is there then; a write is not, since it may have been done.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from kvengine.engine import Engine
from kvengine.errors import DatabaseClosed, KVEngineError, Unavailable
from kvengine.inspection.access import Access, AnyAccess
from kvengine.real_time import monotonic
from kvengine.share.store import SharedStore
from kvengine.ui.refusal import Refused

if TYPE_CHECKING:  # with the extra `postgres` alone
    from kvengine.postgres.store import PostgresStore

_T = TypeVar("_T")

Opened: TypeAlias = "Engine | SharedStore | PostgresStore"

_THREADS = 4
_FOLLOW = 0.25
"""Seconds between two looks for what has changed: requests that come together share one."""


class Source:
    """An access for many requests. ``write``: whether this page may edit at all."""

    def __init__(self, access: AnyAccess, *, write: bool) -> None:
        self.write = write
        self.note: str = ""
        """Why an owner that is there cannot be followed, or ""."""
        self._access = access
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(_THREADS, "kvengine-ui")
        self._followed = monotonic()
        # The first walk puts the names in the memtable in order, which may take a second.
        self._threads.submit(self._read, lambda store: store.services(limit=1))

    @property
    def path(self) -> str:
        return self._access.path

    @property
    def mode(self) -> str:
        """As of the access: "live", "own", "files" or "server"."""
        return self._access.mode

    @property
    def pid(self) -> int | None:
        """The process that owns the database, where it is known."""
        store = self._access.store
        if isinstance(store, SharedStore):
            return store.owner_pid
        return os.getpid() if self.mode == "own" else None

    @property
    def writable(self) -> bool:
        """Whether an edit would be carried out now."""
        return self.write and self._access.writable

    async def read(self, ask: Callable[[Opened], _T]) -> _T:
        """What ``ask`` says of the store as it is now."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, ask)

    async def edit(self, carry_out: Callable[[Opened], _T]) -> _T:
        """Carry out a write. Refused with 403 where edits are not possible."""
        if not self.write:
            raise Refused(403, "This page is read-only; start kvengine ui with --write to edit.")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._edit, carry_out)

    def close(self) -> None:
        """When requests that have begun are done, let go of the database."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._access.close()

    def _read(self, ask: Callable[[Opened], _T]) -> _T:
        self._follow(_FOLLOW)
        try:
            return ask(self._access.store)
        except (DatabaseClosed, Unavailable):
            self._follow(0.0)
            return ask(self._access.store)

    def _edit(self, carry_out: Callable[[Opened], _T]) -> _T:
        self._follow(_FOLLOW)
        if not self._access.writable:
            raise Refused(
                503, "Nobody who could write has this database open; the page only reads."
            )
        return carry_out(self._access.store)

    def _follow(self, pause: float) -> None:
        """See what is there now: the news of an owner, another owner, or its end."""
        access = self._access
        with self._lock:
            if monotonic() - self._followed < pause:
                return
            try:
                access.refresh()
                self.note = ""
            except KVEngineError as error:
                self.note = str(error)
                if (
                    isinstance(access, Access)
                    and access.mode == "files"
                    and not isinstance(error, DatabaseClosed)
                ):
                    access.store.refresh()
            self._followed = monotonic()
