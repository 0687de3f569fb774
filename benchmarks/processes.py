"""`python -m benchmarks.processes`: a directory that processes share, beside Redis on a socket.

One client of `kvengine serve` and one of redis-server (redis-py with hiredis, on a Unix socket)
take turns; a figure is the median over `--rounds` of the mean of `--calls` calls. A ratio is Redis
by kvengine: above 1 kvengine is faster. Then tasks of an event loop ask, by `kvengine.aio` and
`redis.asyncio`, and eight processes of each side at once. At last single gets are timed beside an
owner that does nothing, one that is busy with Python of its own, and one that only serves.

Neither side syncs. Commits are ``durability="os"``: what a killed owner returned is there. Redis
keeps no file, so a killed redis-server has lost all. With `--log` it appends what it writes to a
file that it does not sync, which keeps as much as kvengine does.

A session reads one entry and writes another one. With redis-py that is either a transaction by
hand, which runs again after a conflict (WATCH, HGET, MULTI, HSET, EXEC), or `redis.lock`, which
excludes others as a session does, until its lease runs out.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from importlib import metadata
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import kvengine
import kvengine.aio
from benchmarks.latency import percentiles, sample
from benchmarks.report import number
from benchmarks.rounds import Compared, compared, timed
from benchmarks.workload import SERVICE, STATE_KEYS, VALUE_SIZE, object_key, objects
from kvengine import compiled

OBJECTS = 1_000
PROCESSES = 8
TASKS = 100
READY_SECONDS = 30.0
PAUSE_SECONDS = 0.1
"""From the order to begin until all processes do."""

NO_FILE = ("--port", "0", "--save", "", "--appendonly", "no")
LOG = ("--port", "0", "--save", "", "--appendonly", "yes", "--appendfsync", "no")
SOCKET = "redis.sock"
READ, WRITTEN = STATE_KEYS[3], STATE_KEYS[4]
OWN = """
import sys, threading, kvengine
db = kvengine.open(sys.argv[1], share=True, durability="os")
{work}
"""
OWNERS: dict[str, list[str]] = {
    "an owner that is idle": ["-c", OWN.format(work="threading.Event().wait()")],
    "an owner busy with Python": ["-c", OWN.format(work="while True: sum(range(1000))")],
    "`kvengine serve`": ["-m", "kvengine", "serve"],
}
SERVE = OWNERS["`kvengine serve`"]


class Ours:
    """A client of whoever owns a directory."""

    def __init__(self, place: str) -> None:
        self._db = kvengine.connect(place, durability="os", timeout=READY_SECONDS)
        self._value = random.randbytes(VALUE_SIZE)

    def fill(self, key: str, entries: dict[str, bytes]) -> None:
        with self._db.batch() as batch:
            for name, value in entries.items():
                batch.set(SERVICE, key, name, value)

    def get(self, call: int) -> object:
        return self._db.get(SERVICE, object_key(call % OBJECTS), READ)

    def get_all(self, call: int) -> object:
        return self._db.get_all(SERVICE, object_key(call % OBJECTS))

    def load(self, call: int) -> object:
        found = self._db.load(SERVICE, object_key(call % OBJECTS))
        return found and found.entries

    def set(self, call: int) -> object:
        return self._db.set(SERVICE, object_key(call % OBJECTS), WRITTEN, self._value)

    def commit(self, call: int) -> object:
        key = object_key(call % OBJECTS)
        with self._db.batch() as batch:
            for name in STATE_KEYS[:3]:
                batch.set(SERVICE, key, name, self._value)
        return batch.stamp

    def session(self, call: int) -> object:
        obj = self._db.object(SERVICE, object_key(call % OBJECTS), serde="bytes")
        with obj.session(preload=False) as state:
            found = state.get(READ)
            state.set(WRITTEN, self._value)
        return found

    def close(self) -> None:
        self._db.close()


class Theirs:
    """A client of redis-server; an object is a hash."""

    def __init__(self, place: str) -> None:
        import redis

        self._redis = redis.Redis(unix_socket_path=place)
        self._value = random.randbytes(VALUE_SIZE)
        self._failed = redis.WatchError

    def fill(self, key: str, entries: dict[str, bytes]) -> None:
        self._redis.hset(f"{SERVICE}:{key}", mapping=entries)

    def get(self, call: int) -> object:
        return self._redis.hget(_hash(call), READ)

    def get_all(self, call: int) -> object:
        return {k.decode(): v for k, v in self._redis.hgetall(_hash(call)).items()}

    load = get_all

    def set(self, call: int) -> object:
        return self._redis.hset(_hash(call), WRITTEN, self._value)

    def commit(self, call: int) -> object:
        values = dict.fromkeys(STATE_KEYS[:3], self._value)
        return self._redis.hset(_hash(call), mapping=values)

    def session(self, call: int) -> object:
        with self._redis.pipeline() as pipeline:
            while True:
                try:
                    pipeline.watch(_hash(call))
                    found = pipeline.hget(_hash(call), READ)
                    pipeline.multi()
                    pipeline.hset(_hash(call), WRITTEN, self._value)
                    pipeline.execute()
                    return found
                except self._failed:
                    continue

    def locked(self, call: int) -> object:
        with self._redis.lock(f"lock:{_hash(call)}", timeout=10):
            found = self._redis.hget(_hash(call), READ)
            self._redis.hset(_hash(call), WRITTEN, self._value)
        return found

    def info(self) -> str:
        told: Any = self._redis.info("server")
        return str(told["redis_version"])

    def close(self) -> None:
        self._redis.close()


class Loop:
    """An event loop with a client of one side, whose tasks ask."""

    def __init__(self, side: str, place: str) -> None:
        self._runner = asyncio.Runner()
        self._is_ours = side == "kvengine"
        self._client: Any = self._runner.run(self._connect(place))
        self._value = random.randbytes(VALUE_SIZE)

    async def _connect(self, place: str) -> object:
        if self._is_ours:
            return await kvengine.aio.connect(place, durability="os", timeout=READY_SECONDS)
        import redis.asyncio

        return redis.asyncio.Redis(unix_socket_path=place)

    def microseconds(self, verb: str, tasks: int, calls: int) -> float:
        """Return the time by the calls of all tasks, each of which makes one at least."""
        call = getattr(self, f"_{verb}")
        each = max(1, calls // tasks)

        async def work(first: int) -> None:
            for number_of_call in range(first, first + each):
                await call(number_of_call)

        async def run() -> float:
            began = time.perf_counter()
            await asyncio.gather(*(work(task * each) for task in range(tasks)))
            return (time.perf_counter() - began) / (each * tasks) * 1e6

        found: float = self._runner.run(run())
        return found

    async def _get(self, call: int) -> object:
        if self._is_ours:
            return await self._client.get(SERVICE, object_key(call % OBJECTS), READ)
        return await self._client.hget(_hash(call), READ)

    async def _set(self, call: int) -> object:
        if self._is_ours:
            key = object_key(call % OBJECTS)
            return await self._client.set(SERVICE, key, WRITTEN, self._value)
        return await self._client.hset(_hash(call), WRITTEN, self._value)

    def close(self) -> None:
        self._runner.run(self._client.close() if self._is_ours else self._client.aclose())
        self._runner.close()


SIDES: dict[str, Callable[[str], Ours | Theirs]] = {"kvengine": Ours, "Redis": Theirs}
LINES = (
    ("get", "get", "get"),
    ("get_all, 10 keys", "get_all", "get_all"),
    ("load of 10 keys", "load", "load"),
    ("set", "set", "set"),
    ("commit of 3", "commit", "commit"),
    ("session, by hand (WATCH)", "session", "session"),
    ("session, `redis.lock`", "locked", "session"),
)
"""What is measured, and the verb of Redis and ours."""


def _hash(call: int) -> str:
    return f"{SERVICE}:{object_key(call % OBJECTS)}"


# --- processes


@contextmanager
def running(*command: str) -> Iterator[None]:
    """Run a process for as long as the block lasts."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(READY_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def owned(owner: list[str], path: str) -> Iterator[Ours]:
    """Let a process own the directory; give a client of it."""
    with running(sys.executable, *owner, path):
        client = Ours(path)
        try:
            yield client
        finally:
            client.close()


