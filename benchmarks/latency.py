"""`python -m benchmarks.latency`: what compaction at full load does to the tail of latencies.

Measured: a hot get, a commit of 3 keys that reaches the operating system, and one that is synced;
p50, p99 and p99.9 of single calls, by turns without (A) and with compaction (B), A/B/A/B...; the
figures are medians over the turns.

How compaction is kept at full load in B: an entry in every tenth object, over the whole range of
keys, is written anew, so that every segment is overlapped, and a thread then calls `compact()`,
which rewrites the whole database in the background and waits for it. Samples are taken in slices;
a slice counts only if `compact()` was running before it began and after it ended, and a database
that has been compacted is dirtied and compacted again. In A the database has been flushed and
nothing awaits compaction; flushes and compactions that ran in A or B are counted and printed.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import threading
import time
from array import array
from collections.abc import Callable
from typing import Any

import kvengine
from benchmarks import workload
from benchmarks.workload import HOT_OBJECTS, SERVICE, STATE_KEYS, object_key

SLICE_SECONDS = 0.05
QUIET_SECONDS = 1.0
PATIENCE_SECONDS = 120.0  # background work that takes longer than this is reported as an error
LIMITS = {"get, hot": 10.0, "commit, os": 10.0, "commit, sync": 3.0}  # on B / A of p99.9
PERCENTILES = (50.0, 99.0, 99.9)

Operation = Callable[..., object]
Figures = dict[str, dict[bool, list[list[float]]]]  # operation -> compaction? -> turns


def percentiles(samples: array[int]) -> list[float]:
    """The percentiles of nanosecond samples, in microseconds."""
    ordered = sorted(samples)
    return [
        ordered[min(len(ordered) - 1, int(len(ordered) * part / 100))] / 1_000
        for part in PERCENTILES
    ]


def sample(
    operation: Operation,
    prepare: Callable[[], Any],
    samples: array[int],
    seconds: float = SLICE_SECONDS,
) -> None:
    """Append the durations of single calls for one slice; `prepare` is outside the clock."""
    clock = time.perf_counter_ns
    end = clock() + int(seconds * 1e9)
    now = 0
    while now < end:
        argument = prepare()
        start = clock()
        operation(*argument)
        now = clock()
        samples.append(now - start)


class Compaction:
    """Runs `compact()` in a thread again and again, each time over a database made dirty."""

    def __init__(self, store: Any, objects: int, pause: float = SLICE_SECONDS) -> None:
        self._store = store
        self._objects = objects
        self._pause = pause
        self._offset = 0
        self._thread: threading.Thread | None = None
        self.error: BaseException | None = None

    def running(self) -> bool:
        """Is a `compact()` under way at this moment."""
        return self._thread is not None and self._thread.is_alive()

    def ensure(self) -> None:
        """Return with a `compact()` under way."""
        if self.error is not None:
            raise self.error
        if not self.running():
            self._dirty()
            self._thread = threading.Thread(target=self._compact, daemon=True)
            self._thread.start()
            time.sleep(self._pause)  # until the work has reached the background

    def finish(self) -> None:
        """Wait until the `compact()` under way has returned."""
        if self._thread is not None:
            self._thread.join()

    def _dirty(self) -> None:
        value = random.randbytes(workload.VALUE_SIZE)
        for number in range(self._offset, self._objects, 10):
            self._store.set(SERVICE, object_key(number), STATE_KEYS[0], value)
        self._offset = (self._offset + 1) % 10

    def _compact(self) -> None:
        try:
            self._store.compact()
        except BaseException as error:  # handed to the measuring thread
            self.error = error


class Turns:
    """Takes the samples of all operations, with or without compaction."""

    def __init__(self, store: Any, objects: int, wanted: dict[str, int]) -> None:
        self._store = store
        self._wanted = wanted
        self._generator = random.Random(5)
        self._objects = objects
        self._compaction = Compaction(store, objects)
        self.figures: Figures = {name: {False: [], True: []} for name in wanted}
        self.background = {False: 0, True: 0}  # flushes and compactions that finished meanwhile

    def turn(self, compaction: bool) -> None:
        """One A or one B."""
        self._compaction.finish()
        wait_until_quiet(self._store)
        before = finished_work(self._store)
        for name, wanted in self._wanted.items():
            samples = self._collect(self._operation(name), compaction, wanted)
            self.figures[name][compaction].append(percentiles(samples))
        self._compaction.finish()
        self.background[compaction] += finished_work(self._store) - before

    def _collect(
        self, operation: tuple[Operation, Callable[[], Any]], compaction: bool, wanted: int
    ) -> array[int]:
        samples = array("q")
        call, prepare = operation
        while len(samples) < wanted:
            if compaction:
                self._compaction.ensure()
            taken = array("q")
            sample(call, prepare, taken)
            if not compaction or self._compaction.running():
                samples.extend(taken)
        return samples

    def _operation(self, name: str) -> tuple[Operation, Callable[[], Any]]:
        if name == "get, hot":
            for number in range(HOT_OBJECTS):
                self._store.get(SERVICE, object_key(number), STATE_KEYS[0])
            return self._store.get, self._hot_entry
        durability = name.removeprefix("commit, ")

        def commit(entries: list[tuple[str, str, str, bytes]]) -> None:
            batch = self._store.batch()
            for entry in entries:
                batch.set(*entry)
            self._store.write(batch, durability=durability)

        return commit, self._three_entries

    def _hot_entry(self) -> tuple[str, str, str]:
        generator = self._generator
        return SERVICE, object_key(generator.randrange(HOT_OBJECTS)), generator.choice(STATE_KEYS)

    def _three_entries(self) -> tuple[list[tuple[str, str, str, bytes]]]:
        generator = self._generator
        key = object_key(generator.randrange(self._objects))
        size = workload.VALUE_SIZE
        names = generator.sample(STATE_KEYS, 3)
        return ([(SERVICE, key, name, generator.randbytes(size)) for name in names],)


def finished_work(store: Any) -> int:
    """Flushes and compactions since the store was opened."""
    stats = store.stats()
    return int(stats.flushes + stats.compactions)


def wait_until_quiet(store: Any) -> None:
    """Flush, and wait until no background work is due or running."""
    store.flush()
    begin = since = time.monotonic()
    last = -1
    while time.monotonic() - since < QUIET_SECONDS:
        work = finished_work(store)
        if work != last or store.stats().pending_compaction:
            last, since = work, time.monotonic()
        if time.monotonic() - begin > PATIENCE_SECONDS:
            raise TimeoutError(f"background work does not end: {store.stats()}")
        time.sleep(QUIET_SECONDS / 10)


def report(figures: Figures) -> tuple[list[str], bool]:
    """The table (medians over the turns, microseconds), and whether all limits are kept."""
    lines = [
        f"{'microseconds per call':<26}{'p50':>10}{'p99':>10}{'p99.9':>10}"
        f"{'p99.9 ratio':>14}{'limit':>8}"
    ]
    kept = True
    for name, sides in figures.items():
        medians = {
            side: [statistics.median(column) for column in zip(*sides[side], strict=True)]
            for side in sides
        }
        ratio = medians[True][-1] / medians[False][-1]
        kept = kept and ratio <= LIMITS[name]
        for side, label in ((False, ""), (True, ", compacting")):
            cells = "".join(f"{cell:>10.1f}" for cell in medians[side])
            tail = f"{ratio:>14.1f}{LIMITS[name]:>8.0f}" if side else ""
            lines.append(f"{name + label:<26}{cells}{tail}")
    return lines, kept


def load(store: Any, count: int) -> None:
    """The benchmark's objects, one commit each."""
    for service, key, entries in workload.objects(count):
        with store.batch() as batch:
            for state_key, value in entries.items():
                batch.set(service, key, state_key, value)


