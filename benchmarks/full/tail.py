"""Line 17: the slowest calls beside compaction, for the stores that compact.

As in `benchmarks.latency`: p99.9 of single calls, by turns without (A) and with a compaction of the
whole store (B), and by turns of the stores; the figures are medians over the turns. Before each
compaction an entry in every tenth object is written anew, so that all files are overlapped. Samples
are taken in slices, which count only if the compaction ran from before to after them.
"""

from __future__ import annotations

import random
from array import array
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

from benchmarks import latency, lines, peers
from benchmarks.full import load
from benchmarks.full.record import Place, Record, apart, record
from benchmarks.full.sizes import Sizes
from benchmarks.peers.base import OURS, Peer
from benchmarks.workload import SERVICE, STATE_KEYS, VALUE_SIZE, object_key

SLICE_SECONDS = 0.01
PAUSE_SECONDS = 0.005  # from the call of a compaction to the first slice
LINES = {
    "get": (lines.GET_TAIL, lines.GET_TAIL_GROWTH),
    "commit": (lines.COMMIT_TAIL, lines.COMMIT_TAIL_GROWTH),
}
Samples = dict[tuple[str, str, bool], list[float]]  # store, verb, compaction? -> p99.9 by turn


class Turns:
    """Takes samples of one store's verbs, with or without a compaction beside them."""

    def __init__(self, store: Peer, objects: int) -> None:
        self.store = store
        self._objects = objects
        self._generator = random.Random(5)
        adapter = SimpleNamespace(set=store.set, compact=store.rewrite)
        self._compaction = latency.Compaction(adapter, objects, PAUSE_SECONDS)

    def turn(self, verb: str, compaction: bool, wanted: int) -> float:
        """Return p99.9 of so many calls, in seconds."""
        self._compaction.finish()
        self.store.settle()
        call = self.store.get if verb == "get" else self.store.commit
        prepare = self._entry if verb == "get" else self._three_entries
        samples = array("q")
        while len(samples) < wanted:
            if compaction:
                self._compaction.ensure()
            taken = array("q")
            latency.sample(call, prepare, taken, SLICE_SECONDS)
            if not compaction or self._compaction.running():
                samples.extend(taken)
        self._compaction.finish()
        return latency.percentiles(samples)[-1] / 1e6

    def _entry(self) -> tuple[str, str, str]:
        return SERVICE, self._key(), self._generator.choice(STATE_KEYS)

    def _three_entries(self) -> tuple[str, str, dict[str, bytes]]:
        names = self._generator.sample(STATE_KEYS, 3)
        return SERVICE, self._key(), {name: self._generator.randbytes(VALUE_SIZE) for name in names}

    def _key(self) -> str:
        return object_key(self._generator.randrange(self._objects))


def measure(paths: dict[str, str], objects: int, turns: int, wanted: int) -> Samples:
    """Load the stores, and take the turns of all."""
    stores: dict[str, Turns] = {}
    for name, path in paths.items():
        store = peers.find(name)(path, False, OURS)
        for arguments in load.objects(objects):
            store.load_object(*arguments)
        store.compact()
        stores[name] = Turns(store, objects)
    samples: Samples = defaultdict(list)
    for _ in range(turns):
        for name, store_turns in stores.items():
            for verb in LINES:
                for compaction in (False, True):
                    figure = store_turns.turn(verb, compaction, wanted)
                    samples[name, verb, compaction].append(figure)
    for store_turns in stores.values():
        store_turns.store.close()
    return dict(samples)


def run(place: Place, sizes: Sizes) -> list[Record]:
    """Return p99.9 beside compaction, and that by p99.9 without."""
    names = [name for name in place.names if name in load.COMPACTING]
    paths = {name: place.new(f"tail-{name}") for name in names}
    samples: Any = apart(measure, paths, sizes.tail_objects, sizes.tail_turns, sizes.tail_samples)
    note = (
        f"any of {sizes.tail_objects:,} objects; medians of {sizes.tail_turns} turns of "
        f"{sizes.tail_samples:,} calls"
    )
    records = []
    for name in names:
        place.drop(f"tail-{name}")
        for verb, (line, growth) in LINES.items():
            alone, beside = samples[name, verb, False], samples[name, verb, True]
            records.append(record(line, name, beside, note=note))
            grown = [high / low for high, low in zip(beside, alone, strict=True)]
            records.append(record(growth, name, grown))
    return records
