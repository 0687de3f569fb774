"""kvengine.aio: commits of many tasks on one event loop, with its default options."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from benchmarks.peers.base import Entries
from kvengine import aio

Call = tuple[str, str, Entries]


class KvengineTasks:
    """One open store and its event loop; every commit is synced."""

    def __init__(self, directory: str) -> None:
        self._runner = asyncio.Runner()
        self._db = self._runner.run(_open(directory))

    def commit(self, shares: Sequence[Sequence[Call]]) -> None:
        """Commit all shares, each by a task of its own, one call after another."""
        self._runner.run(self._gather(shares))

    async def _gather(self, shares: Sequence[Sequence[Call]]) -> None:
        await asyncio.gather(*(self._commit_all(calls) for calls in shares))

    async def _commit_all(self, calls: Sequence[Call]) -> None:
        for service, key, entries in calls:
            async with self._db.batch() as batch:
                for state_key, value in entries.items():
                    batch.set(service, key, state_key, value)

    def close(self) -> None:
        """Release the directory and the loop."""
        self._runner.run(self._db.close())
        self._runner.close()


async def _open(directory: str) -> aio.Engine:
    return await aio.open(directory, durability="sync")
