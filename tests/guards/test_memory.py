"""What lies in memory is what the budgets say: counted object by object, and by `tracemalloc`."""

from __future__ import annotations

import gc
import os
import random
import sys
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

import kvengine
from kvengine import compiled
from kvengine.storage.frames import Frame
from kvengine.storage.memtable import FRESH_ROWS, Memtable
from kvengine.storage.resolved import Resolved
from kvengine.storage.segment.reader import SegmentReader
from kvengine.storage.state import State
from tests.guards.counting import allocated, frames

Open = Callable[..., kvengine.Engine]
size = sys.getsizeof

MIB = 1 << 20


def sizes(found: Iterable[object]) -> int:
    return sum(map(size, found))


def segments(db: kvengine.Engine) -> list[SegmentReader]:
    return list(db._db.view.version)


# --- memtables

PER_OBJECT = 320
"""Bytes that an object in a memtable takes beside its names and its rows."""
PER_STATE = 130
"""Bytes that a row in a memtable takes beside its own; half of it compiled."""


def grown(call: Callable[[], object]) -> int:
    """Return by how many bytes memory is larger after a call."""
    gc.collect()
    tracemalloc.start()
    try:
        call()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("objects", [1, 100, 5000])
def test_a_memtable_takes_what_its_rows_take(tmp_path: Path, objects: int) -> None:
    """5,000 commits: the rows, and a fixed number of bytes for each object, not for each commit."""
    with kvengine.open(tmp_path / "s", background="none", durability="os") as db:
        memtable = db._db.view.active

        def write() -> None:
            for number in range(5000):
                db.set("S", f"{number % objects:06d}", "k", b"%100d" % number)

        used = grown(write)
        assert len(memtable) == objects
        rows = sum(sizes(state.rows) for state in memtable.states.values())
        assert rows <= objects * 160 * (FRESH_ROWS + 2)
        # Each row has a state.
        states = sum(len(state.rows) for state in memtable.states.values())
        assert used <= rows + objects * PER_OBJECT + states * PER_STATE + 40_000

        def walk() -> None:
            assert len(list(db.object_keys("S"))) == objects

        # The order of names refers to the same names.
        assert grown(walk) <= objects * 24 + 20_000


def test_a_memtable_is_frozen_at_its_size(opened: Open) -> None:
    """No more than `memtable_size` is in the log of a memtable, and one commit."""
    db = opened(memtable_size=100_000)
    ends = []
    for number in range(3000):
        db.set("S", f"{number:06d}", "k", b"v" * 100)
        wal = db._db.wal
        assert wal is not None
        ends.append(wal.end)
    assert max(ends) <= 100_000 + 200
    assert db.stats().flushes >= 4
    assert len(db._db.view.frozen) == 0


# --- frames


def weight(frame: Frame) -> int:
    """Return the bytes of a frame, of all objects in it."""
    total = size(frame) + size(frame.offset) + size(frame.size)
    kept = frame.block
    if isinstance(kept, bytes):
        return total + size(kept)
    total += sizes((kept, kept.data, kept.count))
    if hasattr(kept, "slots"):  # in plain form: compiled, they are read where they lie
        total += size(kept.slots)
    if kept._names is not None:
        total += size(kept._names) + sizes(kept._names)
    if frame.head is not None:
        chunks = frame.head.chunks or []
        total += sizes((frame.head, frame.head.version, frame.head.entries, chunks))
        total += sum(sizes((c, c.first, c.offset, c.length, c.entries)) for c in chunks)
    return total


@pytest.mark.parametrize("value", [0, 300])
def test_frames_keep_their_budget(opened: Open, value: int) -> None:
    """After gets, walks and reads of a large object all frames together are within the budget,
    whatever they have come to hold meanwhile; and the budget is used."""
    db = opened(cache_size=2 * MIB)
    for part in range(20):
        with db.batch() as batch:
            for number in range(part * 1000, part * 1000 + 1000):
                batch.set("S", f"{number:06d}", "k", b"v" * value)
    with db.batch() as batch:
        for number in range(20_000):
            batch.set("S", "large", f"k{number:06d}", b"v" * 50)
    db.flush()
    for number in random.Random(1).sample(range(20_000), 4000):
        db.get("S", f"{number:06d}", "k")
    for number in range(0, 20_000, 500):
        assert db.get("S", "large", f"k{number:06d}")
    for number in range(0, 20_000, 50):
        next(db.object_keys("S", start=f"{number:06d}", limit=1))
    assert sum(1 for _ in db.scan("S")) == 20_001
    assert len(list(db.object_keys("S"))) == 20_001
    budget = db._db.frames
    kept = [frame for segment in segments(db) for frame in segment.frames.values()]
    assert budget.bytes == sum(frame.size for frame in kept) <= budget.capacity
    lists = size(budget._queue) + len(kept) * (56 + 100)  # a pair and a place in a dict for each
    assert sum(map(weight, kept)) + lists <= budget.bytes
    assert sum(map(weight, kept)) >= budget.bytes * 0.7
    assert len(kept) > 20


def test_forgotten_segments_give_their_frames_back(opened: Open) -> None:
    """Once a compaction has replaced a segment, none of its blocks is kept."""
    db = opened()
    for number in range(2000):
        db.set("S", f"{number:06d}", "k", b"v" * 100)
    db.flush()
    for number in range(0, 2000, 10):
        db.get("S", f"{number:06d}", "k")
    assert db._db.frames.bytes > 0
    db.set("S", "000000", "k", b"w")
    db.compact()
    assert db._db.frames.bytes == len(db._db.frames) == 0


