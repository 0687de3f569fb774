"""The engine for asyncio: each verb is that of `kvengine.Engine`, at once or in a thread."""

from __future__ import annotations

import os
from datetime import timedelta
from functools import partial

import kvengine.engine
from kvengine.aio.reads import Snapshot
from kvengine.aio.store import Store
from kvengine.aio.waiting import Waits
from kvengine.aio.watch import Watch
from kvengine.closing import adopt_docstrings
from kvengine.errors import CorruptionError
from kvengine.storage import feed
from kvengine.store import Estimate, Limits, SegmentStats, Stats


class Engine(Store):
    _waits: Waits

    """The embedded engine, awaited. Made by `kvengine.aio.open` or `kvengine.aio.wrap`.

    Each verb is documented at `kvengine.Engine`. ``engine`` is that one beneath, which other
    threads may use beside this: sessions of both take turns with each other.
    """

    def __init__(self, engine: kvengine.engine.Engine, *, owned: bool = False) -> None:
        """``owned``: whether `close` closes ``engine`` too."""
        self.engine = engine
        self._owned = owned
        super().__init__(engine, Waits(engine), engine)

    # --- reading: the verbs are those of `Reads`

    @property
    def limits(self) -> Limits:
        """Return the largest names, values and commits that this store takes."""
        return self.engine.limits

    def snapshot(self) -> Snapshot:
        """Return all read verbs as of now, for ``async with`` or until it is closed."""
        self._waits.check_open()
        return Snapshot(self.engine.snapshot(), self._waits)

    def watch(self, service: str, key: str | None = None, *, prefix: str = "") -> Watch:
        begin = partial(feed.begin, self.engine._db, service, key, prefix)
        return Watch(self._waits, begin)

    # --- the whole

    def retention(self, service: str) -> timedelta:
        self._waits.check_open()
        return self.engine.retention(service)

    def retentions(self) -> dict[str, timedelta]:
        self._waits.check_open()
        return self.engine.retentions()

    async def flush(self) -> None:
        await self._waits.run(self.engine.flush)

    async def compact(self, service: str | None = None) -> None:
        await self._waits.run(self.engine.compact, service)

    async def checkpoint(self, path: str | os.PathLike[str]) -> None:
        await self._waits.run(self.engine.checkpoint, path)

    async def verify(self) -> list[CorruptionError]:
        return await self._waits.run(self.engine.verify)

    async def refresh(self) -> bool:
        return await self._waits.run(self.engine.refresh)

    def stats(self) -> Stats:
        """Figures of this moment."""
        return self.engine.stats()

    def estimate(self, service: str, *, prefix: str = "") -> Estimate:
        return self.engine.estimate(service, prefix=prefix)

    def segments(self) -> tuple[SegmentStats, ...]:
        return self.engine.segments()

    async def close(self) -> None:
        """End the use of the database in this loop. May be called again.

        One made by `kvengine.aio.open` makes everything durable and lets go of the directory;
        one made by `kvengine.aio.wrap` leaves the engine beneath open.
        """
        if self._owned and not self._waits.closed:
            await self._waits.run(self.engine.close)
        self._waits.close()

    def __repr__(self) -> str:
        return f"<kvengine.aio.Engine {self.engine.path!r}>"


adopt_docstrings(Engine, kvengine.engine.Engine)
