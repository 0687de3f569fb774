"""Line 19: YCSB A to F on objects: ten fields of 100 bytes, Zipf's law with exponent 0.99.

As YCSB has it: a read takes all fields, an update writes one, an insert makes a new object; D reads
the latest objects the most; a scan takes all fields of 1 to 100 objects from a key on. In kvengine
that is `object_keys` from there on, and a `get_all` of each, since its `scan` begins at the start
of a service. Read-modify-write is `get_all` and `set` in kvengine; in LMDB and SQLite it is one
transaction, which is faster there. Sessions of kvengine, which are exclusive, stand beside it.

All stores are open in one process and do the same operations by turns; nothing is synced.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks import lines, peers, workload
from benchmarks.full import load
from benchmarks.full.record import Place, Record, apart, record
from benchmarks.full.sizes import Sizes
from benchmarks.peers.base import OURS, Peer
from benchmarks.workload import SERVICE, STATE_KEYS, VALUE_SIZE, Zipf, object_key

LONGEST_SCAN = 100  # objects
F_BY_SESSIONS = "YCSB F by sessions of kvengine"

Operation = tuple[str, tuple[Any, ...]]  # verb, arguments
Call = tuple[Callable[..., object], tuple[Any, ...]]
Samples = dict[tuple[str, str], tuple[list[float], list[float]]]  # line, store -> times, loops


class Mix(NamedTuple):
    """Shares of the verbs of a workload."""

    shares: dict[str, float]
    latest: bool = False  # reads prefer what was inserted last


MIXES = {
    "A": Mix({"get_all": 0.5, "set": 0.5}),
    "B": Mix({"get_all": 0.95, "set": 0.05}),
    "C": Mix({"get_all": 1.0}),
    "F": Mix({"get_all": 0.5, "read_modify_write": 0.5}),
    "D": Mix({"get_all": 0.95, "load_object": 0.05}, latest=True),
    "E": Mix({"scan_objects": 0.95, "load_object": 0.05}),
}


class Operations:
    """Makes operations; what one inserts is there for those made later."""

    def __init__(self, objects: int) -> None:
        self._generator = random.Random(7)
        self._zipf = Zipf(objects)
        self._latest = Zipf(objects, shuffled=False)
        self._objects = objects

    def make(self, mix: Mix, count: int) -> list[Operation]:
        """Return so many operations in random order."""
        verbs = self._generator.choices(list(mix.shares), list(mix.shares.values()), k=count)
        chosen = (self._latest if mix.latest else self._zipf).choices(self._generator, count)
        return [
            (verb, self._arguments(verb, self._objects - 1 - number if mix.latest else number))
            for verb, number in zip(verbs, chosen, strict=True)
        ]

    def _arguments(self, verb: str, number: int) -> tuple[Any, ...]:
        generator = self._generator
        if verb == "load_object":
            key = object_key(self._objects)
            self._objects += 1
            return SERVICE, key, workload.entry_values(generator, STATE_KEYS)
        if verb == "scan_objects":
            return SERVICE, object_key(number), generator.randint(1, LONGEST_SCAN)
        if verb == "get_all":
            return SERVICE, object_key(number)
        return (
            *(SERVICE, object_key(number), generator.choice(STATE_KEYS)),
            generator.randbytes(VALUE_SIZE),
        )


def bound(name: str, store: Peer, operations: list[Operation]) -> list[Call]:
    """Return the operations as calls of one store."""

    def get_all_and_set(service: str, key: str, state_key: str, value: bytes) -> None:
        store.get_all(service, key)
        store.set(service, key, state_key, value)

    by_two_calls = name == peers.KVENGINE
    special = {"read_modify_write": get_all_and_set if by_two_calls else store.session}
    verbs = {verb: special.get(verb) or getattr(store, verb) for verb, _ in operations}
    return [(verbs[verb], arguments) for verb, arguments in operations]


def measure(paths: dict[str, str], sizes: Sizes) -> Samples:
    """Load the stores, and run the workloads, one round of each store after another."""
    stores: dict[str, Peer] = {}
    for name, path in paths.items():
        stores[name] = peers.find(name)(path, False, OURS)
        for arguments in load.objects(sizes.ycsb_objects):
            stores[name].load_object(*arguments)
        stores[name].settle()
    operations = Operations(sizes.ycsb_objects)
    samples: Samples = defaultdict(_no_samples)
    for letter, mix in MIXES.items():
        count = sizes.ycsb_operations // (10 if letter == "E" else 1)
        for turn in range(sizes.ycsb_rounds + 1):
            made = operations.make(mix, count)
            for name, store in stores.items():
                store.settle()
                times, loops = samples[lines.YCSB[letter], name]
                _time(bound(name, store, made), times, loops, counts=turn > 0)
                if letter == "F" and name == peers.KVENGINE:
                    again = [(_by_session(verb), arguments) for verb, arguments in made]
                    times, loops = samples[F_BY_SESSIONS, name]
                    _time(bound(name, store, again), times, loops, counts=turn > 0)
    for store in stores.values():
        store.close()
    return dict(samples)


def _no_samples() -> tuple[list[float], list[float]]:
    return [], []


def _by_session(verb: str) -> str:
    return "session" if verb == "read_modify_write" else verb


def _time(calls: list[Call], times: list[float], loops: list[float], *, counts: bool) -> None:
    clock = time.perf_counter
    start = clock()
    for _call, _arguments in calls:
        pass
    middle = clock()
    for call, arguments in calls:
        call(*arguments)
    end = clock()
    if counts:
        times.append(end - middle)
        loops.append(middle - start)


def run(place: Place, sizes: Sizes) -> list[Record]:
    """Return the time of an operation of each workload."""
    paths = {name: place.new(f"ycsb-{name}") for name in place.names}
    samples = apart(measure, paths, sizes)
    note = f"of {sizes.ycsb_objects:,} objects"
    records = []
    for (line, name), (times, loops) in samples.items():
        tenth = line == lines.YCSB["E"]
        count = sizes.ycsb_operations // (10 if tenth else 1)
        first = note if line == lines.YCSB["A"] else ""
        records.append(record(line, name, times, operations=count, loops=loops, note=first))
    for name in paths:
        place.drop(f"ycsb-{name}")
    return records
