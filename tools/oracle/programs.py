"""Random programs, made from a seed: hard ones, as the model test of `tests/model` makes them.

A program is {"options": ..., "steps": [...]}, plain enough for JSON. It holds all that
happens, reads and times included, so that one that differs can be printed, repeated and
cut down.
"""

from __future__ import annotations

import math
from random import Random
from typing import Any

Step = list[Any]
Program = dict[str, Any]

SERVICES = ("a", "ab", "a\0b", "")
KEYS = ("", "a", "a\0b", "ab", "b", "\u00e9", "e\u0301", "\U0001f600")
STATE_KEYS = ("n", "", "n\0", "na", "p", "\U0001f600")
TTLS = (0.5, 1.0, 3.0, 20.0, 90.0)
NAMES = [[service, key] for service in SERVICES for key in KEYS]
MAX_STEP = 60.0
"""Seconds: a larger step of the wall clock is not believed while open."""

WEIGHTS = {
    "verb": 40,
    "write": 14,
    "batch": 4,
    "session": 7,
    "advance": 9,
    "flush": 5,
    "compact": 2,
    "snapshot": 3,
    "close_snapshot": 3,
    "walk": 1.5,
    "walk_on": 2.5,
    "set_clock": 2,
    "reopen": 1.2,
    "kill": 1.5,
    "cut": 1.2,
    "checkpoint": 0.5,
    "verify": 0.7,
    "stats": 1,
    "reader": 1.5,
    "bad": 3,
    "broken_batch": 0.5,
    "all": 4,
}

RETENTION = {**WEIGHTS, "write": 24, "flush": 10, "snapshot": 6, "kill": 0.5, "compact": 1}
"""Of programs that give objects an expiry and change it over what was flushed."""

READS = (
    *("get", "get", "get_many", "get_all", "get_all", "load", "state_keys", "version"),
    *("expires_at", "object_keys", "object_keys", "scan", "services"),
)

BAD_CALLS: tuple[tuple[str, list[Any], dict[str, Any]], ...] = (
    ("get", [1, "a", "n"], {}),
    ("get", ["a", None, "n"], {}),
    ("get", ["a", "a", "\ud800"], {}),
    ("get_all", ["\ud800", "a"], {}),
    ("get_many", ["a", "a", 5], {}),
    ("get_many", ["a", "a", ["n", 5]], {}),
    ("get_many", ["a", "a", "nn"], {}),
    ("load", ["a", "a"], {"max_bytes": -1}),
    ("load", ["a", "a"], {"max_bytes": 1.5}),
    ("state_keys", ["a", "a"], {"limit": -1}),
    ("state_keys", ["a", "a"], {"prefix": 3}),
    ("state_keys", ["a", "a"], {"start": None}),
    ("services", [], {"limit": "x"}),
    ("services", [], {"start": "ab", "limit": 1}),
    ("object_keys", ["a"], {"limit": True}),
    ("object_keys", ["a"], {"start": 4}),
    ("object_keys", [None], {}),
    ("scan", [None], {"prefix": "a"}),
    ("scan", ["a"], {"prefix": 1}),
    ("version", ["a", 7], {}),
    ("expires_at", [b"a".hex(), "\udfff"], {}),
    ("set", ["a", "a", "n", "text"], {}),
    ("set", ["a", "a", 2, "text"], {}),
    ("clear", ["a", "a", None], {}),
    ("clear_all", ["a", 1], {}),
    ("clear_service", [None], {}),
    ("clear_range", ["a", "b", 5], {}),
    ("clear_range", ["a", None, "b"], {}),
    ("clear_range", ["a", "b", "a"], {}),
    ("clear_range", ["a", "b", "b"], {}),
    ("expire", ["a", "a"], {"ttl": math.nan}),
    ("expire", ["a", "a"], {"ttl": math.inf}),
    ("expire", ["a", "a"], {"ttl": True}),
    ("expire", ["a", "a"], {"ttl": "1"}),
    ("expire", ["a", "a"], {"ttl": 1.0, "at": 1.0}),
    ("expire", ["a", "a"], {"at": -1}),
    ("expire", ["a", "a"], {"at": math.nan}),
    ("expire", ["a", "a"], {"at": 1e300}),
    ("expire", ["a", "a"], {"ttl": 1e300}),
    ("expire", ["a", "a"], {"at": 0}),
    ("expire", ["a", "absent"], {"ttl": 5}),
    ("state_keys", ["a", "a"], {"prefix": None}),
    ("state_keys", ["a", "a"], {"start": 0}),
    ("state_keys", ["a", "a"], {"limit": False}),
    ("state_keys", [None, "a"], {}),
    ("load", ["a", "a"], {"max_bytes": False}),
    ("load", ["a", None], {}),
    ("get", ["a", "a", None], {}),
    ("get", ["a", "a", ["n"]], {}),
    ("get", [["a"], "a", "n"], {}),
    ("get_all", ["a", ["a"]], {}),
    ("get_many", ["a", "a", [None]], {}),
    ("get_many", ["a", "a", None], {}),
    ("services", [], {"start": None}),
    ("services", [], {"limit": False}),
    ("object_keys", ["a"], {"prefix": None}),
    ("object_keys", ["a"], {"start": 0}),
    ("scan", ["a"], {"prefix": None}),
    ("scan", [0], {}),
    ("expire", ["a", "a"], {"ttl": False}),
    ("expire", ["a", "a"], {"at": False}),
    ("version", ["a", ["a"]], {}),
    ("expires_at", ["a", None], {}),
    ("write", ["no batch"], {}),
    ("compact", [3], {}),
)


