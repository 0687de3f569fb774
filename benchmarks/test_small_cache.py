"""Line 13: reads where the stores' own caches hold a tenth of the data, once compacted.

The page cache is not limited: what a cache lacks is copied from memory, not read from a disk. LMDB
has no cache of its own and so loses nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from benchmarks import lines, peers, workload
from benchmarks.conftest import Call, Measure
from benchmarks.peers.base import Peer
from benchmarks.workload import SERVICE, STATE_KEYS, Zipf, object_key

OBJECTS = workload.object_count()
READS = 1_000  # operations in a round
WARMUP_ROUNDS = max(10, 2 * OBJECTS // READS)  # until the caches hold what they hold for good

# Those for the record would take minutes, since each read loads and unpickles a whole object.
EACH = pytest.mark.parametrize("peer_name", [peers.KVENGINE, *peers.OTHERS], indirect=True)

Numbers = Callable[[random.Random, int], list[int]]


def _uniform(generator: random.Random, count: int) -> list[int]:
    return [generator.randrange(OBJECTS) for _ in range(count)]


def _get(store: Peer, measure: Measure, numbers: Numbers) -> None:
    def calls(generator: random.Random) -> list[Call]:
        return [
            (SERVICE, object_key(number), f"item-{generator.randrange(len(STATE_KEYS))}")
            for number in numbers(generator, READS)
        ]

    measure(store.get, calls, warmup_rounds=WARMUP_ROUNDS)


def _get_all(store: Peer, measure: Measure, numbers: Numbers) -> None:
    def calls(generator: random.Random) -> list[Call]:
        return [(SERVICE, object_key(number)) for number in numbers(generator, READS)]

    measure(store.get_all, calls, warmup_rounds=WARMUP_ROUNDS)


@EACH
@pytest.mark.benchmark(group=lines.GET_ZIPF)
def test_get_zipf(small_cache: Peer, measure: Measure) -> None:
    """One entry; few objects are asked for often, most of them seldom."""
    _get(small_cache, measure, Zipf(OBJECTS).choices)


@EACH
@pytest.mark.benchmark(group=lines.GET_UNIFORM)
def test_get_uniform(small_cache: Peer, measure: Measure) -> None:
    """One entry of any object."""
    _get(small_cache, measure, _uniform)


@pytest.mark.parametrize("peer_name", [peers.KVENGINE], indirect=True)
@pytest.mark.benchmark(group=lines.GET_UNIFORM_MAPPED)
def test_get_uniform_mapped(small_cache_mapped: Peer, measure: Measure) -> None:
    """The same, with segments mapped to memory."""
    _get(small_cache_mapped, measure, _uniform)


@EACH
@pytest.mark.benchmark(group="get_all, zipf 0.99, cache a tenth")
def test_get_all_zipf(small_cache: Peer, measure: Measure) -> None:
    """All state of an object."""
    _get_all(small_cache, measure, Zipf(OBJECTS).choices)


@EACH
@pytest.mark.benchmark(group="get_all, uniform, cache a tenth")
def test_get_all_uniform(small_cache: Peer, measure: Measure) -> None:
    """All state of any object."""
    _get_all(small_cache, measure, _uniform)
