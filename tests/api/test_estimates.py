"""`estimate` after a compaction: within 20 %, whoever shares a block or a segment."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

import kvengine
from kvengine.fs.memory import MemoryFileSystem

OPTIONS = {"background": "none", "durability": "os"}


@pytest.fixture
def db() -> Iterator[kvengine.Engine]:
    """A database of small segments, so that a service lies in several."""
    with kvengine.open("/db", fs=MemoryFileSystem(), segment_size=256 * 1024, **OPTIONS) as found:
        yield found


def check(db: kvengine.Engine, service: str, prefix: str = "") -> None:
    """Compare an estimate with what is there; values are large beside what a row costs besides."""
    found = db.estimate(service, prefix=prefix)
    objects = held = 0
    for each in db.scan(service, prefix=prefix):
        objects += 1
        held += len(service) + len(each.key) + 30
        held += sum(len(name) + len(value) + 4 for name, value in each.entries.items())
    assert abs(found.objects - objects) <= 0.2 * objects, (service, prefix, found, objects)
    assert abs(found.bytes - held) <= 0.2 * held, (service, prefix, found, held)


def fill(db: kvengine.Engine, service: str, sizes: list[int], prefix: str = "k") -> None:
    """Set an object of one entry for each size, in a shuffled order."""
    order = list(enumerate(sizes))
    random.Random(1).shuffle(order)
    with db.batch() as batch:
        for number, size in order:
            batch.set(service, f"{prefix}{number:06}", "n", bytes(size))


def test_services_that_share_a_block_are_counted_by_their_part(db: kvengine.Engine) -> None:
    """One block of 4 KiB held a dozen services of three objects: each was said to hold them all."""
    for number in range(200):
        fill(db, f"Service{number:03}", [60] * (1 + number % 5))
    db.compact()
    for number in range(200):
        check(db, f"Service{number:03}")
    assert db.estimate("Absent") == db.estimate("Service000a") == (0, 0)


def test_a_service_over_several_segments(db: kvengine.Engine) -> None:
    """Segments that a service covers count as they are; those at its ends by its part of them."""
    fill(db, "A", [100] * 1500)
    fill(db, "B", [100] * 9000)
    fill(db, "C", [100] * 1500)
    db.compact()
    assert len(db.segments()) > 4
    for service in "ABC":
        check(db, service)
    assert sum(db.estimate(service).objects for service in "ABC") == pytest.approx(12_000, rel=0.05)


@pytest.mark.parametrize("prefix", ["", "k", "k0", "k001", "k0012", "k00123", "k001234", "x"])
def test_a_prefix(db: kvengine.Engine, prefix: str) -> None:
    """From all to one object to none."""
    fill(db, "A", [50] * 5000)
    db.compact()
    check(db, "A", prefix)


def test_objects_that_are_larger_than_a_block_hide_no_small_ones(db: kvengine.Engine) -> None:
    """Rows were shared out by blocks: beside objects of a block each, small ones were too few."""
    fill(db, "Large", [9000] * 300)
    fill(db, "Small", [20] * 9000)
    db.compact()
    check(db, "Large")
    check(db, "Small")


def test_small_and_large_objects_in_turns(db: kvengine.Engine) -> None:
    """One service of all sizes, mixed at random, beside one that shares its segments."""
    rng = random.Random(2)
    fill(db, "Mixed", [rng.choice((10, 10, 10, 100, 800, 3000, 20_000)) for _ in range(2000)])
    fill(db, "Other", [40] * 2000)
    db.compact()
    check(db, "Mixed")
    check(db, "Other")
    for first in range(2):
        check(db, "Mixed", f"k00{first}")


def test_many_services_of_mixed_sizes() -> None:
    """Of 200 blocks that hold from 2 to 60 rows, a sample of 32 was off by up to a half."""
    rng = random.Random(1)
    with kvengine.open("/db", fs=MemoryFileSystem(), **OPTIONS) as db:
        for number in range(40):
            fill(db, f"S{number:02}", [rng.choice((10, 50, 200, 2000)) for _ in range(1500)])
        fill(db, "T", [rng.choice((10, 50, 200, 2000)) for _ in range(8000)])
        db.compact()
        for number in range(40):
            check(db, f"S{number:02}")
        check(db, "T")


def test_an_object_in_chunks_and_one_in_a_segment_of_its_own(db: kvengine.Engine) -> None:
    """A large object counts with its chunks, and only for its own service."""
    with db.batch() as batch:
        for number in range(400):
            batch.set("Huge", "one", f"n{number:04}", bytes(1500))
        for number in range(100):
            batch.set("Chunks", "two", f"n{number:04}", bytes(1500))
    fill(db, "Also", [50] * 100)
    fill(db, "Next", [50] * 100)
    db.compact()
    for service in ("Also", "Chunks", "Huge", "Next"):
        check(db, service)


def test_what_was_overwritten_and_cleared_is_gone(db: kvengine.Engine) -> None:
    """A compaction leaves one row an object, and none for one that was cleared."""
    for _ in range(3):
        fill(db, "A", [80] * 2000)
        db.flush()
    for number in range(0, 2000, 2):
        db.clear_all("A", f"k{number:06}")
    db.compact()
    check(db, "A")
    assert db.estimate("A").objects == pytest.approx(1000, rel=0.2)


def test_a_damaged_block_is_an_error(tmp_path: Path) -> None:
    """An estimate reads blocks, and believes none that fails its checksum."""
    with kvengine.open(tmp_path / "db", **OPTIONS) as db:
        fill(db, "A", [80] * 200)
        fill(db, "B", [80] * 200)
        db.compact()
    (path,) = (tmp_path / "db").glob("*.segment")
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    with kvengine.open(tmp_path / "db", **OPTIONS) as db:
        with pytest.raises(kvengine.CorruptionError, match=path.name):
            db.estimate("A", prefix="k00000")
