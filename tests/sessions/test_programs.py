"""Random programs of verbs: every way to run a session agrees with a dict, and so do the others."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, event, example, given, settings
from hypothesis import strategies as st

import kvengine
from kvengine import compiled
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage.clock import ManualClock
from kvengine.testing.contract import session_programs as contract
from kvengine.testing.contract.session_programs import (
    WRITES,
    Program,
    Reference,
    programs,
    run_session,
)
from tests.sessions.ways import WAYS, Way

PROGRAMS = int(
    os.environ.get("KVENGINE_PROGRAMS", "5000" if compiled.form == "compiled" else "1500")
)
SHRINKS = os.environ.get("KVENGINE_SHRINK_SECONDS") != "0"

PROGRAM = programs(
    [None, None, None, 5.0, 50.0],
    [None, 15.0, 100.0],
    ["nothing", "nothing", "flush", "compact", "later", "outside"],
)

FIXED = {
    **contract.FIXED,
    "what was cleared lies in a segment": [
        ([("set", "a", 1, None), ("set", "b", 1, None)], "end", "flush"),
        ([("clear_all",), ("set", "a", 2, None)], "end", "nothing"),
        ([("get", "b"), ("get", "a"), ("state_keys",)], "end", "nothing"),
    ],
    "a ttl, and one that is taken back": [
        ([("set", "a", 1, None), ("set", "b", 1, None)], "end", "nothing"),
        ([("set", "a", 2, 5.0), ("set", "a", 3, None)], "end", "later"),
        ([("set", "a", 4, 5.0)], "end", "later"),
    ],
}
"""Programs that are too rare among random ones to be met in every run."""


def with_fixed(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test of programs with these first, in every kind of database."""
    for program in FIXED.values():
        for durability in ("os", "sync"):
            for at_hand in (True, False):
                test = example(program, durability, at_hand)(test)
    return test


class Bench:
    """A database for some hundred programs, each on an object of its own; then a new one.

    ``durability``: commits with "os" of objects in use go a way of their own.
    """

    def __init__(self, durability: str) -> None:
        self.runner = asyncio.Runner()
        self.durability = durability
        self.count = 0
        self._open()

    def _open(self) -> None:
        self.clock = ManualClock()
        options = {
            "background": "none",
            "chunk_size": 64,
            "expiry_grace": 1.0,
            "durability": self.durability,
        }
        self.db = kvengine.open("/db", fs=MemoryFileSystem(), clock=self.clock, **options)
        self.reader, self.hold = self.db._host.reader, self.db._host.hold

    def close(self) -> None:
        self.db.close()
        self.runner.close()

    def run(self, way: Way, program: Program, at_hand: bool) -> None:
        """The program in this way, each answer held against the reference.

        ``at_hand``: sessions may share what the store has at hand of an object in whole.
        """
        self.count += 1
        if self.count % 400 == 0:
            self.db.close()
            self._open()
        self.db._host.reader = self.reader if at_hand else None
        self.db._host.hold = None if way.snapshot else self.hold
        key = f"k{self.count}"
        handle = self.db.object("S", key)
        reference = Reference()
        for steps, end, between in program:
            version = self.db.version("S", key)
            run_session(self._session(way, key), reference, steps, end)
            if not any(step[0] in WRITES for step in steps):
                assert self.db.version("S", key) == version, "a commit without a change"
            self._between(between, handle, reference)
            self._check(handle, reference)

    def _check(self, handle: kvengine.VirtualObject, reference: Reference) -> None:
        live = reference.live()
        assert list(handle.get_all().items()) == [
            (name, value) for name, (value, _) in live.items()
        ]
        ends = handle.expires_at()
        if not live or reference.end is None:
            assert ends is None
        else:
            assert ends is not None
            left = ends - self.clock.wall() / 1e6
            assert abs(left - (reference.end - reference.now)) < 0.01

    def _between(self, what: str, handle: kvengine.VirtualObject, reference: Reference) -> None:
        if what == "flush":
            self.db.flush()
        elif what == "compact" and self.count % 16 == 0:
            self.db.compact()
        elif what == "later":
            self.clock.advance(10)
            reference.now += 10
        elif what == "outside":
            handle.set("a", "outside")
            reference.set_from_outside("a", "outside")

    def _session(self, way: Way, key: str) -> Any:
        if not way.asynchronous:
            return way.session(self.db, "S", key)
        return way.awaited(self.runner.run, self.db, "S", key)


@pytest.fixture(scope="module")
def benches() -> Iterator[dict[str, Bench]]:
    found = {durability: Bench(durability) for durability in ("os", "sync")}
    yield found
    for bench in found.values():
        bench.close()


seen: Counter[str] = Counter()


@pytest.mark.slow
@pytest.mark.timeout(900)
@settings(
    max_examples=PROGRAMS,
    deadline=None,
    phases=[phase for phase in Phase if SHRINKS or phase is not Phase.shrink],
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@with_fixed
@given(program=PROGRAM, durability=st.sampled_from(["os", "sync"]), at_hand=st.booleans())
def test_every_way_agrees_with_a_dict(
    benches: dict[str, Bench], program: Program, durability: str, at_hand: bool
) -> None:
    """Eager, lazy, some and partial, of threads and tasks: the same answers, the same state after.

    A session that changed nothing writes nothing.
    """
    for name, way in WAYS.items():
        benches[durability].run(way, program, at_hand)
        seen[name] += 1
    for steps, end, between in program:
        seen[end] += 1
        seen[between] += 1
        seen.update(step[0] for step in steps)
    event(f"{len(program)} sessions")


@pytest.mark.slow
def test_the_programs_met_everything() -> None:
    """The generator reaches every verb, end and event that the test above is about."""
    if not seen:
        pytest.skip("runs behind test_every_way_agrees_with_a_dict, in the same process")
    wanted = {
        *("get", "contains", "set", "clear", "clear_all", "state_keys", "get_all", "commit"),
        *("expire", "raise", "flush", "compact", "later", "outside"),
    }
    assert all(seen[one] >= 100 for one in wanted), seen
    assert all(seen[name] >= PROGRAMS for name in WAYS)