@contextmanager
def redis_server(settings: Sequence[str], folder: str) -> Iterator[Theirs]:
    """Run redis-server on a Unix socket; give a client of it."""
    place = f"{folder}/{SOCKET}"
    with running("redis-server", *settings, "--dir", folder, "--unixsocket", place):
        until = time.monotonic() + READY_SECONDS
        while not os.path.exists(place):
            if time.monotonic() > until:
                raise TimeoutError("redis-server does not start")
            time.sleep(0.01)
        client = Theirs(place)
        try:
            yield client
        finally:
            client.close()


def work(side: str, place: str, orders: Connection) -> None:
    """Be one of many clients: do as ordered, and tell how many calls were made."""
    client = SIDES[side](place)
    client.get(0)
    orders.send(0)
    while (order := orders.recv()) is not None:
        verb, begin, seconds = order
        call = getattr(client, verb)
        first = done = os.getpid()  # so that each begins at another object
        time.sleep(max(0.0, begin - time.monotonic()))
        while time.monotonic() < begin + seconds:
            call(done)
            done += 1
        orders.send(done - first)
    client.close()


class Crowd:
    """Eight client processes of one side."""

    def __init__(self, side: str, place: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._orders = []
        self._processes = []
        for _ in range(PROCESSES):
            mine, its = context.Pipe()
            process = context.Process(target=work, args=(side, place, its), daemon=True)
            process.start()
            its.close()
            self._orders.append(mine)
            self._processes.append(process)
        for orders in self._orders:
            orders.recv()

    def microseconds(self, verb: str, seconds: float) -> float:
        """Return the time by the calls of all."""
        for orders in self._orders:
            orders.send((verb, time.monotonic() + PAUSE_SECONDS, seconds))
        return seconds / sum(orders.recv() for orders in self._orders) * 1e6

    def close(self) -> None:
        for orders in self._orders:
            orders.send(None)
        for process in self._processes:
            process.join()


# --- what is measured


def measure(ours: Ours, theirs: Theirs, calls: int, rounds: int) -> Iterator[tuple[str, Compared]]:
    """Compare one client of each."""
    for name, theirs_verb, ours_verb in LINES:
        peer, own = getattr(theirs, theirs_verb), getattr(ours, ours_verb)
        timed(peer, calls), timed(own, calls)  # to warm up
        yield name, compared(partial(timed, peer, calls), partial(timed, own, calls), rounds)


def measure_tasks(path: str, place: str, calls: int, rounds: int) -> Iterator[tuple[str, Compared]]:
    """Compare an event loop of each."""
    with ExitStack() as opened:
        peers, owns = (
            opened.enter_context(closing(Loop(side, at)))
            for side, at in (("Redis", place), ("kvengine", path))
        )
        for tasks in (1, TASKS):
            for verb in ("get", "set"):
                peer = partial(peers.microseconds, verb, tasks, calls)
                own = partial(owns.microseconds, verb, tasks, calls)
                peer(), own()  # to warm up
                yield (
                    f"{verb}, asyncio, {tasks} task{'s' * (tasks > 1)}",
                    compared(peer, own, rounds),
                )


def measure_crowds(
    path: str, place: str, seconds: float, rounds: int
) -> Iterator[tuple[str, Compared]]:
    """Compare eight clients of each."""
    with ExitStack() as opened:
        peers, owns = (
            opened.enter_context(closing(Crowd(side, at)))
            for side, at in (("Redis", place), ("kvengine", path))
        )
        for name, verb in (("get", "get"), ("commit of 3", "commit")):
            found = compared(
                partial(peers.microseconds, verb, seconds),
                partial(owns.microseconds, verb, seconds),
                rounds,
            )
            yield f"{name}, {PROCESSES} processes at once", found


def measure_tails(
    path: str, theirs: Theirs, seconds: float, rounds: int
) -> Iterator[tuple[str, list[float]]]:
    """Return the figures of a client's get beside each kind of owner, and of Redis."""
    found: dict[str, list[list[float]]] = {}
    for _ in range(rounds):
        for name, owner in OWNERS.items():
            with owned(owner, path) as client:
                found.setdefault(name, []).append(tail(client.get, seconds))
        found.setdefault("redis-server", []).append(tail(theirs.get, seconds))
    for name, turns in found.items():
        yield name, [statistics.median(column) for column in zip(*turns, strict=True)]


def tail(get: Callable[[int], object], seconds: float) -> list[float]:
    """Return the mean, p50, p99 and p99.9 of single calls."""
    timed(get, 100)
    samples = array("q")
    generator = random.Random(7)
    sample(get, lambda: (generator.randrange(OBJECTS),), samples, seconds)
    return [statistics.mean(samples) / 1_000, *percentiles(samples)]


# --- the report


def missing() -> str | None:
    """Return what is not installed and how to get it, None if all is there."""
    if shutil.which("redis-server") is None:
        return "redis-server is not installed: apt-get install redis-server"
    for package in ("redis", "hiredis"):
        try:
            metadata.version(package)
        except metadata.PackageNotFoundError:
            return f"{package} is not installed: pip install 'kvengine[bench]'"
    return None


def settings(theirs: Theirs, given: Sequence[str]) -> list[str]:
    """Return what both sides are, and how they are set."""
    redis, hiredis = metadata.version("redis"), metadata.version("hiredis")
    load = ", ".join(f"{each:.2f}" for each in os.getloadavg())
    return [
        f"{os.cpu_count()} cores, Python {platform.python_version()}; load before: {load}",
        f"kvengine {kvengine.__version__}, {compiled.form}: durability os; clients of"
        " `kvengine serve` unless it says otherwise",
        f"redis-server {theirs.info()}: {' '.join(each or repr(each) for each in given)};"
        f" redis-py {redis}, hiredis {hiredis}",
        f"{OBJECTS:,} objects of {len(STATE_KEYS)} entries of {VALUE_SIZE} bytes",
    ]


def check(ours: Ours, theirs: Theirs) -> None:
    """Raise AssertionError unless both sides answer the same."""
    for call in range(3):
        for name in ("get", "get_all", "load"):
            assert getattr(ours, name)(call) == getattr(theirs, name)(call) is not None
        for _, peer, own in LINES[-2:]:
            assert getattr(ours, own)(call) == getattr(theirs, peer)(call) == ours.get(call)


def arguments_of_the_command() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=2_000, help="of each side in a round")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--log", action="store_true", help="Redis appends to a file, unsynced")
    parser.add_argument("--seconds", type=float, default=1.5, help="of eight processes, of tails")
    return parser.parse_args()


