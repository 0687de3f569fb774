"""The picker, simulated without a disk: only what the manifest knows of segments."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

import pytest

from kvengine.storage.compaction.picker import (
    Limits,
    Pick,
    older_than,
    pending_bytes,
    pick,
    pick_all,
)
from kvengine.storage.manifest.format import SegmentMeta
from kvengine.storage.segment.format import Properties

SECOND = 1_000_000
LIMITS = Limits(l0_compact=4, level_base=4_000, level_ratio=4, tombstone_age=60 * SECOND)
SEGMENT = 1_000
KEYS = 1_000


def meta(number: int, level: int, start: int, stop: int, size: int = SEGMENT, **more: object):  # type: ignore[no-untyped-def]
    """A segment over keys ``[start, stop)``; ``more`` overrides its properties."""
    known: dict[str, object] = {
        "start": b"%06d" % start,
        "stop": b"%06d" % stop,
        "rows": 10,
        "entries": 100,
        "data_bytes": size,
        "tombstones": 0,
        "range_tombstones": 0,
        "tombstone_time": None,
        "expiring": 0,
        "first_expiry": None,
        "half_expiry": None,
        "last_expiry": None,
        "extends": 0,
        "first_stamp": 1,
        "last_stamp": 2,
        "barriers": 0,
    }
    return SegmentMeta(number, level, number, size, Properties(**{**known, **more}))  # type: ignore[arg-type]


def never_held(start: bytes, stop: bytes) -> bool:
    return False


def choose(
    levels: Sequence[Sequence[SegmentMeta]], now: int = 1, horizon: int = 0, covered: int = 0
) -> Pick | None:
    return pick(levels, LIMITS, now, horizon, never_held, lambda _: covered)


class Simulation:
    """Flushes of random ranges, and every pick applied as a compaction would."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.levels: list[list[SegmentMeta]] = [[], []]
        self.number = 0
        self.rewritten = 0

    def flush(self) -> None:
        low = self.random.randrange(KEYS)
        high = self.random.randrange(low, KEYS) + 1
        self.levels[0].insert(0, self.make(0, low, high, SEGMENT))

    def make(self, level: int, start: int, stop: int, size: int) -> SegmentMeta:
        self.number += 1
        return meta(self.number, level, start, stop, size)

    def apply(self, chosen: Pick) -> None:
        gone = {one.number for one in chosen.inputs}
        self.levels = [[m for m in level if m.number not in gone] for level in self.levels]
        while len(self.levels) <= chosen.output:
            self.levels.append([])
        if chosen.kind == "drop":
            return
        low = min(int(m.start) for m in chosen.inputs)
        high = max(int(m.stop) for m in chosen.inputs)
        size = sum(m.size for m in chosen.inputs)
        if chosen.kind == "merge":
            self.rewritten += size
        pieces = max(1, min(size // SEGMENT, high - low))
        step = max(1, (high - low) // pieces)
        edges = [*[*range(low, high, step)][:pieces], high]
        fresh = [self.make(chosen.output, a, b, size // pieces) for a, b in pairwise(edges)]
        level = [*self.levels[chosen.output], *fresh]
        self.levels[chosen.output] = sorted(level, key=lambda m: m.start)

    def settle(self) -> None:
        for _ in range(1_000):
            chosen = choose(self.levels)
            if chosen is None:
                return
            self.apply(chosen)
        raise AssertionError("the picker never comes to rest")


@pytest.mark.slow
def test_levels_stay_disjoint_and_within_their_targets() -> None:
    """Whatever is flushed, picks come to rest, keep levels disjoint and at their size."""
    for seed in range(20):
        one = Simulation(seed)
        for _ in range(200):
            one.flush()
            one.settle()
            assert len(one.levels[0]) < LIMITS.l0_compact
            for number, level in enumerate(one.levels[1:], 1):
                assert sum(m.size for m in level) <= LIMITS.target(number)
                for left, right in pairwise(level):
                    assert left.stop <= right.start
        assert pending_bytes(one.levels, LIMITS) == 0
        assert one.rewritten > 0


def test_a_pick_from_level_zero_takes_everything_older_along() -> None:
    """Level 0 overlaps: an older segment left above its newer one's data would win reads."""
    levels = [
        [
            meta(4, 0, 0, 500, range_tombstones=1, tombstone_time=1),
            meta(3, 0, 900, 950),
            meta(2, 0, 0, 5),
        ],
        [meta(1, 1, 0, 1_000, size=2_000_000)],
    ]
    chosen = choose(levels, covered=2_000_000)
    assert chosen is not None
    assert [m.number for m in chosen.inputs] == [4, 3, 2, 1]


def test_range_tombstones_count_as_overlap() -> None:
    """A segment of tombstones alone drags along what it covers, though no row meets a row."""
    deletes = meta(9, 1, 0, 1_000, size=100, rows=0, entries=0, range_tombstones=1,
                   tombstone_time=1)  # fmt: skip
    covered = meta(5, 2, 400, 410, size=2_000_000)
    chosen = choose([[], [deletes], [covered]], covered=2_000_000)
    assert chosen is not None
    assert {m.number for m in chosen.inputs} == {9, 5}
    assert chosen.kind == "merge"


def test_heavy_tombstones_do_not_wait_for_their_age() -> None:
    """What a range tombstone covers comes back at once when it is worth it, later when not."""
    deletes = meta(9, 1, 0, 1_000, size=100, range_tombstones=1, tombstone_time=1)
    light = [[], [deletes], [meta(5, 2, 400, 410, size=1_000)]]
    assert choose(light) is None
    assert choose(light, now=LIMITS.tombstone_age + 1) is not None


def test_an_expired_segment_goes_unread_only_with_nothing_beneath() -> None:
    """Its rows hide what lies beneath, so above older data it must be compacted instead."""
    expired = {"expiring": 10, "first_expiry": 5, "last_expiry": 9, "half_expiry": 7}
    alone = choose([[], [meta(2, 1, 0, 10, **expired)]], horizon=9)
    assert alone is not None
    assert alone.kind == "drop"
    above = choose([[], [meta(2, 1, 0, 10, **expired)], [meta(1, 2, 5, 6)]], horizon=9)
    assert above is not None
    assert above.kind == "merge"
    assert choose([[], [meta(2, 1, 0, 10, **expired)]], horizon=6) is None


def test_an_expired_segment_stays_while_a_newer_layer_extends() -> None:
    """A newer row may rely on the entries of a row that would be expired without it."""
    expired = {"expiring": 10, "first_expiry": 5, "last_expiry": 9, "half_expiry": 99}
    levels = [[meta(3, 0, 0, 10, extends=1)], [meta(2, 1, 0, 10, **expired)]]
    assert choose(levels, horizon=9) is None
    held = pick([[], levels[1]], LIMITS, 1, 9, lambda start, stop: True, lambda _: 0)
    assert held is None


def test_half_expired_segments_are_rewritten_in_place_at_the_bottom() -> None:
    """Space of expired data comes back without a manual call, without moving the rest."""
    chosen = choose([[], [], [meta(1, 2, 0, 10, expiring=5, half_expiry=7)]], horizon=7)
    assert chosen is not None
    assert (chosen.kind, chosen.output) == ("merge", 2)


def test_nothing_to_do_where_nothing_is_due() -> None:
    """An idle database stays idle."""
    assert choose([[], [meta(1, 1, 0, 10)], [meta(2, 2, 0, 10)]], now=10**18) is None
    assert choose([[], []]) is None


def test_compact_takes_all_that_overlaps_and_only_that() -> None:
    """`compact(service)` closes over ranges: what is left overlaps nothing that was taken."""
    levels = [
        [meta(6, 0, 100, 300)],
        [meta(4, 1, 0, 50), meta(5, 1, 250, 400)],
        [meta(1, 2, 390, 500), meta(2, 2, 600, 700)],
    ]
    chosen = pick_all(levels, LIMITS, b"000150", b"000160")
    assert chosen is not None
    assert {m.number for m in chosen.inputs} == {6, 5, 1}
    assert chosen.output == 2
    assert [[m.number for m in layer] for layer in chosen.layers] == [[6], [5], [1]]


def test_older_than_a_flush_is_every_segment() -> None:
    """A flush lands above all of level 0 too."""
    levels = [[meta(2, 0, 0, 10)], [meta(1, 1, 0, 10)]]
    assert {m.number for m in older_than(levels, 0, [])} == {1, 2}