def arguments_of_the_command() -> argparse.Namespace:
    """The command line; an error where there is no engine to measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=5, help="turns of A and of B")
    parser.add_argument("--samples", type=int, default=20_000, help="calls a turn; a tenth synced")
    if not hasattr(kvengine, "open"):
        parser.error("kvengine.open is missing: the engine is not there yet")
    return parser.parse_args()


def main() -> int:
    """Exits 1 where a ratio is over its limit."""
    arguments = arguments_of_the_command()
    wanted = dict.fromkeys(LIMITS, arguments.samples)
    wanted["commit, sync"] = arguments.samples // 10
    with (
        tempfile.TemporaryDirectory() as directory,
        kvengine.open(directory, durability="os") as store,
    ):
        load(store, arguments.objects)
        turns = Turns(store, arguments.objects, wanted)
        for compaction in (False, True) * arguments.turns:
            turns.turn(compaction)
        stats = store.stats()
    lines, kept = report(turns.figures)
    print("\n".join(lines))
    print(
        "flushes and compactions that finished: "
        f"{turns.background[False]} in turns without compaction, {turns.background[True]} with; "
        f"stalls of writers: {stats.stalls}, {stats.stall_seconds:.2f} s"
    )
    return 0 if kept else 1


if __name__ == "__main__":
    raise SystemExit(main())
