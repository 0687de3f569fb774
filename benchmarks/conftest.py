"""Fixtures: a loaded directory per store, opened afresh for each benchmark, and `measure`."""

from __future__ import annotations

import os
import random
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from benchmarks import directories, peers, workload
from benchmarks.peers.base import OURS, Memory, Peer
from benchmarks.peers.kvengine_aio import KvengineTasks
from benchmarks.peers.kvengine_peer import MappedPeer
from benchmarks.workload import TASKS, THREADS

APART = 16  # objects, more than 16 KiB: blocks of all stores are smaller
STEADY_ROUNDS = 100  # of 10 synced commits: a log that a store reuses grows no more after them
SETTLE_SECONDS = 0.3  # what a store does in the background after its open is not measured

Call = tuple[Any, ...]
Operation = Callable[..., object]
MakeCalls = Callable[[random.Random], list[Call]]
Loaded = Callable[[str], str]
Objects = Callable[[int], Iterator[Call]]


class Reopening:
    """A store that each call closes and opens anew, so that its own caches are empty."""

    def __init__(self, peer: type[Peer], directory: str) -> None:
        self._peer = peer
        self._directory = directory
        self._store: Peer | None = None

    def __call__(self) -> Peer:
        """Open the store and let it settle."""
        self.close()
        self._store = _settled(self._peer(self._directory, False))
        return self._store

    def close(self) -> None:
        """Close the store if it is open."""
        if self._store is not None:
            self._store.close()
            self._store = None


