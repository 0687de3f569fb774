"""One sync at a time for all commits of a loop that wait to be durable."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kvengine.errors import WriteFailed
from kvengine.storage.state import Commit

Ended = Callable[[BaseException | None], object]
"""Is called when something has ended, with the error if it failed."""

Sync = Callable[[Commit, Ended], object]
"""Begins to make a commit, and with it all before it, durable and visible. Must not raise."""


class Syncs:
    """Commits that are in the log and wait to be durable. For one thread, that of the loop.

    The first starts a sync; those that come while it runs wait for the next, together.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[Commit, Ended]] = []
        self._is_running = False

    def __len__(self) -> int:
        """Return how many commits wait for the next sync."""
        return len(self._waiting)

    def add(self, commit: Commit, sync: Sync, ended: Ended) -> None:
        """Let a commit be made durable by ``sync``, at once or after the one that runs.

        ``ended`` is called with None when it is durable, with WriteFailed or what the sync raised
        if it cannot be.
        """
        self._waiting.append((commit, ended))
        if not self._is_running:
            self._start(sync)

    def _start(self, sync: Sync) -> None:
        self._is_running = True
        group, self._waiting = self._waiting, []
        sync(group[-1][0], partial(self._ended, group, sync))

    def _ended(
        self, group: list[tuple[Commit, Ended]], sync: Sync, error: BaseException | None
    ) -> None:
        self._is_running = False
        if self._waiting:
            self._start(sync)
        for commit, ended in group:
            if commit.published:
                ended(None)
            else:
                ended(error or WriteFailed("the sync was broken off"))
