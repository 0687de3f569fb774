"""`kvengine.retry`: what met a conflict runs again, as a decorator and as a loop."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import kvengine
import kvengine.aio
from kvengine import attempts

CONFLICT = kvengine.VersionConflict("S", "k", 1, 2)


class Failing:
    """Meets a conflict so many times, then returns what it was given."""

    def __init__(self, conflicts: int) -> None:
        self.left = conflicts
        self.calls = 0

    def __call__(self, value: Any = "done", *, other: int = 0) -> Any:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise CONFLICT
        return value, other


def test_a_function_runs_again() -> None:
    """Users wrote this loop by hand around each handler. Arguments and result pass through."""
    work = Failing(2)
    assert kvengine.retry(work)("a", other=1) == ("a", 1)
    assert work.calls == 3


def test_the_last_conflict_is_raised() -> None:
    """`times` counts all runs; what the last one raises is what the caller sees."""
    work = Failing(9)
    with pytest.raises(kvengine.VersionConflict) as raised:
        kvengine.retry(times=3)(work)()
    assert work.calls == 3 and raised.value is CONFLICT


def test_other_errors_are_raised_at_once() -> None:
    """Only a conflict is a reason to run something again."""
    calls = []

    @kvengine.retry
    def work() -> None:
        calls.append(1)
        raise KeyError("other")

    with pytest.raises(KeyError):
        work()
    assert len(calls) == 1


def test_a_handler_with_rivals(tmp_path: Path) -> None:
    """Four threads that write without turns, through batches, all come through: none is lost."""
    with kvengine.open(tmp_path / "db", durability="os") as db:

        @kvengine.retry(times=200)
        def add() -> None:
            version = db.version("S", "k")
            batch = kvengine.Batch()
            batch.set("S", "k", "n", b"%d" % (int(db.get("S", "k", "n") or 0) + 1))
            db.write(batch, expect={("S", "k"): version})

        threads = [threading.Thread(target=lambda: [add() for _ in range(50)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert db.get("S", "k", "n") == b"200"


def test_what_is_in_conflict_with_a_commit_that_is_being_synced(tmp_path: Path) -> None:
    """A retry that did not pause used up its runs before the rival's commit was visible."""
    with kvengine.open(tmp_path / "db", durability="sync") as db:

        @kvengine.retry(times=40)
        def add() -> None:
            version = db.version("S", "k")
            batch = kvengine.Batch()
            batch.set("S", "k", "n", b"%d" % (int(db.get("S", "k", "n") or 0) + 1))
            db.write(batch, expect={("S", "k"): version})

        threads = [threading.Thread(target=lambda: [add() for _ in range(5)]) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert db.get("S", "k", "n") == b"15"


def test_a_loop(db: kvengine.Engine) -> None:
    """The body runs again; attempts are counted; leaving by break or return is the end."""
    work, numbers = Failing(2), []
    for attempt in kvengine.retry():
        with attempt:
            numbers.append(attempt.number)
            work()
    assert numbers == [1, 2, 3]
    with pytest.raises(kvengine.VersionConflict):
        for attempt in kvengine.retry(times=2):
            with attempt:
                raise CONFLICT
    for _ in kvengine.retry():
        numbers.append(0)  # a body that forgets `with attempt` runs once
    assert numbers == [1, 2, 3, 0]


def test_a_coroutine_function() -> None:
    """The decorator knows coroutine functions, and its pauses do not stop the loop."""
    work = Failing(3)

    @kvengine.retry
    async def handler(value: str) -> Any:
        await asyncio.sleep(0)
        return work(value)

    async def main() -> None:
        assert asyncio.iscoroutinefunction(handler) and handler.__name__ == "handler"
        assert await handler("a") == ("a", 0)
        again = Failing(1)
        async for attempt in kvengine.retry():
            with attempt:
                again()
        assert again.calls == 2
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    assert work.calls == 4


def test_objects_with_an_awaited_call() -> None:
    """Their coroutine was returned, not run again: the first conflict came out of it."""

    class Work:
        calls = 0

        async def __call__(self) -> int:
            self.calls += 1
            if self.calls < 3:
                raise CONFLICT
            return self.calls

    assert asyncio.run(kvengine.retry(Work())()) == 3  # type: ignore[arg-type]


def test_pauses_are_bounded() -> None:
    """The 1,025th raised OverflowError: a rival that syncs for minutes is met as often."""
    assert 0.05 <= attempts._pause(5000) <= 0.1


@pytest.mark.parametrize("verb", ["pop", "object.pop"])
def test_a_pop_does_not_spin(tmp_path: Path, verb: str) -> None:
    """While a rival's commit synced `Store.pop` tried again without a pause: a whole core."""
    with kvengine.open(tmp_path / "db") as db:
        db.set("S", "k", "n", b"1")
        with db._db.sync_lock:
            rival = threading.Thread(target=db.set, args=("S", "k", "m", b"2"))
            rival.start()
            while not db._db.pending:
                time.sleep(0.001)
            popped: list[object] = []

            def pop() -> None:
                began = time.thread_time()
                db.pop("S", "k", "n") if verb == "pop" else db.object("S", "k").pop("n")
                popped.append(time.thread_time() - began)

            popping = threading.Thread(target=pop)
            popping.start()
            time.sleep(0.5)
        rival.join()
        popping.join()
        assert popped[0] < 0.25, "seconds of CPU"
        assert db.get("S", "k", "n") is None


def test_methods() -> None:
    """A method of a class is decorated as any function."""

    class Cart:
        def __init__(self) -> None:
            self.work = Failing(1)

        @kvengine.retry(times=2)
        def pay(self) -> Any:
            return self.work()

    assert Cart().pay() == ("done", 0)


def test_wrong_use() -> None:
    """What cannot be run again, or never runs, is refused where it is decorated."""

    def numbers() -> Any:
        yield 1

    wrong: Any = kvengine.retry
    with pytest.raises(TypeError, match="generator"):
        wrong(numbers)
    with pytest.raises(TypeError, match="times="):
        wrong(3)
    for times, error in ((0, ValueError), (True, TypeError), ("3", TypeError), (None, TypeError)):
        with pytest.raises(error, match="times must be"):
            wrong(times=times)
