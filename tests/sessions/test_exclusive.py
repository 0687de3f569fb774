"""One session at a time has an object: in order of arrival, with a timeout, and never for ever."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import kvengine
import kvengine.aio

ROOT = Path(__file__).resolve().parents[2]


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for something that other threads bring about."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to pass"
        time.sleep(0.001)


def queued(db: kvengine.Engine, name: tuple[str, str] = ("S", "k")) -> int:
    """Sessions that have the object or wait for it."""
    return db._host.turns.claims(name)


def test_a_counter_of_eight_threads(tmp_path: Path) -> None:
    """8 threads of 1,000 exclusive sessions each that add one end at 8,000: no update is lost."""
    with kvengine.open(tmp_path / "db", durability="os") as db:

        def work() -> None:
            for _ in range(1000):
                with db.object("Counter", "c").session() as state:
                    state.set("n", state.get("n", 0) + 1)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert db.object("Counter", "c").get("n") == 8000
        assert len(db._host.turns) == 0


@pytest.mark.parametrize("durability", ["os", "sync"])
def test_a_counter_of_two_hundred_tasks(tmp_path: Path, durability: str) -> None:
    """200 asyncio tasks of 40 exclusive sessions each that add one end at 8,000."""

    async def main() -> None:
        async with kvengine.aio.open(tmp_path / "db", durability=durability) as db:
            rounds = 40 if durability == "os" else 4

            async def work() -> None:
                for _ in range(rounds):
                    async with db.object("Counter", "c").session() as state:
                        state.set("n", await state.get("n", 0) + 1)

            await asyncio.gather(*(work() for _ in range(200)))
            assert await db.object("Counter", "c").get("n") == 200 * rounds
            assert len(db.engine._host.turns) == 0

    asyncio.run(main())


def test_threads_and_tasks_take_turns_with_each_other(tmp_path: Path) -> None:
    """Sessions of threads and of tasks on one open database exclude each other."""
    with kvengine.open(tmp_path / "db", durability="os") as db:

        def work() -> None:
            for _ in range(500):
                with db.object("Counter", "c").session() as state:
                    state.set("n", state.get("n", 0) + 1)

        async def main() -> None:
            shared = kvengine.aio.wrap(db)

            async def task() -> None:
                for _ in range(50):
                    async with shared.object("Counter", "c").session() as state:
                        state.set("n", await state.get("n", 0) + 1)

            await asyncio.gather(*(task() for _ in range(10)))

        threads = [threading.Thread(target=work) for _ in range(2)]
        for one in threads:
            one.start()
        asyncio.run(main())
        for one in threads:
            one.join()
        assert db.object("Counter", "c").get("n") == 1500


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    """P7: exclusive means this process; another one cannot even open the database."""
    program = (
        "import kvengine, sys\n"
        "try:\n"
        "    kvengine.open(sys.argv[1])\n"
        "except kvengine.DatabaseLocked as error:\n"
        "    print(error.pid)\n"
    )
    with kvengine.open(tmp_path / "db") as db, db.object("Counter", "c").session():
        command = [sys.executable, "-c", program, str(tmp_path / "db")]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=True
        )
    assert int(done.stdout) > 0


def test_waiters_come_in_order_of_arrival(db: kvengine.Engine) -> None:
    """First come, first served, threads and tasks alike."""
    order: list[int] = []
    started: list[threading.Thread] = []

    def sync_waiter(number: int) -> None:
        with db.object("S", "k").session():
            order.append(number)

    def async_waiter(number: int) -> None:
        async def main() -> None:
            async with kvengine.aio.wrap(db).object("S", "k").session():
                order.append(number)

        asyncio.run(main())

    with db.object("S", "k").session():
        for number in range(20):
            target = async_waiter if number % 3 == 0 else sync_waiter
            started.append(threading.Thread(target=target, args=(number,)))
            started[-1].start()
            until(lambda number=number: queued(db) == number + 2)  # type: ignore[misc]
        assert not order
    for one in started:
        one.join()
    assert order == list(range(20))


def test_a_timeout_says_who_has_the_object(db: kvengine.Engine) -> None:
    """SessionTimeout is a TimeoutError, names the object and its holder, and leaves the queue."""
    ready, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with db.object("S", "k").session():
            ready.set()
            leave.wait(10)

    holder = threading.Thread(target=hold, name="the-holder")
    holder.start()
    ready.wait(10)
    for seconds in (0, 0.02):
        with pytest.raises(kvengine.SessionTimeout, match=r"'S', 'k'.*the-holder") as raised:
            with db.object("S", "k").session(timeout=seconds):
                pytest.fail("it was not our turn")
        assert isinstance(raised.value, TimeoutError)
        assert "\n" not in str(raised.value)
    assert queued(db) == 1

    async def main() -> None:
        with pytest.raises(kvengine.SessionTimeout, match="the-holder"):
            async with kvengine.aio.wrap(db).object("S", "k").session(timeout=0.02):
                pytest.fail("it was not our turn")

    asyncio.run(main())
    assert queued(db) == 1
    leave.set()
    holder.join()
    with db.object("S", "k").session(timeout=0):
        pass


def test_one_that_gave_up_is_passed_over(db: kvengine.Engine) -> None:
    """A waiter that timed out in the middle of the queue does not hold up those behind it."""
    order: list[str] = []

    def wait(name: str, timeout: float | None) -> None:
        try:
            with db.object("S", "k").session(timeout=timeout):
                order.append(name)
        except kvengine.SessionTimeout:
            order.append(f"{name} gave up")

    with db.object("S", "k").session():
        threads = []
        for name, timeout in [("first", None), ("second", 0.05), ("third", None)]:
            threads.append(threading.Thread(target=wait, args=(name, timeout)))
            threads[-1].start()
            until(lambda: queued(db) == len(threads) + 1)
        until(lambda: order == ["second gave up"])
    for one in threads:
        one.join()
    assert order == ["second gave up", "first", "third"]


def test_a_nested_session_is_refused(db: kvengine.Engine) -> None:
    """A session of the same object inside a session, in one thread: an error, not a deadlock."""
    with db.object("S", "k").session() as state:
        state.set("a", 1)
        with pytest.raises(kvengine.SessionError, match="this thread or task"):
            with db.object("S", "k").session():
                pytest.fail("nested")
        with db.object("S", "other").session() as other:
            other.set("a", 2)
        with db.object("S", "k").session(read_only=True) as reader:
            assert reader.get("a") is None
        state.set("b", 1)
    assert db.object("S", "k").get_all() == {"a": 1, "b": 1}
    assert db.object("S", "other").get_all() == {"a": 2}


def test_a_nested_try_that_does_not_wait_times_out(db: kvengine.Engine) -> None:
    """A handler that tries for an object of its own with timeout=0 met SessionError, no timeout.

    It does not wait, so it does not wait for itself: it hears that the object is taken.
    """

    async def main() -> None:
        async with kvengine.aio.wrap(db).object("S", "k").session():
            with pytest.raises(kvengine.SessionTimeout, match="is in a session: task"):
                async with kvengine.aio.wrap(db).object("S", "k").session(timeout=0):
                    pytest.fail("nested")

    with db.object("S", "k").session():
        with pytest.raises(kvengine.SessionTimeout, match="is in a session: thread 'MainThread'"):
            with db.object("S", "k").session(timeout=0):
                pytest.fail("nested")
        with pytest.raises(kvengine.SessionError, match="this thread or task"):
            with db.object("S", "k").session(timeout=0.001):
                pytest.fail("nested")
    asyncio.run(main())
    assert len(db._host.turns) == 0


def test_locked(db: kvengine.Engine) -> None:
    """A handle tells whether a session has its object, as locks do; nobody has to try for it."""
    obj = db.object("S", "k")
    awaited = kvengine.aio.wrap(db).object("S", "k")
    assert not obj.locked() and not awaited.locked()
    with obj.session(read_only=True):
        assert not obj.locked()
    with obj.session():
        assert obj.locked() and awaited.locked() and not db.object("S", "other").locked()
    assert not obj.locked()

    async def main() -> None:
        async with awaited.session():
            assert obj.locked() and awaited.locked()
        assert not awaited.locked()

    asyncio.run(main())


def test_a_nested_session_of_a_task_is_refused(db: kvengine.Engine) -> None:
    """The same for a task, also where the outer session is one of its thread."""

    async def main() -> None:
        shared = kvengine.aio.wrap(db)
        async with shared.object("S", "k").session():
            with pytest.raises(kvengine.SessionError, match="this thread or task"):
                async with shared.object("S", "k").session():
                    pytest.fail("nested")
            with pytest.raises(kvengine.SessionError, match="this thread or task"):
                with db.object("S", "k").session():
                    pytest.fail("nested")
        with db.object("S", "k").session():
            with pytest.raises(kvengine.SessionError, match="this thread or task"):
                async with shared.object("S", "k").session():
                    pytest.fail("nested")

    asyncio.run(main())
    with db.object("S", "k").session():
        with pytest.raises(kvengine.SessionError, match="this thread or task"):
            asyncio.run(enter(db))


async def enter(db: kvengine.Engine) -> None:
    async with kvengine.aio.wrap(db).object("S", "k").session():
        pytest.fail("the session around the loop cannot end")


def test_a_session_that_would_stop_its_loop_is_refused(db: kvengine.Engine) -> None:
    """A blocking session behind one of another task of the same loop would stop both for ever."""

    async def main() -> None:
        entered, leave = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            async with kvengine.aio.wrap(db).object("S", "k").session() as state:
                entered.set()
                await leave.wait()
                state.set("a", 1)

        holder = asyncio.create_task(hold())
        await entered.wait()
        with pytest.raises(kvengine.SessionError, match="this thread or task"):
            with db.object("S", "k").session():
                pytest.fail("the loop stands still")
        leave.set()
        await holder

    asyncio.run(main())
    assert db.object("S", "k").get("a") == 1


def test_a_block_is_entered_once_whoever_runs_meanwhile(db: kvengine.Engine) -> None:
    """A finalizer that enters the same block just then is refused: it got a second session."""
    block = db.object("S", "k").session()
    found: list[Any] = []

    class Late:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            with suppress(kvengine.SessionError):
                found.append(block.__enter__())

    threshold = gc.get_threshold()
    gc.collect()
    gc.disable()
    Late()
    gc.set_threshold(1)  # from here on the collector runs at the next thing it tracks
    gc.enable()
    try:
        found.append(block.__enter__())
    except kvengine.SessionError:
        pass
    finally:
        gc.set_threshold(*threshold)
    assert len(found) == 1
    block.__exit__(None, None, None)
    assert len(db._host.turns) == 0


def test_a_session_whose_frame_is_gone_frees_the_object(db: kvengine.Engine) -> None:
    """A session that was entered by hand and forgotten ends with its last reference."""
    block: Any = db.object("S", "k").session()
    state = block.__enter__()
    state.set("a", 1)
    waiter_done = threading.Event()

    def wait() -> None:
        with db.object("S", "k").session():
            waiter_done.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    until(lambda: queued(db) == 2)
    del block
    waiter.join(10)
    assert waiter_done.is_set()
    assert db.version("S", "k") == 0, "nobody committed it"


def test_no_trace_of_sessions_is_left(db: kvengine.Engine) -> None:
    """The queues of 10,000 objects are gone when their sessions are."""
    for number in range(10_000):
        with db.object("S", f"k{number}").session():
            pass
    turns = db._host.turns
    assert not turns._holders and not turns._waiting


def test_a_forked_child_has_no_sessions(tmp_path: Path) -> None:
    """P7: a child gets ForkedError, at once, also for an object that its parent has."""
    with kvengine.open(tmp_path / "db") as db, db.object("S", "k").session() as state:
        state.set("a", 1)
        pid = os.fork()
        if not pid:
            status = 1
            try:
                with db.object("S", "k").session():
                    pass
            except kvengine.ForkedError:
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    with kvengine.open(tmp_path / "db") as db:
        assert db.object("S", "k").get("a") == 1


def test_a_serde_that_is_none_opens_nothing(tmp_path: Path) -> None:
    """A database asked for with a wrong serde is not opened: the next open finds it free."""
    with pytest.raises(ValueError, match="yaml"):
        kvengine.open(tmp_path / "db", serde="yaml")
    with pytest.raises(TypeError, match="encode"):
        kvengine.open(tmp_path / "db", serdes={"S": object()})
    assert not (tmp_path / "db").exists()