class Measure:
    """Times rounds of calls; a benchmark's figure is that of a round by `operations`.

    The calls of a round, their names and values included, are made before its clock starts. What
    an empty loop over the same calls takes is measured in each round and noted as `loops`, for the
    report to subtract.
    """

    def __init__(self, benchmark: Any, name: str) -> None:
        self._benchmark = benchmark
        self._clock = benchmark._timer  # what --benchmark-timer says
        self._generator = random.Random(4)
        self._extra = benchmark.extra_info
        peer = peers.find(name)
        self._extra.update(
            peer=name, version=peer.version(), settings=peer.settings(), operations=1
        )

    def __call__(
        self,
        operation: Operation,
        make_calls: MakeCalls,
        *,
        rounds: int = 30,
        warmup_rounds: int = 0,
        floor: Callable[[], object] | None = None,
    ) -> None:
        """Time `operation` on `rounds` lists of arguments, each list of the same length.

        `floor` is what no store can do without; it is timed as many times before each round that
        counts.
        """
        floors: list[float] = []
        turns = count(-warmup_rounds)

        def setup() -> tuple[tuple[Any, ...], dict[str, Any]]:
            calls = make_calls(self._generator)
            if next(turns) >= 0 and floor is not None:
                floors.append(self._time(_run, floor, [()] * len(calls)))
            self._note_loop(_loop, calls, operations=len(calls))
            return (operation, calls), {}

        self._pedantic(_run, setup=setup, rounds=rounds, warmup_rounds=warmup_rounds)
        if floors:
            self._extra["floor"] = self._per_operation(floors)

    def unread(
        self,
        reopen: Reopening,
        operation: str,
        make_call: Callable[[random.Random, int], Call],
        *,
        rounds: int = 16,
    ) -> None:
        """Time a verb on objects of blocks that have not been read since the store was opened.

        The objects are every 16th, so far apart that no two share a block, in random order. The
        first fifth is not measured: it brings in what belongs to whole files, as indexes. When all
        have been used, the store is opened anew and begins with another object.
        """
        generator = self._generator
        parts: list[list[int]] = []
        verb: list[Operation] = []

        def calls_of(numbers: list[int]) -> list[Call]:
            return [make_call(generator, number) for number in numbers]

        def setup() -> tuple[tuple[Any, ...], dict[str, Any]]:
            if not parts:
                verb[:] = [getattr(reopen(), operation)]
                parts.extend(_parts_apart(generator))
                _run(verb[0], calls_of(parts.pop()))
            calls = calls_of(parts.pop())
            self._note_loop(_loop, calls, operations=len(calls))
            return (verb[0], calls), {}

        self._pedantic(_run, setup=setup, rounds=rounds)

    def threads(
        self,
        operation: Operation,
        make_calls: MakeCalls,
        *,
        rounds: int = 5,
        warmup_rounds: int = 1,
    ) -> None:
        """Time `operation` called by THREADS threads at once, each on a list of its own.

        The threads are there and wait before the clock starts; it stops when the last is done.
        """
        barrier = threading.Barrier(THREADS + 1)

        def work(calls: list[Call]) -> None:
            barrier.wait()
            _run(operation, calls)

        def setup() -> tuple[tuple[Any, ...], dict[str, Any]]:
            shares = [make_calls(self._generator) for _ in range(THREADS)]
            self._note_loop(_loop_all, shares, operations=sum(map(len, shares)))
            return ([pool.submit(work, share) for share in shares],), {}

        def run(running: list[Future[None]]) -> None:
            barrier.wait()
            for each in running:
                each.result()

        with ThreadPoolExecutor(THREADS) as pool:
            self._pedantic(run, setup=setup, rounds=rounds, warmup_rounds=warmup_rounds)

    def tasks(
        self,
        commit: Callable[[list[list[Call]]], None],
        make_calls: MakeCalls,
        *,
        rounds: int = 5,
        warmup_rounds: int = 1,
    ) -> None:
        """Time `commit`, which works off the lists of TASKS tasks at once."""

        def setup() -> tuple[tuple[Any, ...], dict[str, Any]]:
            shares = [make_calls(self._generator) for _ in range(TASKS)]
            self._note_loop(_loop_all, shares, operations=sum(map(len, shares)))
            return (shares,), {}

        self._pedantic(commit, setup=setup, rounds=rounds, warmup_rounds=warmup_rounds)

    def beside(
        self,
        operation: Operation,
        base: Operation,
        make_calls: MakeCalls,
        *,
        rounds: int = 60,
    ) -> None:
        """Time `operation` and, by turns, the `base` that it stands on: one ratio, not two."""
        samples: list[float] = []

        def setup() -> tuple[tuple[Any, ...], dict[str, Any]]:
            calls = make_calls(self._generator)
            loop = self._time(_loop, calls)
            samples.append(self._time(_run, base, calls) - loop)
            calls = make_calls(self._generator)
            self._note_loop(_loop, calls, operations=len(calls))
            return (operation, calls), {}

        self._pedantic(_run, setup=setup, rounds=rounds, warmup_rounds=10)
        self._extra["base"] = self._per_operation(samples[-rounds:])

    def whole(
        self,
        operation: Callable[[], object],
        *,
        operations: int,
        loop: Callable[[], object],
        rounds: int,
    ) -> None:
        """Time one call that does `operations` things, and the `loop` in it by itself."""

        def setup() -> None:
            self._note_loop(loop, operations=operations)

        self._pedantic(operation, setup=setup, rounds=rounds)

    def once(self, operation: Operation, **options: Any) -> None:
        """Time single calls; options as those of pytest-benchmark's pedantic."""
        self._pedantic(operation, **options)

    def _note_loop(self, loop: Operation, *arguments: Any, operations: int) -> None:
        self._extra["operations"] = operations
        self._extra.setdefault("loops", []).append(self._time(loop, *arguments))

    def _per_operation(self, samples: list[float]) -> float:
        """Return microseconds."""
        return statistics.median(samples) / self._extra["operations"] * 1e6

    def _time(self, operation: Operation, *arguments: Any) -> float:
        start = self._clock()
        operation(*arguments)
        return float(self._clock() - start)

    def _pedantic(self, operation: Operation, *, rounds: int, **options: Any) -> None:
        self._benchmark.pedantic(operation, iterations=1, rounds=rounds, **options)
        if "loops" in self._extra:
            self._extra["loops"] = self._extra["loops"][-rounds:]  # without the warm-up's


def _run(operation: Operation, calls: list[Call]) -> None:
    for arguments in calls:
        operation(*arguments)


def _loop(calls: list[Call]) -> None:
    for _arguments in calls:
        pass


def _loop_all(shares: list[list[Call]]) -> None:
    for calls in shares:
        _loop(calls)


