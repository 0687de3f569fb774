"""A session interrupted or cancelled anywhere leaves no turn taken and no half of a commit."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import kvengine
import kvengine.aio
from kvengine import compiled
from kvengine.fs.memory import MemoryFileSystem
from tests.durability.tripwire import Tripwire

pytestmark = [
    pytest.mark.timeout(120),
    # A snapshot that was interrupted on its way to the session: nobody could close it.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

ROOT = Path(__file__).resolve().parents[2]
SESSIONS = int(os.environ.get("KVENGINE_INTERRUPTED_SESSIONS", "10000"))


class Counter(kvengine.State):
    """Two entries that every commit changes together."""

    n: int = 0
    history: list[int] = []


def untyped(obj: kvengine.VirtualObject, number: int, **loading: Any) -> None:
    with obj.session(**loading) as state:
        state.set("n", number)
        state.set("history", [*state.get("history", []), number][-3:])
        assert state.state_keys() == ["history", "n"]


def typed(obj: kvengine.VirtualObject, number: int) -> None:
    with obj.session(Counter) as state:
        state.n = number
        state.history.append(number)
        del state.history[:-3]


def in_steps(obj: kvengine.VirtualObject, number: int) -> None:
    with obj.session(preload=False) as state:
        state.set("n", number)
        state.set("history", [number])
        state.commit()
        state.set("last", number)


SHAPES: dict[str, Callable[[kvengine.VirtualObject, int], None]] = {
    "eager": untyped,
    "lazy": lambda obj, number: untyped(obj, number, preload=False),
    "partial": lambda obj, number: untyped(obj, number, preload_limit=3),
    "typed": typed,
    "in steps": in_steps,
}


def check(obj: kvengine.VirtualObject, number: int, before: int, where: str) -> int:
    """The commit is there in whole or not at all; the object is free, in any thread, at once."""
    found: list[dict[str, Any]] = []

    def other() -> None:
        with obj.session(timeout=2) as state:
            found.append(state.get_all())

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert found, f"the object was not free, {where}"
    with obj.session(timeout=0):
        pass
    n = found[0].get("n", 0)
    assert n in (before, number), where
    assert found[0].get("history", [0])[-1] == n, f"half a commit, {where}"
    return int(n)


@pytest.mark.parametrize("durability", ["os", "sync"])
@pytest.mark.parametrize("shape", SHAPES)
def test_interrupted_at_any_point(shape: str, durability: str) -> None:
    """KeyboardInterrupt at each point at which CPython could deliver it, one by one."""
    options = {"background": "none", "durability": durability}
    with kvengine.open("/db", fs=MemoryFileSystem(), **options) as db:
        obj = db.object("S", "k")
        n, lost, kept = 1, 0, 0
        while True:
            # Always behind a session that went well: the way to the n-th point is the same.
            SHAPES[shape](obj, 2 * n)
            before, number = 2 * n, 2 * n + 1
            wire = Tripwire(n, KeyboardInterrupt)
            with suppress(KeyboardInterrupt):
                wire.run(lambda number=number: SHAPES[shape](obj, number))  # type: ignore[misc]
            after = check(obj, number, before, f"at {wire.tripped}")
            if not wire.tripped:
                break
            lost, kept = lost + (after == before), kept + (after != before)
            n += 1
        if compiled.form == "compiled":  # most points are bytecodes of the hot modules
            assert lost > 2, (lost, kept)
        else:
            assert lost > 30 and kept > 2, (lost, kept)
        assert db.stats().open_snapshots == 0


def test_interrupted_in_the_queue() -> None:
    """KeyboardInterrupt at each point of a wait that times out: nobody else is held up."""
    with kvengine.open("/db", fs=MemoryFileSystem(), background="none") as db:
        obj = db.object("S", "k")
        holding, leave = threading.Event(), threading.Event()

        def hold() -> None:
            with obj.session() as state:
                state.set("n", 0)
                holding.set()
                leave.wait(60)

        def wait() -> None:
            with suppress(kvengine.SessionTimeout), obj.session(timeout=0.001):
                pytest.fail("it was not our turn")

        thread = threading.Thread(target=hold)
        thread.start()
        holding.wait(10)
        n = 1
        while True:
            wire = Tripwire(n, KeyboardInterrupt)
            with suppress(KeyboardInterrupt):
                wire.run(wait)
            if not wire.tripped:
                break
            n += 1
        leave.set()
        thread.join()
        assert n > (12 if compiled.form == "compiled" else 20)
        check(obj, 0, 0, "in the queue")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_real_signals(tmp_path: Path) -> None:
    """10,000 sessions interrupted at random moments, by real signals: none half done, none held."""
    command = [sys.executable, "-m", "tests.sessions.signalled", str(tmp_path / "db")]
    done = subprocess.run(
        [*command, str(SESSIONS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    sessions, interrupted = map(int, done.stdout.split())
    assert interrupted == SESSIONS < sessions


@pytest.mark.slow
@pytest.mark.parametrize("durability", ["os", "sync"])
def test_cancelled_at_random_points(tmp_path: Path, durability: str) -> None:
    """10,000 sessions of tasks, cancelled at random: waiting, loading, working, committing."""

    async def main() -> tuple[int, int]:
        rng, loop = random.Random(7), asyncio.get_running_loop()
        finished = cancelled = 0
        async with kvengine.aio.open(tmp_path / "db", durability=durability) as db:
            objects = [db.object("S", f"k{number}") for number in range(10)]

            async def work(obj: kvengine.aio.VirtualObject) -> None:
                async with obj.session(preload=rng.random() < 0.5) as state:
                    n = await state.get("n", 0) + 1
                    await asyncio.sleep(0)
                    state.set("n", n)
                    state.set("history", [n])

            span = 0.004 if durability == "os" else 0.02
            for _ in range(SESSIONS // 2 // 100):
                tasks = [asyncio.create_task(work(rng.choice(objects))) for _ in range(100)]
                for one in rng.sample(tasks, 60):
                    loop.call_later(rng.uniform(0, span), one.cancel)
                results = await asyncio.gather(*tasks, return_exceptions=True)
                for result in results:
                    assert result is None or isinstance(result, asyncio.CancelledError), result
                cancelled += sum(result is not None for result in results)
                finished += sum(result is None for result in results)
                assert len(db.engine._host.turns) == 0
            total = 0
            for obj in objects:
                found = await obj.get_all()
                total += found.get("n", 0)
                assert found.get("history", [0]) == [found.get("n", 0)]
            assert db.stats().open_snapshots == 0
        # A task that was cancelled while it committed may have committed.
        assert finished <= total <= finished + cancelled
        return finished, cancelled

    finished, cancelled = asyncio.run(main())
    assert finished > SESSIONS // 10 and cancelled > SESSIONS // 20
