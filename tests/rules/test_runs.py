"""Walks read blocks that follow each other by one call: what they return is the same."""

from __future__ import annotations

import pytest

import kvengine
from kvengine import CorruptionError
from kvengine.fs import MemoryFileSystem
from kvengine.storage.clock import ManualClock
from tests.rules.place import opened

KEYS = [f"{n:04}" for n in range(400)]


def filled(fs: MemoryFileSystem, clock: ManualClock) -> kvengine.Engine:
    """Return a database of one segment of many blocks, with a large object in their midst."""
    db = opened(fs, clock, block_size=512, chunk_size=600)
    for key in KEYS:
        db.set("s", key, "n", b"v" * 100)
    for n in range(40):
        db.set("s", "0200-large", f"{n:03}", b"w" * 100)
    db.flush()
    return db


def test_every_block_is_read_once(fs: MemoryFileSystem, clock: ManualClock) -> None:
    """From any block on, up to any other, with frames here and there, around the chunks."""
    with filled(fs, clock) as db:
        (segment,) = db._db.view.version
        firsts = [segment.block_handle(at)[0] for at in range(segment.block_count)]
        assert len(firsts) > 50
        for _ in range(2):
            for key in ("0003", "0100", "0101", "0399"):
                db.get("s", key, "n")
        assert segment.frames
        for low, high in ((0, len(firsts)), (7, 8), (20, 60), (3, 3)):
            stop = firsts[high] if high < len(firsts) else None
            found = [block.names[0] for block in segment.blocks_from(firsts[low], stop)]
            assert found == firsts[low:high]
        assert len(list(db.scan())) == len(KEYS) + 1


@pytest.mark.parametrize("damaged", [0, 1, 2, 9, 30])
def test_what_lies_before_a_damaged_block_is_returned(
    fs: MemoryFileSystem, clock: ManualClock, damaged: int
) -> None:
    with filled(fs, clock) as db:
        (segment,) = db._db.view.version
        first, handle = segment.block_handle(damaged)
        path = segment.path
    data = bytearray(fs.read_bytes(path))
    data[handle.offset + handle.length // 2] ^= 1
    fs.unlink(path)
    file = fs.create(path)
    file.write(bytes(data))
    file.close()
    with opened(fs, clock, block_size=512, chunk_size=600) as db:
        (segment,) = db._db.view.version
        found = []
        with pytest.raises(CorruptionError) as caught:
            for block in segment.blocks_from(b""):
                found.append(block.names[0])
        assert caught.value.offset == handle.offset
        assert len(found) == damaged and all(name < first for name in found)


def test_an_ended_walk_ends_again(fs: MemoryFileSystem, clock: ManualClock) -> None:
    with filled(fs, clock) as db:
        for walk in (db.scan(), db.object_keys("s")):
            assert sum(1 for _ in walk) == len(KEYS) + 1
            assert next(walk, None) is None
        with db.snapshot() as snapshot:
            walk = snapshot.scan()
            next(walk)
        for _ in range(len(KEYS) + 2):  # it never looks like the end
            with pytest.raises(kvengine.DatabaseClosed):
                next(walk)
