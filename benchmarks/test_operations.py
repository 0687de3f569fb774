"""One benchmark per operation and store; `python -m benchmarks` prints them as a table.

In use: a working set of 1,000 objects touched again and again. Any object: of all, after a reopen.
Not read before, or cold: after a reopen of a compacted store, with the files in the page cache. The
names of calls are new strings in every round, as names that come with a request are.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from benchmarks import directories, lines, peers, workload
from benchmarks.conftest import STEADY_ROUNDS, Call, Loaded, Measure, Reopening
from benchmarks.peers.base import Peer
from benchmarks.peers.kvengine_aio import KvengineTasks
from benchmarks.workload import HOT_OBJECTS, SERVICE, STATE_KEYS, object_key

OBJECTS = workload.object_count()
READS = 1_000  # operations in a round


def _names(generator: random.Random, objects: int, operations: int = READS) -> list[Call]:
    return [(SERVICE, object_key(generator.randrange(objects))) for _ in range(operations)]


def _entry_name(generator: random.Random) -> str:
    return f"item-{generator.randrange(len(STATE_KEYS))}"


def _entry_names(generator: random.Random, objects: int) -> list[Call]:
    return [(*names, _entry_name(generator)) for names in _names(generator, objects)]


def _entries(generator: random.Random, count: int, operations: int = READS) -> list[Call]:
    """New values for `count` entries of each of some objects."""
    numbers = range(len(STATE_KEYS))
    return [
        (
            *names,
            {
                f"item-{number}": generator.randbytes(workload.VALUE_SIZE)
                for number in generator.sample(numbers, count)
            },
        )
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


def test_same_compacted(compacted_store: Peer) -> None:
    """Compaction changes no answer, and a loop by itself is as long as the scan that has it."""
    _service, key, entries = next(iter(workload.objects(OBJECTS)))
    assert compacted_store.get_all(SERVICE, key) == entries
    assert compacted_store.scan() == OBJECTS * len(STATE_KEYS)
    assert compacted_store.scan_loop(OBJECTS) == OBJECTS * len(STATE_KEYS)


@pytest.mark.benchmark(group=lines.GET_IN_USE)
def test_get_in_use(store: Peer, measure: Measure) -> None:
    """Entries of the working set, which a first pass has touched."""
    measure(store.get, lambda generator: _entry_names(generator, HOT_OBJECTS), warmup_rounds=10)


@pytest.mark.benchmark(group=lines.GET_ALL_IN_USE)
def test_get_all_in_use(store: Peer, measure: Measure) -> None:
    """All state of an object of the working set, which a first pass has touched."""
    measure(store.get_all, lambda generator: _names(generator, HOT_OBJECTS), warmup_rounds=10)


@pytest.mark.benchmark(group=lines.STATE_KEYS_IN_USE)
def test_state_keys_in_use(store: Peer, measure: Measure) -> None:
    """Names of the entries of an object of the working set."""
    measure(store.state_keys, lambda generator: _names(generator, HOT_OBJECTS), warmup_rounds=10)


@pytest.mark.benchmark(group=lines.GET_UNREAD)
def test_get_unread(reopen_compacted: Reopening, measure: Measure) -> None:
    """One entry of an object; no object is read twice."""

    def call(generator: random.Random, number: int) -> Call:
        return SERVICE, object_key(number), _entry_name(generator)

    measure.unread(reopen_compacted, "get", call)


@pytest.mark.parametrize("peer_name", [peers.KVENGINE], indirect=True)
@pytest.mark.benchmark(group=lines.GET_UNREAD_MAPPED)
def test_get_unread_mapped(reopen_mapped: Reopening, measure: Measure) -> None:
    """The same, with segments mapped to memory."""

    def call(generator: random.Random, number: int) -> Call:
        return SERVICE, object_key(number), _entry_name(generator)

    measure.unread(reopen_mapped, "get", call)


@pytest.mark.benchmark(group=lines.GET_ALL_UNREAD)
def test_get_all_unread(reopen_compacted: Reopening, measure: Measure) -> None:
    """All state of an object; no object is read twice."""
    measure.unread(
        reopen_compacted, "get_all", lambda _generator, number: (SERVICE, object_key(number))
    )


@pytest.mark.benchmark(group=lines.GET_MISSING_OBJECT)
def test_get_missing_object(reopen_compacted: Reopening, measure: Measure) -> None:
    """An entry of an object that does not exist, with a key that lies among those that do."""

    def call(generator: random.Random, number: int) -> Call:
        return SERVICE, f"{object_key(number)}-none", _entry_name(generator)

    measure.unread(reopen_compacted, "get", call)


@pytest.mark.benchmark(group=lines.GET_MISSING_KEY)
def test_get_missing_key(reopen_compacted: Reopening, measure: Measure) -> None:
    """An absent entry, with a name that lies among those that exist, of an object that exists."""

    def call(generator: random.Random, number: int) -> Call:
        return SERVICE, object_key(number), f"{_entry_name(generator)}-none"

    measure.unread(reopen_compacted, "get", call)


@pytest.mark.benchmark(group=lines.SCAN_COMPACTED)
def test_scan_compacted(compacted_store: Peer, measure: Measure) -> None:
    """All names and values, in order."""
    _scan(compacted_store, measure)


@pytest.mark.benchmark(group=lines.SCAN_LOADED)
def test_scan_loaded(fresh_store: Peer, measure: Measure) -> None:
    """The same, by the store that has just loaded them."""
    _scan(fresh_store, measure)


def _scan(store: Peer, measure: Measure) -> None:
    measure.whole(
        store.scan,
        operations=OBJECTS * len(STATE_KEYS),
        loop=lambda: store.scan_loop(OBJECTS),
        rounds=7,
    )


def _values(generator: random.Random) -> list[Call]:
    size = workload.VALUE_SIZE
    return [(*names, generator.randbytes(size)) for names in _entry_names(generator, OBJECTS)]


@pytest.mark.benchmark(group=lines.SET)
def test_set(store: Peer, measure: Measure) -> None:
    """A new value for an entry of any object."""
    measure(store.set, _values)


@pytest.mark.benchmark(group=lines.COMMIT_OF_3)
def test_commit_of_3(store: Peer, measure: Measure) -> None:
    """New values for three entries of any object."""
    measure(store.commit, lambda generator: _entries(generator, 3))


@pytest.mark.benchmark(group=lines.COMMIT_OF_10)
def test_commit_of_10(store: Peer, measure: Measure) -> None:
    """New values for all ten entries of any object."""
    measure(store.commit, lambda generator: _entries(generator, 10))


@pytest.mark.benchmark(group=lines.COMMIT_SYNCED)
def test_commit_synced(
    durable_store: Peer, bare_sync: Callable[[], None], measure: Measure
) -> None:
    """Three entries, on the disk when it returns; one thread, so no syncs are shared."""
    measure(
        durable_store.commit,
        lambda generator: _entries(generator, 3, 10),
        rounds=40,
        warmup_rounds=STEADY_ROUNDS,
        floor=bare_sync,
    )


@pytest.mark.benchmark(group=lines.COMMIT_THREADS)
def test_commit_threads(durable_store: Peer, measure: Measure) -> None:
    """The synced commit, by many threads at once."""
    measure.threads(durable_store.commit_shared, lambda generator: _entries(generator, 3, 25))


@pytest.mark.parametrize("peer_name", [peers.KVENGINE], indirect=True)
@pytest.mark.benchmark(group=lines.COMMIT_TASKS)
def test_commit_tasks(durable_tasks: KvengineTasks, measure: Measure) -> None:
    """The synced commit, by many tasks of one event loop."""
    measure.tasks(durable_tasks.commit, lambda generator: _entries(generator, 3, 20))


@pytest.mark.parametrize("peer_name", peers.asked()[1:], indirect=True)
@pytest.mark.benchmark(group=lines.COMMIT_TASKS)
def test_commit_tasks_peers(durable_store: Peer, measure: Measure) -> None:
    """What stands beside it: peers have no tasks, but threads."""
    measure.threads(durable_store.commit_shared, lambda generator: _entries(generator, 3, 25))


@pytest.mark.benchmark(group=lines.CLEAR_ALL)
def test_clear_all(store: Peer, measure: Measure) -> None:
    """Each call clears another object, none twice."""
    numbers = iter(workload.load_order(OBJECTS))
    a_round = OBJECTS // 100

    def calls(_generator: random.Random) -> list[Call]:
        return [(SERVICE, object_key(next(numbers))) for _ in range(a_round)]

    measure(store.clear_all, calls)


@pytest.mark.benchmark(group=lines.CLEAR_ALL_LARGE)
def test_clear_all_large(store: Peer, measure: Measure) -> None:
    """Each round clears one object, just written: a single call, with cold processor caches."""
    numbers = count()

    def calls(_generator: random.Random) -> list[Call]:
        service, key, entries = workload.large_object(next(numbers))
        store.load_object(service, key, entries)
        store.settle()
        return [(service, key)]

    measure(store.clear_all, calls, rounds=5)


@pytest.mark.benchmark(group="load one object (10 keys)")
def test_load(empty_store: Peer, measure: Measure) -> None:
    """The whole load from an empty directory, 500 objects a round."""
    source = workload.objects(OBJECTS)

    def batch(_generator: random.Random) -> list[Call]:
        return [next(source) for _ in range(500)]

    measure(empty_store.load_object, batch, rounds=OBJECTS // 500)


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

    measure.once(open_store, rounds=5, setup=setup, teardown=close)


@pytest.mark.parametrize("peer_name", [peers.KVENGINE], indirect=True)
class TestSomeExpire:
    """Lines that one object in a hundred with an expiry may make dearer. No peer has the like."""

    @pytest.mark.benchmark(group=lines.GET_IN_USE + lines.SOME_EXPIRE)
    def test_get_in_use(self, expiring_store: Peer, measure: Measure) -> None:
        """Entries of the working set."""
        measure(
            expiring_store.get,
            lambda generator: _entry_names(generator, HOT_OBJECTS),
            warmup_rounds=10,
        )

    @pytest.mark.benchmark(group=lines.GET_UNREAD + lines.SOME_EXPIRE)
    def test_get_unread(self, reopen_expiring: Reopening, measure: Measure) -> None:
        """One entry of an object; no object is read twice."""

        def call(generator: random.Random, number: int) -> Call:
            return SERVICE, object_key(number), _entry_name(generator)

        measure.unread(reopen_expiring, "get", call)

    @pytest.mark.benchmark(group=lines.SET + lines.SOME_EXPIRE)
    def test_set(self, expiring_store: Peer, measure: Measure) -> None:
        """A new value for an entry of any object."""
        measure(expiring_store.set, _values)

    @pytest.mark.benchmark(group=lines.COMMIT_OF_3 + lines.SOME_EXPIRE)
    def test_commit_of_3(self, expiring_store: Peer, measure: Measure) -> None:
        """New values for three entries of any object."""
        measure(expiring_store.commit, lambda generator: _entries(generator, 3))

    @pytest.mark.benchmark(group=lines.COMMIT_OF_10 + lines.SOME_EXPIRE)
    def test_commit_of_10(self, expiring_store: Peer, measure: Measure) -> None:
        """New values for all ten entries of any object."""
        measure(expiring_store.commit, lambda generator: _entries(generator, 10))
