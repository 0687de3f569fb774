"""Fixtures: a loaded directory per store, opened afresh for each benchmark, and `measure`."""

from __future__ import annotations

import os
import random
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import directories, peers, workload
from benchmarks.peers.base import Peer

SETTLE_SECONDS = 0.3  # what a store does in the background after its open is not measured

Call = tuple[Any, ...]
Loaded = Callable[[str], str]
Objects = Callable[[int], Iterator[Call]]


class Measure:
    """Times rounds of calls; a benchmark's figure is that of a round by `operations`.

    The calls of a round, their names and values included, are made before its clock starts.
    """

    def __init__(self, benchmark: Any, name: str) -> None:
        self._benchmark = benchmark
        self._generator = random.Random(4)
        peer = peers.find(name)
        benchmark.extra_info.update(
            peer=name, version=peer.version(), settings=peer.settings(), operations=1
        )

    def __call__(
        self,
        operation: Callable[..., object],
        make_calls: Callable[[random.Random], list[Call]],
        *,
        rounds: int = 30,
        warmup_rounds: int = 0,
    ) -> None:
        """Time `operation` on `rounds` lists of arguments, each list of the same length."""

        def setup() -> tuple[tuple[Any, ...], dict[str, Any]]:
            calls = make_calls(self._generator)
            self._benchmark.extra_info["operations"] = len(calls)
            return (operation, calls), {}

        self._benchmark.pedantic(
            _run, setup=setup, rounds=rounds, warmup_rounds=warmup_rounds, iterations=1
        )

    def beside(
        self,
        operation: Callable[..., object],
        base: Callable[..., object],
        make_calls: Callable[[random.Random], list[Call]],
        *,
        rounds: int = 60,
    ) -> None:
        """Time `operation` and, by turns, the `base` that it stands on: one ratio, not two."""
        clock = self._benchmark._timer  # what --benchmark-timer says
        extra = self._benchmark.extra_info
        samples: list[float] = []

        def setup() -> tuple[tuple[Any, ...], dict[str, Any]]:
            calls = make_calls(self._generator)
            start = clock()
            _run(base, calls)
            samples.append(clock() - start)
            extra["operations"] = len(calls)
            return (operation, make_calls(self._generator)), {}

        self._benchmark.pedantic(_run, setup=setup, rounds=rounds, warmup_rounds=10, iterations=1)
        extra["base"] = statistics.median(samples[-rounds:]) / extra["operations"] * 1e6

    def whole(self, operation: Callable[..., object], *, operations: int, **options: Any) -> None:
        """Time one call that does `operations` things; options as pytest-benchmark's pedantic."""
        self._benchmark.extra_info["operations"] = operations
        self._benchmark.pedantic(operation, iterations=1, **options)


def _run(operation: Callable[..., object], calls: list[Call]) -> None:
    for arguments in calls:
        operation(*arguments)


@pytest.fixture(params=list(peers.MODULES))
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
    """The directory of a store with all objects, loaded at the first request and closed."""
    return _loader(tmp_path_factory, workload.objects)


@pytest.fixture(scope="session")
def loaded_typed(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """The same, with all typed objects."""
    return _loader(tmp_path_factory, workload.profiles)


def _loader(tmp_path_factory: pytest.TempPathFactory, objects: Objects) -> Loaded:
    directories_by_name: dict[str, str] = {}

    def get(name: str) -> str:
        if name not in directories_by_name:
            directory = str(tmp_path_factory.mktemp(f"loaded-{name}"))
            store = peers.find(name)(directory, False)
            for arguments in objects(workload.object_count()):
                store.load_object(*arguments)
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
def store(peer_name: str, directory: str, loaded: Loaded) -> Iterator[Peer]:
    """All objects, just reopened; a commit reaches the operating system."""
    yield from _opened(peer_name, loaded(peer_name), directory)


@pytest.fixture
def typed_store(peer_name: str, directory: str, loaded_typed: Loaded) -> Iterator[Peer]:
    """All typed objects, just reopened; a commit reaches the operating system."""
    yield from _opened(peer_name, loaded_typed(peer_name), directory)


def _opened(peer_name: str, source: str, directory: str) -> Iterator[Peer]:
    directories.copy(source, directory)
    opened = peers.find(peer_name)(directory, False)
    time.sleep(SETTLE_SECONDS)
    yield opened
    opened.close()


@pytest.fixture
def durable_store(peer_name: str, directory: str, loaded: Loaded) -> Iterator[Peer]:
    """All objects, just reopened; every commit is fsynced."""
    directories.copy(loaded(peer_name), directory)
    opened = peers.find(peer_name)(directory, True)
    os.sync()  # the copy's own pages must not be written beside the commits
    time.sleep(SETTLE_SECONDS)
    yield opened
    opened.close()


@pytest.fixture
def measure(benchmark: Any, peer_name: str) -> Measure:
    """Times operations of one store."""
    return Measure(benchmark, peer_name)
