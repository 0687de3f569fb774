"""The version and the expiry of an object too large to be resolved for them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import kvengine
from kvengine.storage.clock import ManualClock
from kvengine.storage.row import Chunk
from kvengine.storage.segment.reader import SegmentReader

pytestmark = pytest.mark.plain  # counts the calls of a method

ENTRIES = 5000
NAMES = [f"n{i:05}" for i in range(ENTRIES)]


class Reads:
    """Counts chunks read since `count` was last set to 0."""

    count = 0


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    counted = Reads()
    read = SegmentReader.chunk_bytes

    def chunk(segment: SegmentReader, one: Chunk) -> bytes:
        counted.count += 1
        return read(segment, one)

    monkeypatch.setattr(SegmentReader, "chunk_bytes", chunk)
    return counted


def large(db: kvengine.Engine, ttl: Callable[[int], float | None] = lambda i: None) -> int:
    """An object of 5,000 entries in some 100 chunks; its version."""
    batch = kvengine.Batch()
    for i, name in enumerate(NAMES):
        batch.set("s", "k", name, b"x" * 20, ttl=ttl(i))
    stamp = db.write(batch)
    db.flush()
    return stamp


def agrees(db: kvengine.Engine, version: int, reads: Reads, most: int) -> None:
    """Readers, a snapshot and `expect` say the same, and read at most so many chunks for it."""
    with db.snapshot() as snapshot:
        for ask in (db.version, snapshot.version):
            reads.count = 0
            assert ask("s", "k") == version
            assert reads.count <= most
    reads.count = 0
    with pytest.raises(kvengine.VersionConflict) as conflict:
        db.write(kvengine.Batch(), expect={("s", "k"): version + 1})
    assert conflict.value.actual == version
    assert reads.count <= most


@pytest.mark.parametrize("compacted", [False, True])
def test_one_chunk_tells_the_version(db: kvengine.Engine, reads: Reads, compacted: bool) -> None:
    """A large object is not read in whole to learn its version, least of all by a commit."""
    version = large(db)
    if compacted:
        db.set("s", "k", NAMES[7], b"y")
        db.flush()
        version = db.set("s", "k", NAMES[8], b"y")
        db.compact()
    agrees(db, version, reads, 1)
    reads.count = 0
    assert db.expires_at("s", "k") is None
    assert reads.count <= 1
    version = db.set("s", "k", NAMES[0], b"y")
    agrees(db, version, reads, 0)


def test_a_version_in_the_memtable_alone(db: kvengine.Engine, reads: Reads) -> None:
    """So it is for an object that no segment holds."""
    batch = kvengine.Batch()
    for name in NAMES:
        batch.set("s", "k", name, b"x")
    agrees(db, db.write(batch), reads, 0)


def test_cleared_one_by_one(db: kvengine.Engine, reads: Reads) -> None:
    """It has a version to its last entry, and none after; a new entry is a new object."""
    version = large(db)
    for name in NAMES[:-1]:
        version = db.clear("s", "k", name)
        if name[-2:] == "00":
            agrees(db, version, reads, ENTRIES)
    agrees(db, version, reads, ENTRIES)
    db.clear("s", "k", NAMES[-1])
    agrees(db, 0, reads, ENTRIES)
    db.flush()
    agrees(db, 0, reads, ENTRIES)
    agrees(db, db.set("s", "k", NAMES[1], b"y"), reads, 0)
    db.clear_all("s", "k")
    agrees(db, 0, reads, 0)


def test_entries_that_expire(db: kvengine.Engine, clock: ManualClock, reads: Reads) -> None:
    """Expired entries are none; the last one that lives keeps the version, which stays."""
    version = large(db, lambda i: 10 if i != ENTRIES // 2 else 20)
    agrees(db, version, reads, 1)
    clock.advance(10)
    agrees(db, version, reads, ENTRIES)
    clock.advance(9.9)
    agrees(db, version, reads, ENTRIES)
    clock.advance(0.1)
    agrees(db, 0, reads, ENTRIES)


def test_an_expired_entry_above_a_live_one(
    db: kvengine.Engine, clock: ManualClock, reads: Reads
) -> None:
    """What a newer layer says of an entry hides the older value, also once it has expired."""
    large(db)
    batch = kvengine.Batch()
    for name in NAMES:
        batch.set("s", "k", name, b"y", ttl=5)
    version = db.write(batch)
    agrees(db, version, reads, 0)
    clock.advance(5)
    agrees(db, 0, reads, ENTRIES)


def test_an_object_that_expires(db: kvengine.Engine, clock: ManualClock, reads: Reads) -> None:
    """An expired object has no version, and nothing is read to say so."""
    large(db)
    assert db.expire("s", "k", ttl=10)
    version = db.version("s", "k")
    assert version > 0
    at = db.expires_at("s", "k")
    assert at is not None
    agrees(db, version, reads, 1)
    clock.advance(10)
    agrees(db, 0, reads, 0)
    assert db.expires_at("s", "k") is None