def _parts_apart(generator: random.Random) -> list[list[int]]:
    """Return five lists of object numbers in random order, no two of them near each other."""
    numbers = list(range(generator.randrange(APART), workload.object_count(), APART))
    generator.shuffle(numbers)
    size = len(numbers) // 5
    return [numbers[part * size : (part + 1) * size] for part in range(5)]


def _settled(store: Peer) -> Peer:
    store.settle()
    time.sleep(SETTLE_SECONDS)
    return store


@pytest.fixture(params=peers.asked())
def peer_name(request: pytest.FixtureRequest) -> str:
    """The name of a store, skipped where it is not installed."""
    name = str(request.param)
    try:
        peers.find(name)
    except peers.Unavailable as reason:
        pytest.skip(str(reason))
    return name


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """The directory of a store with all objects, loaded at the first request, settled, closed."""
    return _loader(tmp_path_factory, workload.objects)


@pytest.fixture(scope="session")
def loaded_typed(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """The same, with all typed objects."""
    return _loader(tmp_path_factory, workload.profiles)


@pytest.fixture(scope="session")
def compacted(tmp_path_factory: pytest.TempPathFactory, loaded: Loaded) -> Loaded:
    """The same as `loaded`, compacted by each store's own call."""
    directories_by_name: dict[str, str] = {}

    def get(name: str) -> str:
        if name not in directories_by_name:
            directory = str(tmp_path_factory.mktemp(f"compacted-{name}") / "store")
            directories.copy(loaded(name), directory)
            store = peers.find(name)(directory, False)
            store.compact()
            store.close()
            directories_by_name[name] = directory
        return directories_by_name[name]

    return get


@pytest.fixture(scope="session")
def loaded_expiring(tmp_path_factory: pytest.TempPathFactory, loaded: Loaded) -> str:
    """The directory of kvengine with all objects, one in a hundred of which expires in a day."""
    directory = str(tmp_path_factory.mktemp("expiring") / "store")
    directories.copy(loaded(peers.KVENGINE), directory)
    store = peers.find(peers.KVENGINE)(directory, False)
    for number in range(0, workload.object_count(), 100):
        store.expire_in_a_day(workload.SERVICE, workload.object_key(number))  # type: ignore[attr-defined]
    store.settle()
    store.close()
    return directory


@pytest.fixture(scope="session")
def compacted_expiring(tmp_path_factory: pytest.TempPathFactory, loaded_expiring: str) -> str:
    """The same, compacted."""
    directory = str(tmp_path_factory.mktemp("compacted-expiring") / "store")
    directories.copy(loaded_expiring, directory)
    store = peers.find(peers.KVENGINE)(directory, False)
    store.compact()
    store.close()
    return directory


def _loader(tmp_path_factory: pytest.TempPathFactory, objects: Objects) -> Loaded:
    directories_by_name: dict[str, str] = {}

    def get(name: str) -> str:
        if name not in directories_by_name:
            directory = str(tmp_path_factory.mktemp(f"loaded-{name}"))
            store = peers.find(name)(directory, False)
            for arguments in objects(workload.object_count()):
                store.load_object(*arguments)
            store.settle()
            store.close()
            directories_by_name[name] = directory
        return directories_by_name[name]

    return get


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[str]:
    """A place that is emptied right after the benchmark, since copies are large."""
    yield str(tmp_path / "store")
    shutil.rmtree(tmp_path)


@pytest.fixture
def empty_store(peer_name: str, directory: str) -> Iterator[Peer]:
    """A new store; a commit reaches the operating system."""
    os.mkdir(directory)
    store = peers.find(peer_name)(directory, False)
    yield store
    store.close()


@pytest.fixture
def fresh_store(empty_store: Peer) -> Peer:
    """All objects, just loaded and not reopened."""
    for arguments in workload.objects(workload.object_count()):
        empty_store.load_object(*arguments)
    return _settled(empty_store)


@pytest.fixture
def store(peer_name: str, directory: str, loaded: Loaded) -> Iterator[Peer]:
    """All objects, just reopened; a commit reaches the operating system."""
    yield from _opened(peer_name, loaded(peer_name), directory)


@pytest.fixture
def expiring_store(directory: str, loaded_expiring: str) -> Iterator[Peer]:
    """All objects in kvengine, one in a hundred of which expires; just reopened."""
    yield from _opened(peers.KVENGINE, loaded_expiring, directory)


@pytest.fixture
def reopen_expiring(directory: str, compacted_expiring: str) -> Iterator[Reopening]:
    """The same, compacted; opened by a call."""
    directories.copy(compacted_expiring, directory)
    reopening = Reopening(peers.find(peers.KVENGINE), directory)
    yield reopening
    reopening.close()


@pytest.fixture
def typed_store(peer_name: str, directory: str, loaded_typed: Loaded) -> Iterator[Peer]:
    """All typed objects, just reopened; a commit reaches the operating system."""
    yield from _opened(peer_name, loaded_typed(peer_name), directory)


@pytest.fixture
def compacted_store(peer_name: str, directory: str, compacted: Loaded) -> Iterator[Peer]:
    """All objects, compacted and just reopened."""
    yield from _opened(peer_name, compacted(peer_name), directory)


@pytest.fixture
def reopen_compacted(peer_name: str, directory: str, compacted: Loaded) -> Iterator[Reopening]:
    """All objects, compacted; opened by a call."""
    directories.copy(compacted(peer_name), directory)
    reopening = Reopening(peers.find(peer_name), directory)
    yield reopening
    reopening.close()


@pytest.fixture
def small_cache(peer_name: str, directory: str, compacted: Loaded) -> Iterator[Peer]:
    """All objects, compacted; caches hold a tenth of them, but the page cache has no limit."""
    yield from _opened_small(peers.find(peer_name), compacted(peer_name), directory)


@pytest.fixture
def small_cache_mapped(directory: str, compacted: Loaded) -> Iterator[Peer]:
    """The same, with segments mapped to memory."""
    yield from _opened_small(MappedPeer, compacted(peers.KVENGINE), directory)


@pytest.fixture
def reopen_mapped(directory: str, compacted: Loaded) -> Iterator[Reopening]:
    """All objects, compacted; opened by a call, with segments mapped to memory."""
    directories.copy(compacted(peers.KVENGINE), directory)
    reopening = Reopening(MappedPeer, directory)
    yield reopening
    reopening.close()


def _opened_small(peer: type[Peer], source: str, directory: str) -> Iterator[Peer]:
    directories.copy(source, directory)
    cache = workload.data_bytes(workload.object_count()) // 10
    opened = _settled(peer(directory, False, Memory(cache, OURS.write_buffer)))
    yield opened
    opened.close()


def _opened(peer_name: str, source: str, directory: str) -> Iterator[Peer]:
    directories.copy(source, directory)
    opened = _settled(peers.find(peer_name)(directory, False))
    yield opened
    opened.close()


@pytest.fixture
def durable_store(peer_name: str, directory: str, loaded: Loaded) -> Iterator[Peer]:
    """All objects, just reopened; every commit is synced."""
    directories.copy(loaded(peer_name), directory)
    try:
        opened = peers.find(peer_name)(directory, True)
    except NotImplementedError as reason:
        pytest.skip(str(reason))
    os.sync()  # the copy's own pages must not be written beside the commits
    yield _settled(opened)
    opened.close()


@pytest.fixture
def bare_sync(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """What the disk asks for a commit of 3 keys: a pwrite into space written ahead, fdatasync."""
    descriptor = os.open(tmp_path / "bare", os.O_CREAT | os.O_WRONLY)
    os.write(descriptor, bytes(1 << 20))
    os.fsync(descriptor)
    record = os.urandom(420)
    offsets = count(0, len(record))

    def write() -> None:
        os.pwrite(descriptor, record, next(offsets))
        os.fdatasync(descriptor)

    yield write
    os.close(descriptor)


@pytest.fixture
def durable_tasks(directory: str, loaded: Loaded) -> Iterator[KvengineTasks]:
    """All objects in kvengine, opened on an event loop; every commit is synced."""
    directories.copy(loaded(peers.KVENGINE), directory)
    opened = KvengineTasks(directory)
    os.sync()
    time.sleep(SETTLE_SECONDS)
    yield opened
    opened.close()


@pytest.fixture
def measure(benchmark: Any, peer_name: str) -> Measure:
    """Times operations of one store."""
    return Measure(benchmark, peer_name)
