"""Thousands of sessions wait for one object: each costs what one of a few costs."""

from __future__ import annotations

import asyncio
import gc
import threading
from weakref import ref

import pytest

from kvengine.errors import SessionError
from kvengine.objects.sessions.turns import LOOK_AGAIN, Turn, Turns

NAME = ("S", "k")


class Claim:
    """A claim that counts how often somebody asks whether its turn lives."""

    asked = 0

    def __init__(self, turn: Turn) -> None:
        self._turn = turn

    def __call__(self) -> Turn:
        Claim.asked += 1
        return self._turn


def asked_for_each(count: int) -> float:
    """How often claims are asked, for each of so many tasks that queue up and take their turn."""
    turns = Turns()

    async def one(number: int) -> None:
        turn = Turn()
        turn.claim = Claim(turn)  # type: ignore[assignment]
        come = asyncio.Event()
        if not turns.join(NAME, turn, False):
            turn.call = come.set
            assert not turns.has_come(NAME, turn)
            await come.wait()
            assert turns.has_come(NAME, turn)
        await asyncio.sleep(0)
        done.append(number)
        turns.leave(NAME, turn)

    async def all_of_them() -> None:
        await asyncio.gather(*(one(number) for number in range(count)))

    done: list[int] = []
    before = Claim.asked
    asyncio.run(all_of_them())
    assert done == list(range(count))
    assert len(turns) == 0
    assert not turns._waiting
    return (Claim.asked - before) / count


def test_a_waiter_costs_the_same_however_many_wait() -> None:
    """All others were asked at each arrival and each end: 4,000 took 16,000,000 looks."""
    assert asked_for_each(2000) < 1.5 * asked_for_each(50) + 5


def test_those_that_wait_look_in_turns() -> None:
    """Four times a second each, thousands kept a core busy with nothing."""
    turns = Turns()
    kept = []

    async def wait() -> None:
        turn = Turn()
        turn.claim = ref(turn)
        kept.append(turn)
        turns.join(NAME, turn, False)

    async def all_of_them() -> None:
        await asyncio.gather(*(wait() for _ in range(1000)))

    assert turns.patience(NAME) == LOOK_AGAIN
    asyncio.run(all_of_them())
    assert turns.patience(NAME) > 10
    assert 999 / turns.patience(NAME) < 100


def test_those_that_wait_for_many_objects_look_in_turns() -> None:
    """4,000 waiters for as many objects kept a core busy: only those of one object took turns."""
    turns = Turns()
    kept = []

    def join(number: int) -> None:
        turn = Turn()
        turn.claim = ref(turn)
        kept.append(turn)
        turns.join(("S", str(number)), turn, False)

    for _ in range(2):
        thread = threading.Thread(target=lambda: [join(number) for number in range(1000)])
        thread.start()
        thread.join()
    periods = [turns.patience(("S", str(number))) for number in range(1000)]
    assert sum(1 / period for period in periods) < 100
    assert max(periods) <= 60


def joined(turns: Turns, blocking: bool) -> Turn:
    turn = Turn()
    turn.claim = ref(turn)
    turns.join(NAME, turn, blocking)
    return turn


def test_turns_that_died_in_the_queue_stop_nobody() -> None:
    """Neither is a dead one waited for, nor is it taken for one that would be blocked."""
    turns = Turns()
    main = threading.Thread(target=lambda: kept.append(joined(turns, True)))
    kept: list[Turn] = []
    main.start()
    main.join()

    async def die() -> None:
        joined(turns, False)

    async def several() -> None:
        await asyncio.gather(*(die() for _ in range(5)))

    asyncio.run(several())
    gc.collect()
    turn = joined(turns, True)  # in the thread of the loop, in which nobody waits any more
    assert not turns.has_come(NAME, turn)
    turns.leave(NAME, kept.pop())
    assert turns.has_come(NAME, turn)
    turns.leave(NAME, turn)
    assert len(turns) == 0
    assert not turns._waiting


def test_a_thread_may_not_stop_the_tasks_that_wait_in_it() -> None:
    """However many of the tasks have died before."""
    turns = Turns()
    kept: list[Turn] = []
    other = threading.Thread(target=lambda: kept.append(joined(turns, True)))
    other.start()
    other.join()

    async def wait(keep: bool) -> None:
        turn = joined(turns, False)
        if keep:
            kept.append(turn)

    async def several() -> None:
        await asyncio.gather(*(wait(keep) for keep in (False, False, True)))
        gc.collect()
        with pytest.raises(SessionError, match="cannot end"):
            joined(turns, True)

    asyncio.run(several())
