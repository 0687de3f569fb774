"""A commit that is interrupted anywhere happened in whole or not at all, and the engine goes on.

CPython 3.11 and 3.12 hand a signal to its handler at the start of a function
(RESUME), behind a CALL and behind a jump backward, and nowhere else; and inside
a system call that a signal interrupts. The first kind is tried one by one
(tripwire.py), the second by a file system that raises before or in the midst
of its n-th call, and all of it once more by real signals.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

import kvengine
from kvengine import CorruptionError
from kvengine.fs.faulty import FaultyFileSystem
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage.commit import Committer
from tests.durability.tripwire import Tripwire

ROOT = Path(__file__).resolve().parents[2]
State = dict[str, dict[str, bytes]]


def one_set(db: kvengine.Engine, value: bytes) -> None:
    db.set("s", "a", "n", value)


def after_set(before: State, value: bytes) -> State:
    return {**before, "a": {**before["a"], "n": value}}


def batch(db: kvengine.Engine, value: bytes) -> None:
    with db.batch() as writes:
        writes.clear_range("s", "x", "z")
        writes.set("s", "y", "n", value, ttl=1000)
        writes.clear_all("s", "a")
        writes.set("s", "a", "n", value)
        writes.set("s", "a", "m", value)
        writes.expire("s", "a", ttl=1000)


def after_batch(before: State, value: bytes) -> State:
    return {"y": {"n": value}, "a": {"n": value, "m": value}}


def expecting(db: kvengine.Engine, value: bytes) -> None:
    writes = kvengine.Batch()
    writes.set("s", "a", "n", value)
    writes.set("s", "y", "n", value)
    db.write(writes, expect={("s", "a"): db.version("s", "a")})


def after_expecting(before: State, value: bytes) -> State:
    return {"y": {**before["y"], "n": value}, "a": {**before["a"], "n": value}}


def plain(db: kvengine.Engine, value: bytes) -> None:
    """Objects of which nothing expires, so that commits to them go the shortest way."""
    with db.batch() as writes:
        writes.set("s", "a", "n", value)
        writes.set("s", "a", "m", value)
        writes.set("s", "y", "n", value)


def expecting_one(db: kvengine.Engine, value: bytes) -> None:
    writes = kvengine.Batch()
    writes.set("s", "a", "n", value)
    writes.set("s", "a", "m", value)
    db.write(writes, expect={("s", "a"): db.version("s", "a")})


def after_expecting_one(before: State, value: bytes) -> State:
    return {**before, "a": {**before["a"], "n": value, "m": value}}


class Scenario(NamedTuple):
    """A commit, what it makes of the objects of service "s", and what they are at first."""

    write: Callable[[kvengine.Engine, bytes], object]
    after: Callable[[State, bytes], State]
    options: dict[str, object]
    first: Callable[[kvengine.Engine, bytes], object] = batch


ROTATES: dict[str, object] = {
    "memtable_size": 1,
    "frozen_stop": 10_000,
    "l0_compact": 8,
    "l0_slow": 1000,
    "l0_stop": 1000,
}
SCENARIOS = {
    "set-os": Scenario(one_set, after_set, {"durability": "os"}),
    "set-hot": Scenario(one_set, after_set, {"durability": "os"}, plain),
    "expect-hot": Scenario(expecting_one, after_expecting_one, {"durability": "os"}, plain),
    "set-sync": Scenario(one_set, after_set, {"durability": "sync"}),
    "batch-os": Scenario(batch, after_batch, {"durability": "os"}),
    "batch-sync": Scenario(batch, after_batch, {"durability": "sync"}),
    "expect": Scenario(expecting, after_expecting, {"durability": "sync"}),
    "rotation": Scenario(one_set, after_set, {"durability": "os", **ROTATES}),
    "rotation-batch": Scenario(batch, after_batch, {"durability": "sync", **ROTATES}),
    "rotation-lane": Scenario(
        one_set, after_set, {"durability": "sync", **ROTATES, "background": "thread"}
    ),
}


def state(reads: kvengine.Engine | kvengine.Snapshot) -> State:
    """All of service "s", asked for in more ways than one."""
    found = {one.key: one.entries for one in reads.scan("s")}
    for key, entries in found.items():
        assert reads.get_all("s", key) == entries
        assert {name: reads.get("s", key, name) for name in entries} == entries
    return found


class Bench:
    """A database in memory, and what must hold after a commit to it was interrupted."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.memory = MemoryFileSystem()
        self.fs = FaultyFileSystem(self.memory)
        self.db = kvengine.open("db", fs=self.fs, **{"background": "none", **scenario.options})
        scenario.first(self.db, b"first")
        self.before = state(self.db)

    def interrupt(self, value: bytes, run: Callable[[Callable[[], None]], str]) -> bool:
        """Interrupt a commit of ``value`` by ``run``, which says where; whether it happened."""
        self.before = state(self.db)
        where = run(lambda: self._write(value))
        happened = self._check(value, where, self.memory.copy())
        self._goes_on(value + b"+", where)
        return happened

    def interrupt_twice(self, value: bytes, n: int, m: int) -> bool:
        """Interrupt a commit, and then what it does about that; whether both came to pass.

        Which way it went may then show only once another commit has looked into it.
        """
        first, second = Tripwire(n, KeyboardInterrupt), Tripwire(m, KeyboardInterrupt)
        committer = self.db._committer
        for name in ("finish_interrupted", "_finish_and_sync"):
            work = getattr(Committer, name)
            again = partial(second.run, partial(work, committer))
            setattr(committer, name, again)
        self.before = state(self.db)
        with suppress(KeyboardInterrupt):
            first.run(lambda: self._write(value))
        for name in ("finish_interrupted", "_finish_and_sync"):
            delattr(committer, name)
        where = f"at {first.tripped}, then {second.tripped}"
        self._others_commit(value, where)
        self._check(value, where, self.memory.copy())
        self._goes_on(value + b"+", where)
        return second.tripped is not None

    def _write(self, value: bytes) -> None:
        self.scenario.write(self.db, value)

    def _check(self, value: bytes, where: str, image: MemoryFileSystem) -> bool:
        live = state(self.db)
        after = self.scenario.after(self.before, value)
        assert live in (self.before, after), where
        with self.db.snapshot() as snapshot:
            assert state(snapshot) == live, f"in a snapshot, {where}"
        with kvengine.open("db", fs=image, background="none") as replayed:
            assert state(replayed) == live, f"after kill -9 and replay, {where}"
        return live == after

    def _goes_on(self, value: bytes, where: str) -> None:
        """Locks are free: another thread commits at once; and so does this one."""
        self._others_commit(value, where)
        before = state(self.db)
        self._write(value)
        assert state(self.db) == self.scenario.after(before, value), where

    def _others_commit(self, value: bytes, where: str) -> None:
        done: list[int] = []
        thread = threading.Thread(
            target=lambda: done.append(self.db.set("t", "b", "n", value)), daemon=True
        )
        thread.start()
        thread.join(2)
        assert done, f"a lock was left held {where}"


