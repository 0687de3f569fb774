"""One sync at a time for all that the tasks of a loop have committed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from kvengine.errors import WriteFailed
from kvengine.storage.state import Commit

Waiter = tuple[Commit, "asyncio.Future[int]"]


Finish = Callable[[Commit], "asyncio.Future[int]"]
"""Starts a thread that makes a commit, and with it all before it, durable and visible."""


class Syncs:
    """Commits that are in the log and wait to be durable.

    The first starts a sync; those that come while it runs wait for the next, together.
    """

    def __init__(self) -> None:
        self._waiting: list[Waiter] = []
        self._running = False

    def add(self, commit: Commit, stamp: asyncio.Future[int], finish: Finish) -> None:
        """Set ``stamp`` when the commit is durable, or its exception if it cannot be."""
        self._waiting.append((commit, stamp))
        if not self._running:
            self._start(finish)

    def _start(self, finish: Finish) -> None:
        self._running = True
        group, self._waiting = self._waiting, []
        newest = group[-1][0]
        finish(newest).add_done_callback(partial(self._finished, group, finish))

    def _finished(self, group: list[Waiter], finish: Finish, work: asyncio.Future[int]) -> None:
        failure = None if work.cancelled() else work.exception()
        for commit, stamp in group:
            if stamp.done():  # whoever waited was cancelled
                continue
            if commit.published:
                stamp.set_result(commit.stamp)
            else:
                stamp.set_exception(_copy(failure))
        self._running = False
        if self._waiting:
            self._start(finish)


def _copy(failure: BaseException | None) -> Exception:
    """An exception for each that waits: they are raised in different tasks."""
    error = WriteFailed(str(failure) if failure is not None else "the sync was broken off")
    error.__cause__ = failure
    return error
