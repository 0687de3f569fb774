"""Random programs for a `World`: made from a seed, run, and cut down when they fail."""

from __future__ import annotations

import time
from random import Random
from typing import Any

from kvengine.testing.contract.moment import KEYS, SERVICES, STATE_KEYS, Difference
from kvengine.testing.contract.reference import SECOND, Operation
from tests.model.world import Action, World

TTLS = (0.5, 1.0, 3.0, 20.0, 90.0)
STEPS = (-3600.0, -70.0, -50.0, -3.0, 0.0, 0.0, 2.0, 45.0, 100.0, 1e8)

WEIGHTS = {
    "verb": 40,
    "write": 14,
    "advance": 10,
    "background": 6,
    "flush": 5,
    "snapshot": 3,
    "close_snapshot": 3,
    "walk": 1,
    "walk_on": 2,
    "compact": 2,
    "jump": 2,
    "reopen": 1,
    "kill": 2,
    "cut": 1,
    "checkpoint": 0.5,
}


def options(random: Mood) -> dict[str, Any]:
    """Sizes so small that levels fill within a hundred steps."""
    return {
        "durability": random.choice(("os", "os", "sync")),
        "memtable_size": random.choice((1024, 2048, 4096, 16384)),
        "segment_size": random.choice((512, 1024, 1024, 4096)),
        "block_size": 200,
        "chunk_size": 200,
        "cache_size": random.choice((0, 8192, 1 << 20)),
        "l0_compact": random.choice((2, 2, 3)),
        "l0_slow": 1000,
        "l0_stop": 1000,
        "level_base": random.choice((1024, 4096)),
        "level_ratio": 2,
        "expiry_grace": random.choice((0, 0, 2)),
        "tombstone_age": random.choice((0, 5, 1000)),
    }


RETENTION = {**WEIGHTS, "write": 24, "flush": 10, "snapshot": 6, "kill": 0.5, "compact": 1}


class Mood(Random):
    """A seed's chances. ``retention``: objects are given an expiry, which is then changed."""

    retention = False


def action(random: Mood, *, nested: bool = False) -> Action:
    """One action. A nested one happens while a job of background work runs."""
    weights = RETENTION if random.retention else WEIGHTS
    name = random.choices(list(weights), list(weights.values()))[0]
    if nested:
        name = random.choice(("verb", "verb", "write", "advance", "snapshot"))
    return (name, random.getrandbits(32), *_ARGUMENTS.get(name, lambda _: ())(random))


def operation(random: Mood) -> Operation:
    name = (_pick(random, SERVICES), _pick(random, KEYS))
    kind = random.random()
    if kind < 0.52:
        ttl = random.choice((*TTLS, 0.0, -1.0)) if random.random() < 0.2 else None
        value = b"%d" % random.randrange(1000) * random.choice((0, 1, 8, 8, 30))
        return ("set", *name, random.choice(STATE_KEYS), value, ttl)
    if kind < 0.64:
        return ("clear", *name, random.choice(STATE_KEYS))
    if kind < 0.70:
        return ("clear_all", *name)
    if kind < 0.74:
        return ("expire_in", *name, random.choice((-5.0, 0.0, 1.0, 10.0, 60.0)))
    if kind < 0.87:
        return ("expire", *name, None, random.choice((None, *TTLS)))
    if kind < 0.91:
        return ("complete", *name, random.choice((0, *(int(ttl * SECOND) for ttl in TTLS))))
    if kind < 0.93:
        return ("clear_service", name[0])
    stop = random.choice((None, random.choice(KEYS), random.choice(KEYS)))
    return ("clear_range", name[0], random.choice(KEYS), stop)


def operations(random: Mood) -> list[Operation]:
    """A batch: mixed verbs on a few objects, an expiring object, or one that grows large."""
    if random.retention and random.random() < 0.6:
        name = (_pick(random, SERVICES), _pick(random, KEYS))
        ttl = random.choice((0.5, 1.0, 3.0))
        return [("set", *name, "n", b"r" * 99, None), ("expire", *name, None, ttl)]
    if random.random() < 0.15:
        name = (_pick(random, SERVICES), _pick(random, KEYS))
        step = random.choice((1, 3))
        count = random.choice((12, 30, 90))
        return [("set", *name, f"g{i}", b"%d" % i * 9, None) for i in range(0, count, step)]
    return [operation(random) for _ in range(random.choice((0, 1, 2, 2, 3, 5)))]


