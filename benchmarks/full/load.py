"""Lines 14, 18 and the half of 16: a load in random order until nothing is left to compact.

Each store loads in a process of its own, one after another. A commit writes one object of ten
entries and reaches the operating system; nothing is synced. The clock stops when no flush or
compaction runs or is due: memtables may still be full, as in every store of this kind. What the
loop took that makes names and values is subtracted. A fifth of it is also loaded with write buffers
of the size that RocksDB has by default.

Bytes written are those that the process passed to write calls (`wchar` of /proc/self/io): the log,
flushes and compactions. LMDB writes through its map, which that does not count.
"""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks import directories, lines, peers, workload
from benchmarks.full.record import Place, Record, apart, record
from benchmarks.full.sizes import Sizes
from benchmarks.peers.base import OURS, Entries, Memory
from benchmarks.workload import SERVICE, STATE_KEYS, VALUE_SIZE, object_key

CHECK_OBJECTS = 1_000  # after so many the clock is asked whether patience is at its end
WRITES_BY_MAP = ("LMDB",)
COMPACTING = (peers.KVENGINE, "LevelDB", "RocksDB")


AMPLE_BUFFER = Memory(OURS.cache, 64 << 20)  # what RocksDB has by default
AMPLE_PART = 5  # the whole by what is loaded with it
AMPLE_LINE = f"load of 1 / {AMPLE_PART} of it with write buffers of 64 MiB, per entry"


class Load(NamedTuple):
    """What one load took: times in seconds, sizes in bytes."""

    seconds: float
    loop: float
    objects: int
    written: int
    files: int


def objects(count: int) -> Iterator[tuple[str, str, Entries]]:
    """The data of `workload.objects` in kind and order, made in a third of the time."""
    pool = random.Random(2).randbytes(1 << 20)
    places = [(name, at * VALUE_SIZE) for at, name in enumerate(STATE_KEYS)]
    last = len(pool) - len(STATE_KEYS) * VALUE_SIZE
    for number in workload.load_order(count):
        start = number * 7_919 % last
        yield (
            SERVICE,
            object_key(number),
            {name: pool[start + at : start + at + VALUE_SIZE] for name, at in places},
        )


def measure(name: str, directory: str, count: int, memory: Memory, patience: float) -> Load:
    """Load so many objects into an empty directory, or as many as patience allows."""
    start = time.perf_counter()
    for _arguments in objects(count):
        pass
    loop = time.perf_counter() - start
    store = peers.find(name)(directory, False, memory)
    written = _bytes_written()
    loaded = 0
    start = time.perf_counter()
    for arguments in objects(count):
        store.load_object(*arguments)
        loaded += 1
        if loaded % CHECK_OBJECTS == 0 and time.perf_counter() - start > patience:
            break
    quiet = store.settle()
    seconds = time.perf_counter() - start - quiet
    written = _bytes_written() - written
    files = directories.disk_use(directory)
    store.close()
    return Load(seconds, loop, loaded, written, files)


def _bytes_written() -> int:
    with open("/proc/self/io", encoding="ascii") as file:
        figures = dict(line.split(": ") for line in file)
    return int(figures["wchar"])


def run(place: Place, sizes: Sizes) -> list[Record]:
    """Load every store; leave the directories of those that got to the end for line 16."""
    records = []
    count = sizes.entries // len(STATE_KEYS)
    data = workload.data_bytes(count)
    note = f"{count * len(STATE_KEYS):,} entries, {data / 1e6:,.0f} MB of names and values"
    for name in place.names:
        directory = place.new(f"load-{name}")
        patience = math.inf if name == peers.KVENGINE else sizes.patience
        found = _apart(place, name, directory, count, OURS, patience)
        if found.objects < count:
            part = found.objects / count
            place.say(f"  SKIPPED: {name} is given up with {part:.0%} loaded")
            place.drop(f"load-{name}")
            note += f"; {name} was given up after {sizes.patience:.0f} s with {part:.0%} loaded"
            continue
        entries = count * len(STATE_KEYS)
        records.append(
            record(lines.LOAD, name, [found.seconds], operations=entries, loops=[found.loop])
        )
        if name not in WRITES_BY_MAP:
            records.append(record(lines.WRITTEN, name, [found.written / data]))
        records.append(record(lines.SPACE, name, [found.files / data]))
    records[0]["extra_info"]["note"] = f"{note}; one run of each store"
    count //= AMPLE_PART
    for name in place.names:
        if name in COMPACTING:
            found = _apart(place, name, place.new("ample"), count, AMPLE_BUFFER, math.inf)
            operations = count * len(STATE_KEYS)
            line, loops = AMPLE_LINE, [found.loop]
            records.append(record(line, name, [found.seconds], operations=operations, loops=loops))
    place.drop("ample")
    return records


def _apart(place: Place, *arguments: Any) -> Load:
    found = apart(measure, *arguments)
    os.sync()  # what is not on the disk yet must not slow down the next
    place.say(f"  {arguments[0]}: {found}")
    return found
