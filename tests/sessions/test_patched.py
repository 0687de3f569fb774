"""Clocks that a test froze or moved, and threads that are greenlets: waits end, time is real.

Each program runs in a process of its own: what patches a clock patches it for all.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kvengine import compiled

ROOT = Path(__file__).resolve().parents[2]

COMMON = """
import asyncio, sys, threading, warnings
import kvengine, kvengine.aio
warnings.simplefilter("ignore")
path = sys.argv[1]

def times_out(obj):
    try:
        with obj.session(timeout=0.2):
            return "two have it"
    except kvengine.SessionTimeout:
        return "timed out"

def real_now():
    return float(open("/proc/uptime").read().split()[0]) + boot

boot = float(next(line for line in open("/proc/stat") if line.startswith("btime")).split()[1])
"""

FROZEN = {
    "freezegun": """
import freezegun
frozen = freezegun.freeze_time("2012-01-14", real_asyncio=True)
""",
    "time_machine": """
import time_machine
frozen = time_machine.travel("2012-01-14", tick=False)
""",
}

WAITS = """
with kvengine.open(path, durability="os") as db, frozen:
    obj = db.object("S", "k")
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with obj.session():
            entered.set()
            leave.wait()

    threading.Thread(target=hold).start()
    entered.wait()
    found = times_out(obj)
    leave.set()
    assert found == "timed out"

    async def main():
        held = kvengine.aio.wrap(db).object("S", "k")
        entered = asyncio.Event()

        async def rival():
            try:
                async with held.session(timeout=0.2):
                    raise AssertionError("two have it")
            except kvengine.SessionTimeout:
                pass

        async with held.session():
            await asyncio.wait_for(asyncio.create_task(rival()), 20)

    asyncio.run(main())
"""

EXPIRES = """
from time import sleep
with frozen:
    with kvengine.open(path, durability="os") as db:
        stamp = db.set("S", "k", "n", b"1", ttl=0.1)
        assert abs(stamp / 1e6 - real_now()) < 30, stamp
        sleep(0.15)
        assert db.get("S", "k", "n") is None
"""

STALLS = """
with frozen, kvengine.open(path, durability="os", memtable_size=20_000, frozen_stop=1) as db:
    for number in range(300):
        db.set("S", str(number), "n", b"x" * 5000)
    stats = db.stats()
    assert stats.stalls and 0 < stats.stall_seconds < 100, stats
"""

RETRIES = """
@kvengine.retry(times=3)
def work():
    raise kvengine.VersionConflict("S", "k", 1, 2)
with frozen:
    try:
        work()
    except kvengine.VersionConflict:
        pass
"""

TOOLS = """
from kvengine.errors import DatabaseLocked
from kvengine.inspection.access import Access
import subprocess
with kvengine.open(path, live_access=False) as db, frozen:
    try:
        Access(path, write=True)
    except DatabaseLocked:
        pass
    else:
        raise AssertionError("a tool has what is owned")
"""

GREENLETS = {
    "gevent": """
from gevent import monkey; monkey.patch_all()
import gevent
def run(*work):
    gevent.joinall([gevent.spawn(each) for each in work], raise_error=True)
""",
    "eventlet": """
import eventlet; eventlet.monkey_patch()
def run(*work):
    for each in [eventlet.spawn(each) for each in work]:
        each.wait()
""",
}

TURNS_OF_GREENLETS = """
from time import sleep
with kvengine.open(path, durability="os") as db:
    obj = db.object("S", "k")

    def count():
        for _ in range(10):
            with obj.session() as state:
                number = state.get("n", 0)
                sleep(0)
                state.set("n", number + 1)

    def nested():
        with db.object("S", "other").session():
            try:
                with db.object("S", "other").session(timeout=5):
                    raise AssertionError("two have it")
            except kvengine.SessionTimeout:
                raise AssertionError("a nested session waited")
            except kvengine.SessionError:
                pass

    run(*[count] * 10, nested, nested)
    assert obj.get("n") == 100
    with obj.session():
        run(lambda: print(times_out(obj)))
    assert len(db._host.turns) == 0
"""


def run(program: str, path: Path, *modules: str) -> str:
    """Run a program, and return what it printed. Skip where a module is not installed."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed: the extra `test` brings it")
    command = [sys.executable, "-c", program, str(path)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("patch", FROZEN)
@pytest.mark.parametrize("program", [WAITS, STALLS, RETRIES, TOOLS])
def test_waits_end_while_the_clock_stands_still(patch: str, program: str, tmp_path: Path) -> None:
    """Under freezegun a session with timeout=0.2 waited for ever, and stalls took no time."""
    run(COMMON + FROZEN[patch] + program, tmp_path / "db", patch)


@pytest.mark.parametrize("patch", FROZEN)
def test_the_engine_goes_by_the_real_clock(patch: str, tmp_path: Path) -> None:
    """A database opened in frozen time wrote stamps of that time, and nothing in it expired."""
    if patch == "time_machine" and compiled.form != "compiled":
        pytest.skip("plain Python cannot read past time-machine: docs/operations.md says so")
    run(COMMON + FROZEN[patch] + EXPIRES, tmp_path / "db", patch)


@pytest.mark.skipif(
    "asan" in os.environ.get("LD_PRELOAD", ""),
    reason="greenlets copy stacks, which AddressSanitizer takes for a bug",
)
@pytest.mark.parametrize("library", GREENLETS)
def test_greenlets_take_turns(library: str, tmp_path: Path) -> None:
    """Two greenlets of one thread were taken for nested sessions, or not, by the form that ran.

    They take turns as threads do; one within another in one greenlet is refused.
    """
    program = GREENLETS[library] + COMMON + TURNS_OF_GREENLETS
    assert run(program, tmp_path / "db", library) == "timed out\n"
