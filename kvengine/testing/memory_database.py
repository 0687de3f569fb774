"""A database in memory whose clock, disk and end a test decides."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random
from typing import Any, Self

from kvengine.engine import Engine
from kvengine.errors import KVEngineError
from kvengine.fs.faulty import FaultyFileSystem
from kvengine.fs.memory import MemoryFileSystem
from kvengine.opening import open
from kvengine.storage.clock import ManualClock
from kvengine.testing.crash_points import CrashPoints

_PATH = "/db"
_NEEDS_SPACE = frozenset({"create", "write", "allocate", "link", "makedirs", "lock_write"})
"""Calls that a full disk refuses."""


class MemoryDatabase:
    """A database in memory. A context manager, which closes it.

    - `db`: the open `Engine`. `kill`, `power_cut` and `reopen` put another one here, so take it
      from here each time. `kvengine.aio.wrap(kv.db)` is its face for asyncio.
    - `clock`: the `ManualClock` that expiry goes by. Timeouts of sessions go by real time.
    - `fs`: the `FaultyFileSystem` it lies on; `kv.fs.fail_at` makes any call fail. It is another
      one, without failures, from the next `kill`, `power_cut` or `reopen` on.

    It starts no thread: flush and compaction run inside of the commit that makes them due. Commits
    are synced, as in production, so `power_cut` takes nothing that was acknowledged.
    """

    def __init__(self, *, clock: ManualClock | None = None, **options: Any) -> None:
        """Open an empty database.

        ``clock``: by default one at 2023-11-14 22:13:20 UTC. ``options``: of `kvengine.open`, but
        for ``path`` and ``fs``; by default ``background="none"``.
        """
        self.clock: ManualClock = ManualClock() if clock is None else clock
        self._options: dict[str, Any] = {"background": "none"} | options
        self._memory = MemoryFileSystem()
        self._open(self._memory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database, whatever its disk does. May be called again."""
        self.fs.clear()
        with suppress(KVEngineError, OSError):  # of an earlier failure, which the test has seen
            self.db.close()

    def reopen(self) -> Engine:
        """Close the database, as a program does that ends by itself, and open it again."""
        self.close()
        return self._open(self._memory)

    def kill(self) -> Engine:
        """End the process by kill -9, as it were, and open the database again.

        What was written is there, synced or not. Sessions that were open have committed nothing.
        """
        return self._go_on_with(self._memory.copy())

    def power_cut(self, seed: int | None = None) -> Engine:
        """Cut the power, as it were, and open the database again.

        With None what was not synced is gone. Otherwise each unsynced change is there, torn or
        gone, as ``seed`` decides; any number of seeds may be tried.
        """
        return self._go_on_with(self._memory.crash(None if seed is None else Random(seed)))

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Refuse, inside of the block, whatever needs space on the disk (ENOSPC).

        The first write that meets it raises `OSError` or `WriteFailed`; from then on the engine
        takes no writes until it is opened again (`reopen`), whether there is space or not. Reads
        go on.
        """
        self.fs.fail_at(1, sticky=True, operations=_NEEDS_SPACE)
        try:
            yield
        finally:
            self.fs.clear()

    def crash_points(self, *, power: bool = False, seeds: int = 2) -> CrashPoints:
        """Return a context manager that notes each moment at which a crash may hit its block.

        Iterate over it afterwards: it yields a database for each, opened as after kill -9 just
        then, or with ``power`` as after a power cut: one that took all that was not synced, and
        ``seeds`` more that kept some of it.
        """
        return CrashPoints(self._memory, self._open_image, seeds if power else None)

    def _open_image(self, fs: MemoryFileSystem) -> Engine:
        return open(_PATH, fs=fs, clock=self.clock, **self._options)

    def _go_on_with(self, image: MemoryFileSystem) -> Engine:
        self.close()  # on the disk that it leaves behind
        return self._open(image)

    def _open(self, memory: MemoryFileSystem) -> Engine:
        self._memory = memory
        self.fs: FaultyFileSystem = FaultyFileSystem(memory)
        self.db: Engine = open(_PATH, fs=self.fs, clock=self.clock, **self._options)
        return self.db
