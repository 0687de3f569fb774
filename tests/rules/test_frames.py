"""Frames: blocks kept in memory belong to an open segment, and keep to their budget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

import kvengine
from kvengine.fs import MemoryFileSystem
from kvengine.storage.clock import ManualClock
from tests.rules.place import opened

KEYS = [f"{n:03}" for n in range(200)]


def fill(db: kvengine.Engine, value: bytes, keys: Sequence[str] = KEYS) -> None:
    for key in keys:
        db.set("s", key, "n", value)
    db.flush()


def read(db: kvengine.Engine | kvengine.Snapshot) -> set[bytes | None]:
    """Read one entry of each object once: past the memo, by the frames."""
    return {db.get("s", key, "n") for key in KEYS}


def framed(db: kvengine.Engine) -> int:
    """Sum up what frames of the open segments take."""
    return sum(frame.size for one in db._db.view.version for frame in one.frames.values())


def test_a_file_number_used_again_brings_back_no_other_bytes(
    fs: MemoryFileSystem, clock: ManualClock
) -> None:
    """A reader beside the owner keeps blocks in memory. The directory is emptied, and a backup is
    put in its place: the same file numbers, blocks at the same offsets, other bytes. A snapshot of
    before still reads the old file. Keyed by the number, frames of either would answer for both.
    """
    with opened(fs, clock) as owner:
        fill(owner, b"old")
        numbers = owner._db.view.version.files
    with opened(fs, clock, read_only=True) as reader:
        assert read(reader) == {b"old"}
        frames = reader._db.frames
        assert len(frames) > 0
        for name in fs.listdir("/db"):
            fs.unlink(f"/db/{name}")
        with opened(fs, clock) as owner:
            fill(owner, b"new")
            assert owner._db.view.version.files == numbers
            owner.set("s", "more", "n", b"new")
            owner.flush()
        with reader.snapshot() as snapshot:
            assert reader.refresh()
            assert reader._db.frames is frames and reader._db.view.version.files > numbers
            for _ in range(2):  # both files are open now, and both keep frames
                assert read(snapshot) == {b"old"}
                assert read(reader) == {b"new"}


def test_a_segment_that_is_gone_takes_its_frames_along(db: kvengine.Engine) -> None:
    """A compaction replaces segments: their blocks leave the budget to those that are read now."""
    fill(db, b"1")
    fill(db, b"2", KEYS[::2])
    assert read(db) == {b"1", b"2"}
    gone = list(db._db.view.version)
    assert db._db.frames.bytes == framed(db) > 0
    db.compact()
    assert db._db.frames.bytes == 0 == len(db._db.frames)
    assert not any(segment.frames for segment in gone)
    assert read(db) == {b"1", b"2"}
    assert db._db.frames.bytes == framed(db) > 0


@pytest.mark.parametrize("cache_size", [0, 20_000, 60_000])
def test_frames_keep_to_their_budget(
    fs: MemoryFileSystem, clock: ManualClock, cache_size: int
) -> None:
    """However much is read, blocks in memory take no more than three quarters of ``cache_size``,
    chunks of large objects included; and what is counted is what is there.
    """
    with opened(fs, clock, cache_size=cache_size, block_size=512, chunk_size=600) as db:
        fill(db, b"v" * 100)
        for n in range(100):
            db.set("s", "large", f"{n:03}", b"w" * 100)
        db.flush()
        frames = db._db.frames
        assert frames.capacity == cache_size * 3 // 4
        largest = 0
        for _ in range(3):
            for key in KEYS:
                assert db.get("s", key, "n") == b"v" * 100
                assert frames.bytes == framed(db) <= frames.capacity
                largest = max(largest, frames.bytes)
            for n in range(100):
                assert db.get("s", "large", f"{n:03}") == b"w" * 100
                assert frames.bytes == framed(db) <= frames.capacity
        assert largest > frames.capacity // 2 or not cache_size


def test_a_frame_in_use_outlives_a_walk_of_others(fs: MemoryFileSystem, clock: ManualClock) -> None:
    """A block that is read again and again stays while others come and go: second chance."""
    with opened(fs, clock, cache_size=20_000, block_size=512) as db:
        fill(db, b"v" * 100)
        db._db.memo.capacity = 0  # so that every read asks the frames
        segment = next(iter(db._db.view.version))
        db.get("s", "000", "n")
        db.get("s", "000", "n")
        (first,) = segment.frames.values()
        for key in KEYS:
            db.get("s", key, "n")
            db.get("s", key, "n")
            db.get("s", "000", "n")
            assert first in segment.frames.values()
        assert 2 * len(segment.frames) < segment.block_count  # others went


def test_a_block_that_is_read_once_becomes_no_frame(
    fs: MemoryFileSystem, clock: ManualClock
) -> None:
    """A uniform load or a listing passes by: it displaces nothing, and takes no memory."""
    with opened(fs, clock, block_size=512) as db:
        fill(db, b"v" * 400)  # an object a block
        db._db.memo.capacity = 0
        assert [read(db), framed(db)] == [{b"v" * 400}, 0]
        read(db)
        assert framed(db) > 0


def test_a_mapped_block_is_checked_at_its_first_read(tmp_path: Path) -> None:
    """It is no frame, and read where it lies; but not before its checksum was computed once."""
    with kvengine.open(tmp_path / "db", durability="os") as db:
        fill(db, b"value" * 9)
    (segment,) = (tmp_path / "db").glob("*.seg*")
    data = bytearray(segment.read_bytes())
    at = data.index(b"value")
    with kvengine.open(tmp_path / "db", mapped_reads=True) as db:
        assert read(db) == read(db) == {b"value" * 9} and framed(db) == 0
    data[at] ^= 1
    segment.write_bytes(data)
    with kvengine.open(tmp_path / "db", mapped_reads=True) as db:
        for _ in range(2):
            with pytest.raises(kvengine.CorruptionError):
                db.get("s", KEYS[0], "n")
