"""`python -m benchmarks.asyncio_sessions`: sessions of many tasks on one event loop.

Each task runs eager sessions (10 keys, 1 change) on an object of its own, one after another; all
tasks begin together. Durability sync: commits made at the same time share a sync, so the figures to
look at are sessions per second and commits per sync. For comparison: one task alone, durability os
(where a session of an object in memory never waits, so tasks take no turns), and what one fdatasync
of as many bytes takes here. Figures are medians over the rounds, which come by turns; a latency is
from before the session is asked for to after its commit.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import peers, workload
from benchmarks.conftest import SETTLE_SECONDS
from benchmarks.workload import SERVICE, STATE_KEYS, object_key
from kvengine import aio


class Kind(NamedTuple):
    """What is measured."""

    tasks: int
    durability: str

    def __str__(self) -> str:
        return f"{self.tasks} {'task' if self.tasks == 1 else 'tasks'}, {self.durability}"


class Figures(NamedTuple):
    """Those of one round."""

    sessions_per_second: float
    commits_per_sync: float
    p50: float  # milliseconds
    p99: float


async def visit(db: Any, key: str, changes: list[tuple[str, bytes]], taken: list[float]) -> None:
    """The sessions of one task."""
    for state_key, value in changes:
        start = time.perf_counter()
        async with db.object(SERVICE, key, serde="bytes").session() as state:
            await state.get(state_key)
            state.set(state_key, value)
        taken.append(time.perf_counter() - start)


async def one_round(db: Any, generator: random.Random, tasks: int, sessions: int) -> Figures:
    """All tasks; what they do is made before the clock starts."""
    size = workload.VALUE_SIZE
    work = [
        [(generator.choice(STATE_KEYS), generator.randbytes(size)) for _ in range(sessions)]
        for _ in range(tasks)
    ]
    taken: list[float] = []
    before = db.stats()
    start = time.perf_counter()
    await asyncio.gather(
        *(visit(db, object_key(number), changes, taken) for number, changes in enumerate(work))
    )
    seconds = time.perf_counter() - start
    after = db.stats()
    commits, syncs = after.commits - before.commits, after.syncs - before.syncs
    if commits != tasks * sessions:
        raise AssertionError(f"{tasks * sessions} sessions made {commits} commits")
    parts = statistics.quantiles(taken, n=100)
    per_sync = commits / syncs if syncs else float("inf")
    return Figures(commits / seconds, per_sync, parts[49] * 1e3, parts[98] * 1e3)


async def measure(directory: str, kinds: dict[Kind, int], objects: int, rounds: int) -> list[str]:
    """A line for each kind."""
    found: dict[Kind, list[Figures]] = {kind: [] for kind in kinds}
    generator = random.Random(6)
    for turn in range(rounds + 1):
        for kind, sessions in kinds.items():
            async with aio.open(directory, durability=kind.durability) as db:
                for number in range(objects):
                    await db.load(SERVICE, object_key(number))
                await asyncio.sleep(SETTLE_SECONDS)
                figures = await one_round(db, generator, kind.tasks, sessions)
            if turn:  # the first is to warm up
                found[kind].append(figures)
    return [line(kind, all_rounds) for kind, all_rounds in found.items()]


def line(kind: Kind, rounds: list[Figures]) -> str:
    """Medians over the rounds."""
    rate, per_sync, p50, p99 = (statistics.median(column) for column in zip(*rounds, strict=True))
    shared = "-" if per_sync == float("inf") else f"{per_sync:.1f}"
    return f"{kind!s:<20}{rate:>14,.0f}{shared:>18}{p50:>12.3f}{p99:>12.3f}"


def sync_floor(directory: str, syncs: int = 200) -> float:
    """Milliseconds of one append and fdatasync."""
    path = os.path.join(directory, "floor")
    taken = []
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for _ in range(syncs):
        start = time.perf_counter()
        os.write(descriptor, bytes(200))
        os.fdatasync(descriptor)
        taken.append(time.perf_counter() - start)
    os.close(descriptor)
    os.unlink(path)
    return statistics.median(taken) * 1e3


def main() -> None:
    """Print what was measured, and on what."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--sessions", type=int, default=50, help="of each task in a round")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    tasks = arguments.tasks
    kinds = {
        Kind(tasks, "sync"): arguments.sessions,
        Kind(1, "sync"): arguments.sessions * 4,
        Kind(tasks, "os"): arguments.sessions,
        Kind(1, "os"): arguments.sessions * 100,
    }
    peer = peers.find(peers.KVENGINE)
    print(f"{peer.version()}: default options; Python {platform.python_version()}, asyncio")
    with tempfile.TemporaryDirectory() as scratch:
        directory = str(Path(scratch, "store"))
        os.mkdir(directory)
        store = peer(directory, False)
        count = max(tasks, 1_000)
        for each in workload.objects(count):
            store.load_object(*each)
        store.close()
        print(f"{count:,} objects of {len(STATE_KEYS)} entries; eager sessions with 1 change")
        lines = asyncio.run(measure(directory, kinds, tasks, arguments.rounds))
        header = f"{'':<20}{'sessions/s':>14}{'commits per sync':>18}{'p50, ms':>12}{'p99, ms':>12}"
        print("\n".join([header, *lines]))
        print(f"one append and fdatasync: {sync_floor(scratch):.3f} ms")


if __name__ == "__main__":
    main()
