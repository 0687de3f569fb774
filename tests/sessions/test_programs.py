"""Random programs of verbs: every way to run a session agrees with a dict, and so do the others."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

import kvengine
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage.clock import ManualClock
from tests.sessions.ways import WAYS, Way

PROGRAMS = int(os.environ.get("KVENGINE_PROGRAMS", "5000"))

NAMES = st.sampled_from(["a", "a", "a", "b", "b", "", "\u00e9", "a\0", "zz", "absent"])
VALUES = st.sampled_from([None, 0, 1, "text", "", [1, {"x": None}], "y" * 40])
TTLS = st.sampled_from([None, None, None, 5.0, 50.0])
STEPS = st.one_of(
    st.tuples(st.just("get"), NAMES),
    st.tuples(st.just("contains"), NAMES),
    st.tuples(st.just("set"), NAMES, VALUES, TTLS),
    st.tuples(st.just("set"), NAMES, VALUES, TTLS),
    st.tuples(st.just("clear"), NAMES),
    st.tuples(st.just("clear_all")),
    st.tuples(st.just("state_keys")),
    st.tuples(st.just("state_keys"), st.sampled_from(["", "a", "z"]), NAMES),
    st.tuples(st.just("expire"), st.sampled_from([None, 15.0, 100.0])),
    st.tuples(st.just("get_all")),
    st.tuples(st.just("commit")),
)
ENDS = st.sampled_from(["end", "end", "end", "raise"])
BETWEEN = st.sampled_from(["nothing", "nothing", "flush", "compact", "later", "outside"])
PROGRAM = st.lists(st.tuples(st.lists(STEPS, max_size=8), ENDS, BETWEEN), min_size=1, max_size=4)
Entries = dict[str, tuple[Any, float | None]]
Program = list[tuple[list[tuple[Any, ...]], str, str]]


FIXED: dict[str, Program] = {
    "what a session cleared is read again in it": [
        ([("set", "a", 1, None), ("set", "b", 2, None)], "end", "nothing"),
        ([("get", "a"), ("clear", "a"), ("get", "a"), ("get", "b")], "end", "nothing"),
    ],
    "an absent object that has an expiry all the same": [
        ([("set", "a", 1, None), ("expire", 100.0), ("commit",), ("clear", "a")], "end", "nothing"),
        ([("clear_all",)], "end", "nothing"),
        ([("set", "a", 2, None)], "end", "nothing"),
    ],
    "all is read behind the session's own commit": [
        ([("set", "a", 1, None)], "end", "nothing"),
        ([("set", "a", 2, None), ("commit",), ("get_all",), ("state_keys",)], "end", "nothing"),
    ],
    "keys are listed behind a clear": [
        ([("set", "a", 1, None), ("set", "b", 1, None)], "end", "nothing"),
        ([("clear", "a"), ("state_keys",), ("get_all",)], "end", "nothing"),
    ],
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


WRITES = ("set", "clear", "clear_all", "expire")


class Rollback(Exception):
    """What a block raises that is not to be committed."""


class Reference:
    """An object as a dict of values with their ends, and a session as a copy of it.

    ``end`` is the object's expiry. It stays when entries are cleared one by one.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.entries: Entries = {}
        self.end: float | None = None
        self.session: Entries = {}
        self.cleared = False
        self.expire: tuple[float | None] | None = None

    def live(self) -> Entries:
        if self.end is not None and self.end <= self.now:
            return {}
        return {k: v for k, v in sorted(self.entries.items()) if v[1] is None or v[1] > self.now}

    def begin(self) -> None:
        self.session, self.cleared, self.expire = self.live(), False, None

    def step(self, verb: str, *args: Any) -> Any:
        session = self.session
        if verb == "get":
            return session[args[0]][0] if args[0] in session else "nothing"
        if verb == "contains":
            return args[0] in session
        if verb == "state_keys":
            prefix, start = args or ("", "")
            return [one for one in sorted(session) if one.startswith(prefix) and one >= start]
        if verb == "get_all":
            return {name: session[name][0] for name in sorted(session)}
        self.change(verb, *args)
        return None

    def change(self, verb: str, *args: Any) -> None:
        if verb == "set":
            name, value, ttl = args
            self.session[name] = value, None if ttl is None else self.now + ttl
        elif verb == "clear":
            self.session.pop(args[0], None)
        elif verb == "clear_all":
            self.session.clear()
            self.cleared, self.expire = True, None
        elif verb == "expire":
            self.expire = args
        elif verb == "commit":
            self.commit()

    def commit(self) -> None:
        if self.cleared or (self.end is not None and self.end <= self.now):
            self.end = None
        self.entries = dict(self.session)
        if self.expire is not None and self.live():
            ttl = self.expire[0]
            self.end = None if ttl is None else self.now + ttl
        self.cleared, self.expire = False, None


def perform(state: Any, verb: str, *args: Any) -> Any:
    """A step on a real session."""
    if verb == "get":
        return state.get(args[0], "nothing")
    if verb == "contains":
        return args[0] in state
    if verb == "set":
        return state.set(args[0], args[1], ttl=args[2])
    if verb == "state_keys" and args:
        return state.state_keys(prefix=args[0], start=args[1])
    if verb == "expire":
        return state.expire(ttl=args[0])
    if verb == "commit":
        state.commit()
        return None
    return getattr(state, verb)(*args)


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
            reference.begin()
            version = self.db.version("S", key)
            with suppress(Rollback):
                with self._session(way, key) as state:
                    for verb, *args in steps:
                        found = perform(state, verb, *args)
                        assert found == reference.step(verb, *args), (verb, args)
                    if end == "raise":
                        raise Rollback
                reference.commit()
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
            reference.begin()
            reference.change("set", "a", "outside", None)
            reference.commit()

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
