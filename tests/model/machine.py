"""The model test as a state machine of hypothesis, which shrinks what it finds."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from kvengine.testing.contract.moment import KEYS, SERVICES, STATE_KEYS
from tests.model.program import STEPS, TTLS, Mood, options
from tests.model.world import World

services = st.sampled_from(SERVICES[:3])
keys = st.sampled_from(KEYS)
state_keys = st.sampled_from(STATE_KEYS)
values = st.sampled_from((b"", b"v", b"v" * 40, b"v" * 250))
ttls = st.one_of(st.none(), st.sampled_from(TTLS))
seeds = st.integers(0, 2**32 - 1)
jumps = st.sampled_from(STEPS[:-1])

operations = st.one_of(
    st.tuples(st.just("set"), services, keys, state_keys, values, ttls),
    st.tuples(st.just("clear"), services, keys, state_keys),
    st.tuples(st.just("clear_all"), services, keys),
    st.tuples(st.just("expire"), services, keys, st.none(), ttls),
    st.tuples(st.just("expire_in"), services, keys, st.sampled_from((-5.0, 0.0, 1.0, 60.0))),
    st.tuples(st.just("clear_service"), services),
    st.tuples(st.just("clear_range"), services, keys, st.one_of(st.none(), keys)),
)
nested = st.lists(st.tuples(st.just("verb"), seeds, operations), max_size=3)


class StoreMachine(RuleBasedStateMachine):
    """Each rule is one action of `World`, which compares reads after it."""

    def __init__(self) -> None:
        super().__init__()
        self.world: World | None = None

    @initialize(seed=seeds)
    def open(self, seed: int) -> None:
        self.world = World(options(Mood(seed)))

    def _step(self, name: str, seed: int, *arguments: Any) -> None:
        assert self.world is not None
        self.world.step((name, seed, *arguments))

    @rule(seed=seeds, operation=operations)
    def verb(self, seed: int, operation: Any) -> None:
        self._step("verb", seed, operation)

    @rule(
        seed=seeds,
        batch=st.lists(operations, max_size=4),
        durability=st.sampled_from((None, "os", "sync")),
        expect=st.sampled_from((None, "right", "wrong")),
    )
    def write(self, seed: int, batch: Any, durability: str | None, expect: str | None) -> None:
        self._step("write", seed, batch, durability, expect)

    @rule(seed=seeds, service=services, key=keys, count=st.sampled_from((12, 90)))
    def grow(self, seed: int, service: str, key: str, count: int) -> None:
        batch = [("set", service, key, f"g{i}", b"%d" % i * 9, None) for i in range(count)]
        self._step("write", seed, batch, None, None)

    @rule(seed=seeds)
    def flush(self, seed: int) -> None:
        self._step("flush", seed)

    @rule(seed=seeds, service=st.one_of(st.none(), services))
    def compact(self, seed: int, service: str | None) -> None:
        self._step("compact", seed, service)

    @rule(seed=seeds, meanwhile=nested, first=st.booleans())
    def background(self, seed: int, meanwhile: Any, first: bool) -> None:
        self._step("background", seed, meanwhile, first)

    @rule(seed=seeds)
    def snapshot(self, seed: int) -> None:
        self._step("snapshot", seed)

    @precondition(lambda self: self.world is not None and self.world.snapshots)
    @rule(seed=seeds, which=st.integers(0, 2))
    def close_snapshot(self, seed: int, which: int) -> None:
        self._step("close_snapshot", seed, which)

    @rule(seed=seeds, reverse=st.booleans())
    def walk(self, seed: int, reverse: bool) -> None:
        self._step("walk", seed, reverse)

    @precondition(lambda self: self.world is not None and self.world.walks)
    @rule(seed=seeds, count=st.sampled_from((1, 5, 999)))
    def walk_on(self, seed: int, count: int) -> None:
        self._step("walk_on", seed, count)

    @rule(seed=seeds)
    def checkpoint(self, seed: int) -> None:
        self._step("checkpoint", seed)

    @rule(seed=seeds, seconds=st.sampled_from((0.5, 1.0, 3.0, 25.0)))
    def advance(self, seed: int, seconds: float) -> None:
        self._step("advance", seed, seconds)

    @rule(seed=seeds, seconds=jumps)
    def jump(self, seed: int, seconds: float) -> None:
        self._step("jump", seed, seconds)

    @rule(seed=seeds, jump=jumps)
    def reopen(self, seed: int, jump: float) -> None:
        self._step("reopen", seed, jump)

    @rule(seed=seeds, jump=jumps)
    def kill(self, seed: int, jump: float) -> None:
        self._step("kill", seed, jump)

    @rule(seed=seeds, chance=st.integers(0, 2**16), jump=st.sampled_from((0.0, -3.0, 30.0)))
    def power_cut(self, seed: int, chance: int, jump: float) -> None:
        self._step("cut", seed, chance, jump)

    def teardown(self) -> None:
        if self.world is not None:
            self.world.close()