def _pick(random: Mood, names: tuple[str, ...]) -> str:
    """The first names more often, so that layers pile up on them."""
    return names[min(int(random.expovariate(0.6)), len(names) - 1)]


def _write(random: Mood) -> tuple[Any, ...]:
    durability = random.choice((None, None, "os", "sync"))
    return operations(random), durability, random.choice((None, None, "right", "wrong"))


def _background(random: Mood) -> tuple[Any, ...]:
    count = random.choice((0, 0, 1, 2, 4))
    return [action(random, nested=True) for _ in range(count)], random.random() < 0.5


_ARGUMENTS: dict[str, Any] = {
    "verb": lambda random: (operation(random),),
    "write": _write,
    "advance": lambda random: (random.choice((0.5, 0.5, 1.0, 3.0, 25.0)),),
    "background": _background,
    "close_snapshot": lambda random: (random.randrange(3),),
    "walk": lambda random: (random.random() < 0.3,),
    "walk_on": lambda random: (random.choice((1, 5, 999)),),
    "compact": lambda random: (random.choice((None, None, *SERVICES)),),
    "jump": lambda random: (random.choice(STEPS[:-1]),),
    "reopen": lambda random: (random.choice((0.0, 0.0, -3.0, -50.0, 30.0)),),
    "kill": lambda random: (random.choice((0.0, -3.0, -50.0, -300.0, 30.0, 300.0)),),
    "cut": lambda random: (random.getrandbits(16), random.choice((0.0, -3.0, 30.0))),
}


def make(seed: int, steps: int) -> tuple[dict[str, Any], list[Action]]:
    random = Mood(seed)
    random.retention = random.random() < 0.4
    chosen, program = options(random), list[Action]()
    while len(program) < steps:
        if random.retention and random.random() < 0.03:
            program += _scene(random)
        program.append(action(random))
    return chosen, program


def _scene(random: Mood) -> list[Action]:
    """Objects that expire together, some of them prolonged over what was flushed, as time passes.

    Random verbs alone seldom leave a segment in which everything expires.
    """
    of = [(random.choice(SERVICES), key) for key in random.sample(KEYS, random.choice((1, 2, 4)))]
    longer = random.sample(of, random.randrange(len(of) + 1))
    ttl, later = random.choice((1.0, 3.0)), random.choice((None, 20.0, 90.0))
    begun = [
        one for n in of for one in (("set", *n, "n", b"r" * 99, None), ("expire", *n, None, ttl))
    ]
    prolonged = [("expire", *name, None, later) for name in longer]

    def then(name: str, *arguments: Any) -> Action:
        return (name, random.getrandbits(32), *arguments)

    actions = [then(random.choice(("flush", "snapshot"))), then("write", begun, None, None)]
    actions += [then("flush"), then("write", prolonged, None, None)]
    if random.random() < 0.4:
        actions.append(then("flush"))
    if random.random() < 0.3:
        actions.append(then("snapshot"))
    return [
        *actions,
        then("advance", ttl + random.choice((0.0, 2.0))),
        then("background", [], False),
    ]


def run(chosen: dict[str, Any], program: list[Action]) -> None:
    """Run a program to its end; Difference, or whatever the engine raised."""
    world = World(chosen)
    try:
        for one in program:
            world.step(one)
        world.finish()
    except BaseException:
        world.close()
        raise


def check(seed: int, steps: int, *, seconds: float = 30.0) -> None:
    """Run the program of a seed; a failure names it, and a shorter program that fails."""
    chosen, program = make(seed, steps)
    error = _failure(chosen, program)
    if error is None:
        return
    short = shrink(chosen, program, time.monotonic() + seconds)
    error = _failure(chosen, short) or error
    listing = "\n".join(f"    {one!r}," for one in short)
    raise Difference(
        f"seed {seed}, {steps} steps: {type(error).__name__}: {error}\n"
        f"options = {chosen!r}\nprogram = [\n{listing}\n]"
    ) from error


def shrink(chosen: dict[str, Any], program: list[Action], until: float) -> list[Action]:
    """A shorter program that still fails, by leaving out runs of ever fewer actions."""
    size = len(program) // 2
    while size and time.monotonic() < until:
        at = 0
        while at < len(program) and time.monotonic() < until:
            fewer = program[:at] + program[at + size :]
            if _failure(chosen, fewer) is not None:
                program = fewer
            else:
                at += size
        size //= 2
    return program


def _failure(chosen: dict[str, Any], program: list[Action]) -> Exception | None:
    try:
        run(chosen, program)
    except Exception as error:
        return error
    return None
