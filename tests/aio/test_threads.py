"""asyncio where the system has no thread to give: one call may fail, and none hangs.

The pool queues work before it asks for a thread. When none could be started, the error went to
whoever committed, the group of commits was never marked as finished, and every later commit of the
loop waited for it for ever.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

import kvengine.aio
from kvengine.aio.waiting import Waits


class NoThreads:
    """Lets threads of the pool start, or not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refusing = False
        self.refused = 0
        start = threading.Thread.start

        def guarded(thread: threading.Thread) -> None:
            if self.refusing and thread.name.startswith("kvengine-aio"):
                self.refused += 1
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", guarded)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> NoThreads:
    return NoThreads(monkeypatch)


@pytest.mark.parametrize("started", [0, 1])
def test_a_commit_is_made_without_a_thread(
    tmp_path: Path, threads: NoThreads, started: int
) -> None:
    """What is in the log becomes durable all the same, and the stamp is told."""

    async def main() -> None:
        async with kvengine.aio.open(tmp_path / "db") as db:
            stamps = [await db.set("S", "k", f"before-{n}", b"0") for n in range(started)]
            threads.refusing = True
            stamps += [await asyncio.wait_for(db.set("S", "k", f"n{n}", b"1"), 5) for n in range(3)]
            together = [asyncio.create_task(db.set("S", f"k{n}", "n", b"2")) for n in range(20)]
            stamps += await asyncio.wait_for(asyncio.gather(*together), 5)
            assert stamps == sorted({*stamps})
            threads.refusing = False
            await db.set("S", "k", "after", b"3")
            assert len(await db.get_all("S", "k")) == started + 4

    asyncio.run(main())
    assert threads.refused or started  # one thread may do for all
    with kvengine.open(tmp_path / "db") as db:
        assert len(list(db.object_keys("S"))) == 21


def test_what_fails_for_want_of_a_thread_is_not_done_later(
    tmp_path: Path, threads: NoThreads
) -> None:
    """The pool has it in its queue, and the next thread would find it there."""
    done: list[str] = []

    async def main() -> None:
        async with kvengine.aio.open(tmp_path / "db") as db:
            threads.refusing = True
            with pytest.raises(RuntimeError, match="thread"):
                await db._waits.run(done.append, "refused")
            threads.refusing = False
            await db._waits.run(done.append, "done")

    asyncio.run(main())
    assert done == ["done"]


def test_a_thread_that_is_there_does_it(tmp_path: Path, threads: NoThreads) -> None:
    """Where the pool wants one more thread and has others, one of those takes it."""

    async def main() -> None:
        async with kvengine.aio.open(tmp_path / "db") as db:
            waits: Waits = db._waits
            gate = threading.Event()
            busy = waits.run(gate.wait, 5)
            await asyncio.sleep(0.05)
            threads.refusing = True
            outcomes = []
            for _ in range(3):
                try:
                    outcomes.append(waits.run(threading.get_ident))
                except RuntimeError:
                    outcomes.append(None)
            gate.set()
            assert await busy
            for one in outcomes:
                assert one is None or await asyncio.wait_for(one, 5) != threading.get_ident()
            threads.refusing = False
            assert await waits.run(lambda: 7) == 7

    asyncio.run(main())
