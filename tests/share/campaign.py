"""Owners of a shared directory are killed, again and again, under writers that go on by themselves.

``python -m tests.share.campaign [kills]`` runs it at length and prints what it saw. A writer is a
process that only asks (`kvengine.connect`). Owners are processes of their own, of which one more
stands by: when the owner is killed it takes over, and a new one is started. Two writers ask by one
thread each, two by tasks of asyncio.

Each writer increments a counter of its own and one that all share, each in a session, and writes
batches over two objects. It notes what was acknowledged, which must be what is there in the end:
not less (lost) and not more (applied twice), but for what ended with OutcomeUnknown.
"""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import kvengine

ROOT = Path(__file__).resolve().parents[2]

OWNER = """
import sys, time, kvengine
with kvengine.open(sys.argv[1], share=True, durability=sys.argv[2]) as db:
    print("ready", flush=True)
    sys.stdin.read()
"""

WRITER = """
import asyncio, itertools, json, sys, threading, time, kvengine, kvengine.aio
path, name, durability, form = sys.argv[1:]
kinds = "own", "shared", "pairs", "sets"
done, unknown = dict.fromkeys(kinds, 0), dict.fromkeys(kinds, 0)
errors = {}
stalls = []
stop = threading.Event()
numbers = itertools.count()

def pair(batch):
    number = str(next(numbers)).encode()
    for key in ("a", "b"):
        batch.set("Pair", f"{name} {key}", "n", number)

def note(kind, error):
    if error is None:
        done[kind] += 1
    elif isinstance(error, kvengine.OutcomeUnknown):
        unknown[kind] += 1
    else:
        told = f"{type(error).__name__}: {error}"
        errors[told] = errors.get(told, 0) + 1

def look(began):
    took = time.monotonic() - began
    if took > 0.05:
        stalls.append(took)

def in_a_thread():
    db = kvengine.connect(path, durability=durability)
    own, shared = db.object("Own", name), db.object("Shared", "all")

    def bump(obj):
        with obj.session() as state:
            state.increment("n")

    def write():
        with db.batch() as batch:
            pair(batch)

    def put():
        db.set("Set", name, str(next(numbers)), b"1")

    verbs = lambda: bump(own), lambda: bump(shared), write, put
    print("ready", flush=True)
    while not stop.is_set():
        for kind, verb in zip(kinds, verbs):
            began, failed = time.monotonic(), None
            try:
                verb()
            except Exception as error:
                failed = error
            note(kind, failed)
            look(began)

async def in_tasks():
    db = await kvengine.aio.connect(path, durability=durability)
    own, shared = db.object("Own", name), db.object("Shared", "all")

    async def bump(obj):
        async with obj.session() as state:
            await state.increment("n")

    async def write():
        async with db.batch() as batch:
            pair(batch)

    async def put():
        await db.set("Set", name, str(next(numbers)), b"1")

    verbs = lambda: bump(own), lambda: bump(shared), write, put

    async def work():
        while not stop.is_set():
            for kind, verb in zip(kinds, verbs):
                began, failed = time.monotonic(), None
                try:
                    await verb()
                except Exception as error:
                    failed = error
                note(kind, failed)
                look(began)

    print("ready", flush=True)
    await asyncio.gather(*(work() for _ in range(4)))
    await db.close()

def run():
    asyncio.run(in_tasks()) if form == "tasks" else in_a_thread()

thread = threading.Thread(target=run)
thread.start()
sys.stdin.read()
stop.set()
thread.join()
told = {"done": done, "unknown": unknown, "errors": errors, "stalls": stalls}
print(json.dumps(told), flush=True)
"""
FORMS = ("thread", "thread", "tasks", "tasks")
"""How each writer asks: by one thread, or by four tasks of an event loop."""


