"""One benchmark per operation and store; `python -m benchmarks` prints them as a table.

Hot: a working set of 1,000 objects touched again and again. Random: any object, after a reopen.
The names of calls are new strings in every round, as names that come with a request are.
"""

from __future__ import annotations

import os
import random
from itertools import count
from typing import Any

import pytest

from benchmarks import directories, peers, workload
from benchmarks.conftest import Call, Loaded, Measure
from benchmarks.peers.base import Peer
from benchmarks.workload import HOT_OBJECTS, SERVICE, STATE_KEYS, object_key

OBJECTS = workload.object_count()
READS = 1_000  # operations in a round


def _names(generator: random.Random, objects: int, operations: int = READS) -> list[Call]:
    return [(SERVICE, object_key(generator.randrange(objects))) for _ in range(operations)]


def _entry_names(generator: random.Random, objects: int) -> list[Call]:
    return [
        (*names, f"item-{generator.randrange(len(STATE_KEYS))}")
        for names in _names(generator, objects)
    ]


def _three_entries(generator: random.Random, operations: int) -> list[Call]:
    return [
        (*names, workload.entry_values(generator, tuple(generator.sample(STATE_KEYS, 3))))
        for names in _names(generator, OBJECTS, operations)
    ]


def test_same_answers(store: Peer) -> None:
    """Every store returns the same, before and after a write: the figures compare like work."""
    _service, key, entries = next(iter(workload.objects(OBJECTS)))
    assert store.get_all(SERVICE, key) == entries
    assert store.state_keys(SERVICE, key) == list(STATE_KEYS)
    assert store.get(SERVICE, key, "item-3") == entries["item-3"]
    assert store.get(SERVICE, key, "item-") is None
    assert store.scan() == OBJECTS * len(STATE_KEYS)
    store.commit(SERVICE, key, {"a": b"1", "b": b""})
    store.set(SERVICE, key, "item-0", b"2")
    assert store.get_all(SERVICE, key) == {"a": b"1", "b": b"", **entries, "item-0": b"2"}
    store.clear_all(SERVICE, key)
    assert store.get_all(SERVICE, key) == {}
    assert store.scan() == (OBJECTS - 1) * len(STATE_KEYS)


@pytest.mark.benchmark(group="load one object (10 keys)")
def test_load(empty_store: Peer, measure: Measure) -> None:
    """The whole load from an empty directory, 500 objects a round."""
    source = workload.objects(OBJECTS)

    def batch(_generator: random.Random) -> list[Call]:
        return [next(source) for _ in range(500)]

    measure(empty_store.load_object, batch, rounds=OBJECTS // 500)


@pytest.mark.benchmark(group="get, hot")
def test_get_hot(store: Peer, measure: Measure) -> None:
    """Entries of the working set, which a first pass has touched."""
    measure(store.get, lambda generator: _entry_names(generator, HOT_OBJECTS), warmup_rounds=10)


@pytest.mark.benchmark(group="get, random")
def test_get_random(store: Peer, measure: Measure) -> None:
    """Entries of any object after a reopen."""
    measure(store.get, lambda generator: _entry_names(generator, OBJECTS))


@pytest.mark.benchmark(group="get, missing key")
def test_get_missing(store: Peer, measure: Measure) -> None:
    """In turn an absent entry of an object that exists, and one of an object that does not."""

    def calls(generator: random.Random) -> list[Call]:
        names = _names(generator, OBJECTS)
        return [
            (SERVICE, key if turn % 2 else f"{key}-none", f"other-{generator.randrange(10)}")
            for turn, (_service, key) in enumerate(names)
        ]

    measure(store.get, calls)


@pytest.mark.benchmark(group="eager load, hot (10 keys)")
def test_get_all_hot(store: Peer, measure: Measure) -> None:
    """All state of an object of the working set, which a first pass has touched."""
    measure(store.get_all, lambda generator: _names(generator, HOT_OBJECTS), warmup_rounds=10)


@pytest.mark.benchmark(group="eager load, random (10 keys)")
def test_get_all_random(store: Peer, measure: Measure) -> None:
    """All state of any object after a reopen."""
    measure(store.get_all, lambda generator: _names(generator, OBJECTS))


@pytest.mark.benchmark(group="state_keys, hot (10 keys)")
def test_state_keys(store: Peer, measure: Measure) -> None:
    """Names of the entries of an object of the working set."""
    measure(store.state_keys, lambda generator: _names(generator, HOT_OBJECTS), warmup_rounds=10)


@pytest.mark.benchmark(group="set one key")
def test_set(store: Peer, measure: Measure) -> None:
    """A new value for an entry of any object."""

    def calls(generator: random.Random) -> list[Call]:
        value_size = workload.VALUE_SIZE
        return [
            (*names, generator.randbytes(value_size)) for names in _entry_names(generator, OBJECTS)
        ]

    measure(store.set, calls)


@pytest.mark.benchmark(group="commit of 3 keys")
def test_commit(store: Peer, measure: Measure) -> None:
    """New values for three entries of any object."""
    measure(store.commit, lambda generator: _three_entries(generator, READS))


@pytest.mark.benchmark(group="commit of 3 keys, fsynced")
def test_commit_fsynced(durable_store: Peer, measure: Measure) -> None:
    """The same, on the disk when it returns; one thread, so no syncs are shared."""
    measure(durable_store.commit, lambda generator: _three_entries(generator, 10), rounds=50)


@pytest.mark.benchmark(group="commit of 3 keys, fsynced")
def test_commit_floor(benchmark: Any, directory: str) -> None:
    """What the disk asks for it: as many bytes appended to a file, and fdatasync."""
    benchmark.extra_info.update(peer="(raw fdatasync)", operations=10)
    descriptor = os.open(directory, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    record = bytes(400)

    def append() -> None:
        for _ in range(10):
            os.write(descriptor, record)
            os.fdatasync(descriptor)

    os.sync()
    benchmark.pedantic(append, rounds=50, iterations=1)
    os.close(descriptor)


@pytest.mark.benchmark(group="clear_all (10 keys)")
def test_clear_all(store: Peer, measure: Measure) -> None:
    """Each call clears another object, none twice."""
    numbers = iter(workload.load_order(OBJECTS))
    a_round = OBJECTS // 100

    def calls(_generator: random.Random) -> list[Call]:
        return [(SERVICE, object_key(next(numbers))) for _ in range(a_round)]

    measure(store.clear_all, calls)


@pytest.mark.benchmark(group="scan, per entry")
def test_scan(store: Peer, measure: Measure) -> None:
    """All names and values, in order."""
    measure.whole(store.scan, operations=OBJECTS * len(STATE_KEYS), rounds=5)


@pytest.mark.benchmark(group="open after load")
def test_open(peer_name: str, directory: str, loaded: Loaded, measure: Measure) -> None:
    """Opening a directory as the load left it: each round has a copy of its own."""
    source = loaded(peer_name)
    peer = peers.find(peer_name)
    copies = (f"{directory}-{number}" for number in count())
    opened: list[Peer] = []

    def setup() -> tuple[tuple[str], dict[str, Any]]:
        target = next(copies)
        directories.copy(source, target)
        return (target,), {}

    def open_store(target: str) -> None:
        opened.append(peer(target, False))

    def close(_target: str) -> None:
        opened.pop().close()

    measure.whole(open_store, operations=1, rounds=5, setup=setup, teardown=close)