def benches(scenario: Scenario) -> Iterator[Bench]:
    """A bench again and again, a new one now and then, so that replay stays short."""
    while True:
        bench = Bench(scenario)
        try:
            for _ in range(40):
                yield bench
        finally:
            bench.db.close()


@pytest.mark.plain
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("name", SCENARIOS)
def test_interrupted_at_any_point(name: str, error: type[BaseException]) -> None:
    """A commit hit by a signal or out of memory at any point is in whole or not at all.

    Reads, a snapshot and the replay after kill -9 agree on which; locks are free
    and the next commits work.
    """
    scenario = SCENARIOS[name]
    lost = kept = 0
    for n, bench in enumerate(benches(scenario), 1):
        wire = Tripwire(n, error)

        def run(work: Callable[[], None], wire: Tripwire = wire) -> str:
            try:
                wire.run(work)
            except error:
                assert wire.tripped
            except CorruptionError:
                # Decoders cannot tell a hostile length from a real lack of memory.
                assert error is MemoryError and wire.tripped
            return f"at {wire.tripped}"

        happened = bench.interrupt(b"%d" % n, run)
        if not wire.tripped:
            assert happened
            break
        lost, kept = lost + (not happened), kept + happened
    assert lost > 10 and kept > 0, "the points do not lie on both sides of the commit"


@pytest.mark.plain
@pytest.mark.parametrize("name", ["set-sync", "batch-os", "expect-hot"])
def test_interrupted_twice(name: str) -> None:
    """A second signal while the commit makes up for the first one breaks no promise either."""
    twice = points = 0
    for i, bench in enumerate(benches(SCENARIOS[name])):
        value = b"%d" % i
        if not points:
            whole = Tripwire(0, KeyboardInterrupt)
            whole.run(partial(SCENARIOS[name].write, bench.db, value))
            points = whole.passed
        span = points - points // 2
        again, n = divmod(i, span)
        if again == 12:
            break
        twice += bench.interrupt_twice(value, points // 2 + n, 1 + again)
    assert twice > 50


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("name", ["set-os", "set-hot", "set-sync", "batch-sync", "expect"])
def test_interrupted_in_a_system_call(name: str, half: bool) -> None:
    """A signal that breaks off a write, half of it done, or a sync: in whole or not at all."""
    tripped = 0
    for n, bench in enumerate(benches(SCENARIOS[name]), 1):

        def run(work: Callable[[], None], bench: Bench = bench, n: int = n) -> str:
            bench.fs.fail_at(n, KeyboardInterrupt(), short_write=half)
            try:
                work()
            except KeyboardInterrupt:
                assert bench.fs.failures
            bench.fs.clear()
            return f"at call {n}"

        bench.interrupt(b"%d" % n, run)
        if not bench.fs.failures:
            break
        tripped += 1
    assert tripped >= 1


def test_real_signals(tmp_path: Path) -> None:
    """Thousands of commits under a timer's signals: none half done, no lock left held."""
    for durability, background in [("os", "thread"), ("sync", "thread")]:
        target = tmp_path / f"{durability}-{background}"
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.durability.signalled",
                str(target),
                durability,
                background,
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        commits, interrupts = map(int, done.stdout.split())
        assert commits > 1000 and interrupts > 100
