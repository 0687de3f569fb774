"""A walk that several threads read, or that an interrupt, a handler or a fork meets half way."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kvengine
import kvengine.aio

PROGRAM = """
import sys, threading
import kvengine
import kvengine.aio

with kvengine.open(sys.argv[1], durability="os", memtable_size=20_000, background="none") as db:
    for turn in range(12):
        with db.batch() as batch:
            for number in range(2000):
                batch.set("A", f"{number:05}", "n", b"%d" % number)
        if turn % 3 == 0:
            db.compact()
        walk = {walk}
        taken, raised = [], []

        def take():
            try:
                for one in walk:
                    taken.append(getattr(one, "key", one))
            except Exception as error:
                raised.append(error)

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not raised, raised
        assert sorted(taken) == [f"{number:05}" for number in range(2000)]
        assert db.stats().open_snapshots == 0
"""


@pytest.mark.parametrize(
    "walk", ['db.scan("A")', 'db.object_keys("A")', 'db.scan("A", reverse=True)']
)
def test_threads_share_a_walk(tmp_path: Path, walk: str) -> None:
    """Each object goes to one of them. In a process of its own, for it crashed: a thread that came
    while another was within got "generator already executing", at which `itertools.chain` freed
    that generator.
    """
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("{walk}", walk), str(tmp_path / "db")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def db(tmp_path: Path) -> Iterator[kvengine.Engine]:
    with kvengine.open(tmp_path / "db", durability="os") as db:
        with db.batch() as batch:
            for number in range(1000):
                batch.set("A", f"{number:05}", "n", b"1")
        yield db


@pytest.mark.plain
def test_a_refused_next_ends_nothing(db: kvengine.Engine) -> None:
    """A handler that asked for more while the walk fetched was refused, and closed it: the walk
    that it had interrupted then came to an end early, without an error.
    """
    with db.snapshot() as snapshot:
        walk = snapshot.object_keys("A")
        first = next(walk)
        inner = walk._windows  # type: ignore[attr-defined]

        def windows() -> Iterator[Any]:
            for window in inner:
                with pytest.raises(kvengine.KVEngineError, match="on a walk that is fetching"):
                    next(walk)
                yield window

        walk._windows = windows()  # type: ignore[attr-defined]
        assert [first, *walk] == [f"{number:05}" for number in range(1000)]


@pytest.mark.plain
def test_what_a_thread_has_taken_is_given_though_another_comes_to_the_end(
    db: kvengine.Engine,
) -> None:
    """The one at the end closed the moment; the other then got DatabaseClosed instead of its item.

    Here both are one thread: between taking an item and giving it, the rest is taken.
    """
    walk = db.object_keys("A")
    rest: list[str] = []

    class Items:
        """Gives one item, before which somebody else takes all the others."""

        def __iter__(self) -> Items:
            return self

        def __next__(self) -> str:
            walk._items = iter(())  # type: ignore[attr-defined]
            rest.extend(walk)
            return "taken"

    walk._items = Items()  # type: ignore[attr-defined]
    assert next(walk) == "taken"
    assert len(rest) == 1000 and list(walk) == []


@pytest.mark.plain
def test_a_walk_that_was_broken_off_does_not_look_complete(db: kvengine.Engine) -> None:
    """An interrupt of one thread ended the walk for all who shared it: they took it for whole."""
    walk = db.object_keys("A")
    next(walk)

    def interrupted() -> Iterator[Any]:
        raise KeyboardInterrupt("stop")
        yield

    walk._windows = interrupted()  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        list(walk)
    for _ in range(2):
        with pytest.raises(kvengine.KVEngineError, match="ended early: KeyboardInterrupt: stop"):
            next(walk)
    assert db.stats().open_snapshots == 0


@pytest.mark.plain
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_while_another_thread_fetches(db: kvengine.Engine) -> None:
    """The child waited for the lock of a thread that it does not have, for ever."""
    walk = db.object_keys("A")
    next(walk)
    with walk._lock:  # type: ignore[attr-defined]
        thread = threading.Thread(target=lambda: status.append(_in_a_child(walk)))
        status: list[int] = []
        thread.start()
        thread.join()
    assert status == [0]


def _in_a_child(walk: Iterator[str]) -> int:
    child = os.fork()
    if not child:
        signal.alarm(20)
        try:
            list(walk)
        except kvengine.ForkedError:
            os._exit(0)
        os._exit(1)
    return os.waitpid(child, 0)[1]


@pytest.mark.plain
def test_a_walk_that_is_closed_while_another_thread_fetches(db: kvengine.Engine) -> None:
    """It gave the window that was being read, of a moment that commits no longer spared: keys were
    missing in it, and then it ended as if it were whole.
    """
    walk = db.object_keys("A")
    next(walk)
    inner = walk._windows  # type: ignore[attr-defined]

    def windows() -> Iterator[Any]:
        for window in inner:
            walk.close()  # type: ignore[attr-defined]
            yield window

    walk._windows = windows()  # type: ignore[attr-defined]
    with pytest.raises(kvengine.DatabaseClosed, match="closed while it fetched"):
        list(walk)
    assert db.stats().open_snapshots == 0


def test_an_awaited_walk_goes_on_after_a_cancellation(db: kvengine.Engine) -> None:
    """``wait_for(anext(walk), ...)`` that timed out lost a window, without an error."""

    async def main() -> list[str]:
        face = kvengine.aio.wrap(db)
        walk = face.object_keys("A")
        found: list[str] = []
        while True:
            step = asyncio.ensure_future(anext(walk, None))  # type: ignore[arg-type]
            if len(found) % 7 == 0:
                await asyncio.sleep(0)
                step.cancel()
            try:
                one = await step
            except asyncio.CancelledError:
                one = await anext(walk, None)  # type: ignore[arg-type]
            if one is None:
                await face.close()
                return found
            found.append(one)

    assert asyncio.run(main()) == [f"{number:05}" for number in range(1000)]
