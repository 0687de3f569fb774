"""Line 16: opening what line 14 left, closed cleanly; and after kill -9, with a log to replay.

Files are in the page cache. Rounds come by turns: every store opens once in each. After kill -9
each round has a copy of the directory, and the last commit must be there. To have 64 MB of data in
the log alone, all stores have a write buffer of twice that here. SQLite and LMDB copy their commits
to the data while they write, so these have next to nothing to replay.
"""

from __future__ import annotations

import os
import signal
import time
from collections import defaultdict
from pathlib import Path

from benchmarks import directories, lines, peers, workload
from benchmarks.full import load
from benchmarks.full.record import SPAWN, Place, Record, apart, record
from benchmarks.full.sizes import Sizes
from benchmarks.peers.base import OURS, Memory
from benchmarks.workload import SERVICE, STATE_KEYS, object_key

Samples = dict[str, list[float]]


def run(place: Place, sizes: Sizes) -> list[Record]:
    """Return the times to open in both states."""
    return [*_clean(place, sizes), *_killed(place, sizes)]


def _clean(place: Place, sizes: Sizes) -> list[Record]:
    sources = {name: str(place.scratch / f"load-{name}") for name in place.names}
    sources = {name: source for name, source in sources.items() if Path(source).exists()}
    if not sources:
        place.say("  SKIPPED: opening what line 14 left, which did not run")
        return []
    last = object_key(workload.load_order(sizes.entries // len(STATE_KEYS))[-1])
    samples = apart(open_in_turns, sources, OURS, sizes.opens, last, False)
    for name in sources:
        place.drop(f"load-{name}")
    return [record(lines.OPEN_CLEAN, name, samples[name]) for name in sources]


def _killed(place: Place, sizes: Sizes) -> list[Record]:
    count = sizes.wal_bytes // workload.data_bytes(1)
    memory = Memory(OURS.cache, 2 * sizes.wal_bytes)
    sources = {name: place.new(f"killed-{name}") for name in place.names}
    for name, source in sources.items():
        writer = SPAWN.Process(target=write_and_die, args=(name, source, memory, count))
        writer.start()
        writer.join()
        if writer.exitcode != -signal.SIGKILL:
            raise RuntimeError(f"{name}: the writer ended with {writer.exitcode}")
    last = object_key(workload.load_order(count)[-1])
    samples = apart(open_in_turns, sources, memory, sizes.opens, last, True)
    for name in sources:
        place.drop(f"killed-{name}")
    note = f"{workload.data_bytes(count) / 1e6:.1f} MB of names and values; {memory}"
    return [record(lines.OPEN_KILLED, name, samples[name], note=note) for name in sources]


def write_and_die(name: str, directory: str, memory: Memory, count: int) -> None:
    """Commit so many objects, each on its own, and kill this process."""
    store = peers.find(name)(directory, False, memory)
    for arguments in load.objects(count):
        store.load_object(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)


def open_in_turns(
    sources: dict[str, str], memory: Memory, rounds: int, key: str, copied: bool
) -> Samples:
    """Return seconds for each store and round; the object of that key must be there.

    A first round is not counted.
    """
    samples: Samples = defaultdict(list)
    for turn in range(rounds + 1):
        for name, source in sources.items():
            directory = source
            if copied:
                directory = f"{source}-{turn}"
                directories.copy(source, directory)
            start = time.perf_counter()
            store = peers.find(name)(directory, False, memory)
            seconds = time.perf_counter() - start
            if list(store.get_all(SERVICE, key)) != list(STATE_KEYS):
                raise AssertionError(f"{name} has lost a commit")
            store.settle()
            store.close()
            if copied:
                directories.remove(directory)
            if turn:
                samples[name].append(seconds)
    return dict(samples)