def main() -> None:
    """Print the tables."""
    arguments = arguments_of_the_command()
    lacking = missing()
    if lacking is not None:
        print(f"SKIPPED: {lacking}")
        return
    few = max(1, arguments.rounds // 3)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        path, place = str(Path(folder, "db")), str(Path(folder, SOCKET))
        given = LOG if arguments.log else NO_FILE
        theirs = opened.enter_context(redis_server(given, folder))
        print("\n".join(f"- {line}" for line in settings(theirs, given)))
        with owned(SERVE, path) as ours:
            for _, key, entries in objects(OBJECTS):
                ours.fill(key, entries)
                theirs.fill(key, entries)
            check(ours, theirs)
            print("\n| microseconds | Redis | kvengine | Redis / kvengine |\n|---|---|---|---|")
            for name, found in measure(ours, theirs, arguments.calls, arguments.rounds):
                _print(name, *found)
            for name, found in measure_tasks(path, place, arguments.calls, few):
                _print(name, *found)
            for name, found in measure_crowds(path, place, arguments.seconds, few):
                _print(name, *found)
        print("\n| a get beside, microseconds | mean | p50 | p99 | p99.9 |\n|---|---|---|---|---|")
        for name, parts in measure_tails(path, theirs, arguments.seconds, few):
            _print(name, *parts)


def _print(name: str, *figures: float) -> None:
    print(f"| {name} | {' | '.join(map(number, figures))} |", flush=True)


if __name__ == "__main__":
    main()