class Seen(NamedTuple):
    """What a campaign saw: commits acknowledged, of unknown outcome; faults; seconds of stalls."""

    acknowledged: int
    unknown: int
    faults: list[str]
    stalls: list[float]
    errors: dict[str, int]


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a Python program, and return when it says that it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def end(process: subprocess.Popen[str]) -> str:
    """Let a program end by itself, if it has not ended yet, and return what it printed."""
    told, _ = process.communicate(timeout=60)
    return told


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a program, and return when it has ended."""
    process.kill()
    end(process)


def freeze(process: subprocess.Popen[Any]) -> None:
    """Stop a program as SIGSTOP does, and return when all its threads stand still."""
    process.send_signal(signal.SIGSTOP)
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        while (task / "stat").read_text().rsplit(") ", 1)[1][0] != "T":
            time.sleep(0.01)


def campaign(path: str, kills: int, *, durability: str = "sync", seed: int = 0) -> Seen:
    """Kill owners under writers; return what was seen."""
    dice = random.Random(seed)
    owners = [start(OWNER, path, durability) for _ in range(2)]
    working = [
        start(WRITER, path, f"w{number}", durability, form) for number, form in enumerate(FORMS)
    ]
    try:
        with kvengine.connect(path) as looker:
            for _ in range(kills):
                time.sleep(dice.uniform(0.1, 0.6))
                owner = looker.owner_pid
                killed = next(each for each in owners if each.pid == owner)
                kill(killed)
                owners.remove(killed)
                owners.append(start(OWNER, path, durability))
        told = [json.loads(end(each)) for each in working]
        with kvengine.connect(path) as store:
            return judged(store, told)
    finally:
        for each in (*working, *owners):
            if each.returncode is None:
                kill(each)


def judged(store: kvengine.Store, told: list[Any]) -> Seen:
    """Compare what writers say with what is there."""
    faults: list[str] = []

    def compare(what: str, found: int, done: int, unknown: int) -> None:
        if not done <= found <= done + unknown:
            faults.append(f"{what}: {found} are there, {done} acknowledged, {unknown} unknown")

    for number, each in enumerate(told):
        name, done, unknown = f"w{number}", each["done"], each["unknown"]
        found = store.object("Own", name).get("n", 0)
        compare(f"{name} own", found, done["own"], unknown["own"])
        compare(
            f"{name} sets",
            len(store.state_keys("Set", name)),
            done["sets"],
            unknown["sets"],
        )
        pair = [store.get("Pair", f"{name} {key}", "n") for key in ("a", "b")]
        if pair[0] != pair[1]:
            faults.append(f"{name}: a torn batch, {pair}")
    shared = [sum(each[kind]["shared"] for each in told) for kind in ("done", "unknown")]
    compare("shared", store.object("Shared", "all").get("n", 0), *shared)
    errors: dict[str, int] = {}
    for each in told:
        for error, times in each["errors"].items():
            errors[error] = errors.get(error, 0) + times
    return Seen(
        sum(sum(each["done"].values()) for each in told),
        sum(sum(each["unknown"].values()) for each in told),
        faults,
        [stall for each in told for stall in each["stalls"]],
        errors,
    )


def main() -> None:
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    durability = sys.argv[2] if len(sys.argv) > 2 else "sync"
    with tempfile.TemporaryDirectory() as folder:
        seen = campaign(os.path.join(folder, "db"), kills, durability=durability, seed=os.getpid())
    print(f"{kills} owners killed under 4 writers, durability {durability}")
    print(f"{seen.acknowledged:,} commits acknowledged, {seen.unknown} of unknown outcome")
    for error, times in seen.errors.items():
        print(f"{times} times {error}")
    if seen.stalls:
        median, most = statistics.median(seen.stalls), max(seen.stalls)
        print(f"stalls: median {median:.3f} s, longest {most:.3f} s, {len(seen.stalls)} of them")
    print("\n".join(seen.faults) or "nothing lost, torn or applied twice")
    sys.exit(bool(seen.faults))


if __name__ == "__main__":
    main()
