"""Waiting for one's turn in a task (sessions/turns.py has the queue, which threads share)."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress

from kvengine.objects.sessions.turns import Turn, Turns, timed_out
from kvengine.storage.names import Name


async def wait(turns: Turns, name: Name, turn: Turn, seconds: float | None) -> None:
    """Wait for a turn in this task, at most ``seconds``; SessionTimeout past that.

    After any exception, cancellation among them, the caller leaves the queue.
    """
    loop = asyncio.get_running_loop()
    bell = asyncio.Event()

    def ring() -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(bell.set)

    turn.call = ring
    end = math.inf if seconds is None else loop.time() + seconds
    while not turns.has_come(name, turn):
        left = end - loop.time()
        if left <= 0:
            raise timed_out(turns, name, seconds or 0)
        with suppress(TimeoutError):
            async with asyncio.timeout(min(left, turns.patience(name))):
                await bell.wait()
        bell.clear()