# --- the memo


def footprint(name: tuple[str, str], found: Resolved) -> int:
    """Return the bytes of an object in the memo, of all that is in it."""
    total = sizes((name, name[1], found, found.version, found.entries, 1 << 20))
    return total + sum(size(key) + size(value) for key, value in found.entries.items())


@pytest.mark.parametrize(("entries", "value"), [(1, 20), (10, 100), (60, 5)])
def test_the_memo_keeps_its_budget(opened: Open, entries: int, value: int) -> None:
    """All objects in it together are within the budget, in bytes; and the budget is used."""
    db = opened(cache_size=MIB)
    memo = db._db.memo
    for number in range(3000):
        with db.batch() as batch:
            for entry in range(entries):
                batch.set("S", f"{number:06d}", f"state-key-{entry:04d}", b"v" * value)
        db.get_all("S", f"{number:06d}")
        db.get_all("S", f"{number:06d}")
        db.set("S", f"{number:06d}", "state-key-0000", b"w" * value)
    assert memo.bytes == sum(found.size for found in memo.known.values()) <= memo.capacity
    used = sum(footprint(name, found) for name, found in memo.known.items())
    used += size(memo.known)
    assert 0.6 * memo.capacity <= used <= 1.15 * memo.capacity


def test_reads_that_are_counted_keep_no_names(opened: Open) -> None:
    """Who reads objects with long names once leaves none of them in memory."""
    db = opened()
    key = "k" * 50_000

    def read() -> None:
        for number in range(100):
            assert db.get("S", f"{number}{key}", "k") is None

    assert grown(read) <= 30_000


# --- segments


def test_filter_and_index_take_few_bytes_an_object(opened: Open) -> None:
    """What a segment holds in memory for objects of ten entries: at most 36 bytes each.

    In plain Python 47, since the index is made of objects.
    """
    db = opened()
    objects = 3000
    for number in range(objects):
        with db.batch() as batch:
            for entry in range(10):
                name = f"state-key-number-{entry:03d}"
                batch.set("Orders", f"order-{number:014d}", name, b"v" * 100)
    db.flush()
    (segment,) = segments(db)
    total = size(segment._filter._words) + size(segment._index)
    assert total <= (36 if compiled.form == "compiled" else 47) * objects


# --- snapshots


def chain(memtable: Memtable, key: str) -> int:
    """Return how many states of an object are linked."""
    state: State | None = memtable.states.get(("S", key))
    length = 0
    while state is not None:
        state, length = state.prev, length + 1
    return length


def test_ten_thousand_snapshots_cost_commits_nothing(opened: Open) -> None:
    """Each of another stamp, all open: a commit runs the same functions, and no chain grows."""
    db = opened()
    db.set("S", "a", "k", b"v")
    alone = len(frames(lambda: db.set("S", "a", "k", b"v")))
    snapshots = []
    for number in range(10_000):
        db.set("S", f"other{number % 100}", "k", b"v")
        snapshots.append(db.snapshot())
    try:
        memtable = db._db.view.active
        for _ in range(100):
            db.set("S", "a", "k", b"w")
        assert chain(memtable, "a") <= 2
        state = memtable.states["S", "a"]
        assert len(state.rows) <= 10
        assert max(len(frames(lambda: db.set("S", "b", "k", b"w"))) for _ in range(5)) <= alone
        assert chain(memtable, "b") <= 2
        assert snapshots[0].get("S", "a", "k") == b"v"
        assert db.get("S", "a", "k") == b"w"
        # What 100 of the snapshots see of it is linked, not what 10,000 might.
        assert chain(memtable, "other0") <= 101
    finally:
        for snapshot in snapshots:
            snapshot.close()
    assert len(db._db.snapshots) == 0
    db.set("S", "a", "k", b"x")
    db.set("S", "other0", "k", b"x")
    assert chain(memtable, "a") == chain(memtable, "other0") == 1


# --- large values

LARGE = 32 * MIB


@pytest.mark.slow
def test_a_large_value_is_copied_a_few_times(tmp_path: Path) -> None:
    """The peak of memory over that of the value itself, in values: what docs/operations.md says.

    To read one entry costs nothing for a large one beside it.
    """
    value = os.urandom(1024) * (LARGE // 1024)
    options: dict[str, object] = {"background": "none", "memtable_size": 1 << 30}
    with kvengine.open(tmp_path / "s", durability="os", **options) as db:

        def peak(call: Callable[[], object]) -> float:
            return allocated(call) / LARGE

        assert peak(lambda: db.set("S", "o", "large", value)) <= 2.6
        db.set("S", "o", "small", b"v")
        assert peak(lambda: db.get("S", "o", "large")) <= 1.1
        assert peak(lambda: db.get("S", "o", "small")) <= 0.1
        assert peak(db.flush) <= 4.2
        assert db.get("S", "o", "large") == value
        assert peak(lambda: db.get("S", "o", "large")) <= 2.1
        assert peak(lambda: db.get("S", "o", "small")) <= 0.1
        assert peak(lambda: db.get_all("S", "o")) <= 2.1
        assert db._db.frames.bytes <= db._db.frames.capacity
        db.set("S", "o", "small", b"w")
        assert peak(db.compact) <= 6.2
