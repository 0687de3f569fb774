"""`open(lock_timeout=...)` waits for another owner to leave, as in a rolling restart (P7 holds)."""

from __future__ import annotations

import asyncio
import os
import pickle
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import kvengine
import kvengine.aio
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage.lifecycle.lock import Patience

ROOT = Path(__file__).resolve().parents[2]

OWNER = """
import sys, time
import kvengine
db = kvengine.open(sys.argv[1])
db.set("s", "k", "n", b"of the owner")
print("open", flush=True)
time.sleep(float(sys.argv[2]))
db.close()
"""

WORKER = """
import sys
import kvengine
for _ in range(5):
    with kvengine.open(sys.argv[1], lock_timeout=60) as db:
        db.object("Counter", "one").increment("n")
"""


@contextmanager
def owner(path: Path, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """Another process that owns the database, for so long."""
    command = [sys.executable, "-c", OWNER, str(path), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "open\n"
            yield process
        finally:
            process.kill()


def test_it_opens_when_the_owner_has_left(tmp_path: Path) -> None:
    """It has all that the owner has committed, and comes soon after it."""
    with owner(tmp_path / "db", 1.0):
        with pytest.raises(kvengine.DatabaseLocked):
            kvengine.open(tmp_path / "db")
        with kvengine.open(tmp_path / "db", lock_timeout=timedelta(seconds=60)) as db:
            assert db.get("s", "k", "n") == b"of the owner"
            assert db.options.lock_timeout == timedelta(seconds=60)


def test_it_opens_when_the_owner_was_killed(tmp_path: Path) -> None:
    with owner(tmp_path / "db", 100) as process:
        timer = threading.Timer(0.3, process.kill)
        timer.start()
        begun = time.monotonic()
        with kvengine.open(tmp_path / "db", lock_timeout=60) as db:
            assert 0.2 < time.monotonic() - begun < 30
            assert db.get("s", "k", "n") == b"of the owner"


def test_the_error_says_how_long_it_waited_and_what_to_do(tmp_path: Path) -> None:
    """It comes when the time is over, neither before nor much later."""
    with owner(tmp_path / "db", 100) as process:
        begun = time.monotonic()
        with pytest.raises(kvengine.DatabaseLocked) as refused:
            kvengine.open(tmp_path / "db", lock_timeout=0.3)
        assert 0.3 <= refused.value.waited <= time.monotonic() - begun < 20
        said = str(refused.value)
        assert re.search(rf"process {process.pid}, still after \d+\.\d seconds; close it", said)
        assert "wait longer for that with lock_timeout=" in said and "share=True" in said
        again = pickle.loads(pickle.dumps(refused.value))  # noqa: S301 - made here
        assert str(again) == said and again.pid == process.pid
        with pytest.raises(kvengine.DatabaseLocked, match="; close it there, wait for that") as now:
            kvengine.open(tmp_path / "db")
        assert now.value.waited == 0


def test_workers_take_turns(tmp_path: Path) -> None:
    """Processes that open one directory again and again, and wait for each other, all get it."""
    command = [sys.executable, "-c", WORKER, str(tmp_path / "db")]
    workers = [subprocess.Popen(command, cwd=ROOT) for _ in range(3)]
    try:
        assert [worker.wait(timeout=120) for worker in workers] == [0, 0, 0]
    finally:
        for worker in workers:
            worker.kill()
    with kvengine.open(tmp_path / "db") as db:
        assert db.object("Counter", "one").get("n") == 15
        assert db._db.catalog.epoch == 16


def test_another_engine_of_this_process_is_waited_for(tmp_path: Path) -> None:
    """Another thread may close it; if none does, the error says that it is this process."""
    db = kvengine.open(tmp_path / "db")
    with pytest.raises(kvengine.DatabaseLocked, match=r"this process \(\d+\) already, still after"):
        kvengine.open(tmp_path / "db", lock_timeout=0.1)
    threading.Timer(0.2, db.close).start()
    with kvengine.open(tmp_path / "db", lock_timeout=60):
        pass


def test_what_else_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    """Only an owner is waited for."""
    begun = time.monotonic()
    with pytest.raises(kvengine.NotADatabase):
        kvengine.open(tmp_path / "absent", create=False, lock_timeout=100)
    (tmp_path / "file").write_text("")
    with pytest.raises(kvengine.NotADatabase):
        kvengine.open(tmp_path / "file", lock_timeout=100)
    assert time.monotonic() - begun < 50


@pytest.mark.parametrize(
    ("timeout", "options", "error"),
    [
        (-1, {}, ValueError),
        (float("inf"), {}, ValueError),
        (float("nan"), {}, ValueError),
        (timedelta(seconds=-1), {}, ValueError),
        ("1", {}, TypeError),
        (None, {}, TypeError),
        (True, {}, TypeError),
        (1, {"read_only": True}, ValueError),
    ],
)
def test_what_makes_no_sense_is_refused(
    timeout: Any, options: dict[str, Any], error: type[Exception]
) -> None:
    """Before anything is done; sync and async alike. A reader waits for nobody."""
    fs = MemoryFileSystem()
    with pytest.raises(error, match="lock_timeout"):
        kvengine.open("/db", fs=fs, lock_timeout=timeout, **options)

    async def main() -> None:
        with pytest.raises(error, match="lock_timeout"):
            await kvengine.aio.open("/db", fs=fs, lock_timeout=timeout, **options)

    asyncio.run(main())
    assert not fs.exists("/db")


def test_asyncio_waits_on_the_loop(tmp_path: Path) -> None:
    """The loop goes on, no thread waits, and a cancellation counts at once."""

    async def main() -> None:
        async with kvengine.aio.open(tmp_path / "db") as db:
            opening = asyncio.ensure_future(_await(tmp_path / "db", 100))
            begun = time.monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await asyncio.shield(opening)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            with pytest.raises(kvengine.DatabaseLocked, match="still after"):
                await kvengine.aio.open(tmp_path / "db", lock_timeout=0.1)
            assert time.monotonic() - begun < 30
            opening = asyncio.ensure_future(_await(tmp_path / "db", 100))
            await asyncio.sleep(0.1)
            await db.set("s", "k", "n", b"1")
            assert not opening.done()
        successor = await opening
        assert await successor.get("s", "k", "n") == b"1"
        await successor.close()

    asyncio.run(main())


async def _await(path: Path, seconds: float) -> kvengine.aio.Engine:
    return await kvengine.aio.open(path, lock_timeout=seconds)


def test_pauses_grow_and_end_in_time() -> None:
    """From 5 ms to 50, and never beyond the end."""
    patience = Patience(1000.0)
    refused = kvengine.DatabaseLocked("/db", os.getpid())
    pauses = [patience.pause(refused) for _ in range(20)]
    assert pauses[0] == 0.005 and pauses[-1] == 0.05 and pauses == sorted(pauses)
    assert Patience(0.001).pause(refused) <= 0.001
    with pytest.raises(kvengine.DatabaseLocked) as now:
        Patience(0).pause(refused)
    assert now.value is refused