class Maker:
    """Makes one program. It knows what the clock may say, so that answers are determined."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        # Objects that expire together, some of them prolonged: rare among random verbs.
        self.retention = self.random.random() < 0.4
        # The wall clock, and the latest that the engine may believe; both count from the start.
        self.wall = self.latest = 0.0
        self.expiring: set[tuple[str, str]] = set()
        self.snapshots: set[int] = set()
        self.walks: set[int] = set()
        self.options = self._options()

    def program(self, steps: int) -> Program:
        """Return a program of about so many steps besides reads."""
        random = self.random
        weights = RETENTION if self.retention else WEIGHTS
        made: list[Step] = []
        for _ in range(steps):
            if self.retention and random.random() < 0.03:
                made += self._scene()
            if random.random() < 0.005:
                made += self._emptied()
            name = random.choices(list(weights), list(weights.values()))[0]
            made.append(getattr(self, "_" + name)())
            made += [self._read() for _ in range(random.choice((0, 1, 1, 2, 3)))]
        made += [["all", source, NAMES] for source in (0, 1, 2, "db")]
        made += [self._reopen(), ["all", "db", NAMES], ["verify"], ["stats"]]
        return {"options": self.options, "steps": made}

    def _options(self) -> dict[str, Any]:
        """Sizes so small that levels fill within a hundred steps."""
        random = self.random
        chosen = {
            "durability": random.choice(("os", "os", "sync")),
            "memtable_size": random.choice((600, 1024, 2048, 4096, 16384)),
            "segment_size": random.choice((512, 1024, 1024, 4096)),
            "block_size": random.choice((200, 200, 1000)),
            "chunk_size": random.choice((100, 200, 200, 1000)),
            "cache_size": random.choice((0, 8192, 1 << 20)),
            "l0_compact": random.choice((2, 2, 3)),
            "l0_slow": 1000,
            "l0_stop": 1000,
            "level_base": random.choice((1024, 4096)),
            "level_ratio": 2,
            "expiry_grace": random.choice((0, 0, 2, 15)),
            "tombstone_age": random.choice((0, 5, 1000)),
            "max_value_size": random.choice((3000, 1 << 20)),
            "max_clock_step": MAX_STEP,
        }
        if random.random() < 0.05:
            chosen |= {"background": "thread", "live_access": False}
        return chosen

    # --- names and operations

    def _name(self) -> list[str]:
        return [self._pick(SERVICES), self._pick(KEYS)]

    def _pick(self, names: tuple[str, ...]) -> str:
        """Pick the first names more often, so that layers pile up on them."""
        return names[min(int(self.random.expovariate(0.6)), len(names) - 1)]

    def _value(self) -> str:
        random = self.random
        return str(random.randrange(1000)) * random.choice((0, 1, 8, 8, 30, 30, 250))

    def _expires(self, name: list[str]) -> None:
        self.expiring.add((name[0], name[1]))

    def operation(self) -> Step:
        """Return one write."""
        random, name = self.random, self._name()
        kind = random.random()
        if kind < 0.52:
            ttl = random.choice(TTLS) if random.random() < 0.2 else None
            if ttl is not None:
                self._expires(name)
            return ["set", *name, random.choice(STATE_KEYS), self._value(), ttl]
        if kind < 0.64:
            return ["clear", *name, random.choice(STATE_KEYS)]
        if kind < 0.70:
            return ["clear_all", *name]
        if kind < 0.91:
            self._expires(name)
            if kind < 0.74:
                return ["expire_in", *name, random.choice((-5.0, 0.0, 1.0, 10.0, 60.0))]
            return ["expire", *name, random.choice((None, *TTLS))]
        if kind < 0.93:
            return ["clear_service", name[0]]
        stop = random.choice((None, random.choice(KEYS), random.choice(KEYS)))
        return ["clear_range", name[0], random.choice(KEYS), stop]

    def operations(self) -> list[Step]:
        """Return a batch: mixed writes, an object that expires, or one that grows large."""
        random = self.random
        if self.retention and random.random() < 0.5:
            name = self._name()
            self._expires(name)
            return [["set", *name, "n", "r" * 99, None], ["expire", *name, random.choice(TTLS[:3])]]
        if random.random() < 0.15:
            name, step = self._name(), random.choice((1, 3))
            count = random.choice((12, 30, 90))
            return [["set", *name, f"g{i}", f"{i}" * 9, None] for i in range(0, count, step)]
        return [self.operation() for _ in range(random.choice((0, 1, 2, 2, 3, 5)))]

    # --- steps

    def _verb(self) -> Step:
        return ["verb", self.operation()]

    def _write(self) -> Step:
        random = self.random
        durability = random.choice((None, None, "os", "sync"))
        return [
            "write",
            self.operations(),
            durability,
            random.choice((None, None, "right", "wrong")),
        ]

    def _batch(self) -> Step:
        return ["batch", self.operations()]

    def _broken_batch(self) -> Step:
        return ["broken_batch", self.operations()]

    def _session(self) -> Step:
        random, name = self.random, self._name()
        named: dict[str, Any] = random.choice(
            (
                *({}, {}, {"preload": False}, {"preload": ["n", "absent", "g3"]}),
                *({"preload_limit": random.choice((0, 24, 400))}, {"read_only": True}),
                *({"durability": "sync"}, {"read_only": True, "preload": False}),
            )
        )
        steps = [self._session_step(name) for _ in range(random.randrange(7))]
        retention = random.choice((None, None, None, 0, 5.0, 50.0))
        if retention is not None:
            self._expires(name)
            # 0.1.0 completed nothing that had no entries; later releases know when it ended.
            if retention == 0 and random.random() < 0.5:
                steps.append(["complete"])
        runner = "asyncio" if random.random() < 0.25 else "threads"
        return ["session", name, [runner, retention], named, steps, random.random() < 0.1]

    def _session_step(self, name: list[str]) -> Step:
        random = self.random
        entry = random.choice((*STATE_KEYS, "g3"))
        kind = random.random()
        if kind < 0.3:
            ttl = random.choice(TTLS) if random.random() < 0.2 else None
            if ttl is not None:
                self._expires(name)
            return ["set", entry, self._value(), ttl]
        if kind < 0.42:
            return ["clear", entry]
        if kind < 0.46:
            return ["clear_all"]
        if kind < 0.52:
            self._expires(name)
            return ["expire", random.choice((None, *TTLS))]
        if kind < 0.57:
            return ["commit"]
        if kind < 0.6:
            return ["outside", ["set", *name, entry, "outside", None]]
        if kind < 0.7:
            return ["state_keys", random.choice(("", "n", "g")), random.choice(("", entry))]
        if kind < 0.8:
            return random.choice((["version"], ["expires_at"], ["get_all"]))
        return [random.choice(("get", "in")), entry]

    def _read(self) -> Step:
        random = self.random
        return ["read", self._source(), *self._reading(random.choice(READS))]

    def _source(self) -> str | int:
        """Return whom to ask: the database or a snapshot, seldom one that is closed."""
        random = self.random
        if random.random() < 0.02:
            return random.randrange(3)
        sources: list[str | int] = ["db", "db", *sorted(self.snapshots)]
        return random.choice(sources)

    def _reading(self, verb: str) -> Step:
        random, name, entry = self.random, self._name(), self.random.choice(STATE_KEYS)
        if verb == "get":
            return [verb, [*name, random.choice((entry, "g3"))], {}]
        if verb == "get_many":
            return [verb, [*name, random.choices((*STATE_KEYS, "g1", "g30"), k=3)], {}]
        if verb == "load":
            return [verb, name, {"max_bytes": random.choice((None, 0, 5, 60, 300, 3000))}]
        if verb == "state_keys":
            prefix = random.choice(("", "", "n", "g", "g1", "\U0001f600"))
            start, limit = random.choice(("", entry, "g15")), random.choice((None, 0, 1, 4))
            return [verb, name, {"prefix": prefix, "start": start, "limit": limit}]
        if verb == "object_keys":
            named = {
                "prefix": random.choice(("", "", "a", "a\0", "e")),
                "start": random.choice((None, name[1])),
                "reverse": random.random() < 0.5,
                "limit": random.choice((None, None, 0, 2)),
            }
            return [verb, name[:1], named]
        if verb == "scan":
            return [verb, name[:1], {"prefix": random.choice(("", "a", "\U0001f600"))}]
        if verb == "services":
            limit = random.choice((None, None, 0, 1, 2))
            return [verb, [], {"start": random.choice(("", name[0])), "limit": limit}]
        return [verb, name, {}]

    def _all(self) -> Step:
        return ["all", self._source(), NAMES]

    def _walk(self) -> Step:
        random, slot = self.random, self.random.randrange(2)
        self.walks.add(slot)
        if random.random() < 0.5:
            return ["walk", slot, "scan", [], {}]
        return ["walk", slot, *self._reading("object_keys")]

    def _walk_on(self) -> Step:
        if not self.walks:
            return self._walk()
        return ["walk_on", self.random.choice(sorted(self.walks)), self.random.choice((1, 5, 50))]

    def _snapshot(self) -> Step:
        slot = self.random.randrange(3)
        self.snapshots.add(slot)
        return ["snapshot", slot]

    def _close_snapshot(self) -> Step:
        if not self.snapshots:
            return self._snapshot()
        slot = self.random.choice(sorted(self.snapshots))
        self.snapshots.remove(slot)
        return ["close_snapshot", slot]

    def _reader(self) -> Step:
        # Where the wall clock has stepped back, what time it is for a reader depends on what
        # was last written with a time, which is the engine's own affair.
        if self.wall < self.latest:
            return ["stats"]
        return ["reader", self.random.randrange(2)]

    def _bad(self) -> Step:
        random = self.random
        kind = random.random()
        if kind < 0.1:
            return ["bad_value", random.choice((None, 5, "text", []))]
        if kind < 0.2:
            return ["long_value", random.choice((2999, 3000, 3001))]
        if kind < 0.3:
            return ["used_batch"]
        return ["call", *random.choice(BAD_CALLS)]

    def _flush(self) -> Step:
        return ["flush"]

    def _compact(self) -> Step:
        return ["compact", self.random.choice((None, None, *SERVICES))]

    def _checkpoint(self) -> Step:
        return ["checkpoint"] if self.wall == self.latest else ["flush"]

    def _verify(self) -> Step:
        return ["verify"]

    def _stats(self) -> Step:
        return ["stats"]

    def _scene(self) -> list[Step]:
        """Return steps by which objects expire together, some prolonged over what was flushed."""
        random = self.random
        service, count = random.choice(SERVICES), random.choice((1, 2, 4))
        names = [[service, key] for key in random.sample(KEYS, count)]
        ttl, later = random.choice((1.0, 3.0)), random.choice((None, 20.0, 90.0))
        begun: list[Step] = []
        for name in names:
            self._expires(name)
            begun += [["set", *name, "n", "r" * 99, None], ["expire", *name, ttl]]
        longer = random.sample(names, random.randrange(count + 1))
        prolonged = [["expire", *name, later] for name in longer]
        steps: list[Step] = [["flush"] if random.random() < 0.5 else self._snapshot()]
        steps += [["write", begun, None, None], ["flush"], ["write", prolonged, None, None]]
        if random.random() < 0.4:
            steps.append(["flush"])
        if random.random() < 0.3:
            steps.append(self._snapshot())
        return [*steps, self._pass(ttl + random.choice((0.0, 2.0))), ["flush"]]

    def _emptied(self) -> list[Step]:
        """Return steps that empty an object which has an expiry, and write it again later."""
        random, name = self.random, self._name()
        self._expires(name)
        return [
            ["write", [["set", *name, "n", "e" * 99, None], ["expire", *name, 90.0]], None, None],
            random.choice((["flush"], ["stats"])),
            ["verb", ["clear", *name, "n"]],
            ["flush"],
            random.choice((["compact", None], self._advance(), self._write())),
            ["verb", ["set", *name, random.choice(STATE_KEYS), self._value(), None]],
            ["read", "db", "load", name, {"max_bytes": None}],
        ]

    # --- time, and lives

    def _pass(self, seconds: float) -> Step:
        self.wall += seconds
        self.latest += seconds
        return ["advance", seconds]

    def _advance(self) -> Step:
        return self._pass(self.random.choice((0.5, 0.5, 1.0, 3.0, 25.0)))

    def _set_clock(self) -> Step:
        seconds = self.random.choice((-3600.0, -70.0, -50.0, -3.0, 2.0, 45.0, 100.0, 4000.0))
        self._jump(seconds)
        return ["set_clock", seconds]

    def _jump(self, seconds: float) -> None:
        self.wall += seconds
        self.latest = max(self.latest, self.wall)

    def _forget(self, *, within: float) -> list[list[str]]:
        """Return the objects that must be cleared since time has gone back by more.

        What expired in a time that has not come yet is there or not, depending on when
        a compaction came by.
        """
        self.snapshots.clear()
        self.walks.clear()
        found: list[list[str]] = []
        if self.latest - self.wall > within:
            found = [list(name) for name in sorted(self.expiring)]
            self.expiring.clear()
        # A time further ahead of the wall clock than this is not kept by an open.
        self.latest = min(self.latest, self.wall + MAX_STEP)
        return found

    def _reopen(self) -> Step:
        jump = self.random.choice((0.0, 0.0, -3.0, -50.0, -300.0, 30.0, 300.0))
        self._jump(jump)
        return ["reopen", jump, self._forget(within=MAX_STEP)]

    def _kill(self) -> Step:
        jump = self.random.choice((0.0, -3.0, -50.0, -300.0, 30.0, 300.0))
        self._jump(jump)
        touch = self.wall < self.latest or self.random.random() < 0.5
        return ["kill", jump, self._forget(within=MAX_STEP), touch]

    def _cut(self) -> Step:
        jump = self.random.choice((0.0, 0.0, -3.0, -50.0, 30.0))
        self._jump(jump)
        survivors = self.random.choice((None, "written", self.random.getrandbits(32)))
        return ["cut", survivors, jump, self._forget(within=MAX_STEP)]


def make(seed: int, steps: int) -> Program:
    """Return the program of a seed."""
    return Maker(seed).program(steps)


def make_crashes(seed: int, steps: int, images: int) -> Program:
    """Return a program of commits that loses power in ``images`` of its steps.

    Its clock never goes back, so that the state after a commit tells what is left of it later.
    """
    maker = Maker(seed)
    random = maker.random
    maker.options.pop("live_access", None)
    maker.options["background"] = "none"
    weights = {"commit": 60, "flush": 6, "compact": 3, "checkpoint": 2, "reopen": 4, "kill": 4}
    weights["advance"] = 12
    made: list[Step] = []
    lost = set(random.sample(range(steps), min(images, steps)))
    for number in range(steps):
        if number in lost:
            at_call = random.choice((1, 1, 2, 3, 4, 6, 9, 13, 20, 30, 60, 100000))
            survivors = random.choice((None, "written", *(random.getrandbits(32) for _ in "123")))
            made.append(["lose_power", at_call, survivors])
        name = random.choices(list(weights), list(weights.values()))[0]
        if name == "commit":
            durability = random.choice((None, "os", "os", "os", "os", "sync"))
            made.append(["commit", maker.operations(), durability])
        elif name == "advance":
            made.append(maker._advance())
        else:
            arguments: dict[str, Step] = {
                "reopen": [0.0, []],
                "kill": [0.0, [], False],
                "compact": [None],
            }
            made.append(["settled", [name, *arguments.get(name, [])]])
    return {"options": maker.options, "steps": made}
