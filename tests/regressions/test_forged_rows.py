"""Rows that somebody forged, under checksums that hold."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import kvengine
from kvengine import CorruptionError
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage import row
from tests.inspection.damage_forge import Forgery, forge_segment


def forged(fs: MemoryFileSystem, change: Callable[[bytes], bytes]) -> str:
    """Make a segment of three objects, and change the row of k1 in it. Return its path."""
    with kvengine.open("/db", fs=fs, background="none") as db:
        for key in ("k0", "k1", "k2"):
            db.set("s", key, "n", b"value")
        db.flush()
        (segment,) = db._db.view.version

    def forge(forgery: Forgery) -> None:
        (rows,) = forgery.blocks()
        rows.raw[1] = change(row.encode(rows.rows[1]))

    forge_segment(fs, segment.path, forge)
    return segment.path


@pytest.mark.parametrize("again", [False, True], ids=["block read last", "block is a frame"])
@pytest.mark.parametrize(
    "ask",
    [
        lambda db: db._in_memory("s", "k1"),
        lambda db: db.get("s", "k1", "n"),
        lambda db: db.get_all("s", "k1"),
        lambda db: list(db.scan()),
    ],
    ids=["in_memory", "get", "get_all", "scan"],
)
def test_a_forged_row_of_a_block_in_memory_is_corruption(
    ask: Callable[[kvengine.Engine], object], again: bool
) -> None:
    """`in_memory`, which asyncio asks before a read, found the row in the block by a way of its own
    and let its ValueError out, where a get raised CorruptionError.
    """
    fs = MemoryFileSystem()
    path = forged(fs, lambda _: b"\x94\x00\x01\xc0" + bytes(12))  # a version of one byte
    with kvengine.open("/db", fs=fs, background="none") as db:
        for _ in range(1 + again):
            assert db.get("s", "k0", "n") == b"value"
        with pytest.raises(CorruptionError) as caught:
            ask(db)
        assert caught.value.path == path


def test_a_compaction_refuses_a_forged_row_that_a_newer_one_hides() -> None:
    """Plain Python never looked at a row below one that clears its object, and wrote the segment
    anew without a word; compiled code checks the block whole. Whether damage is found must not
    depend on which of the two runs.
    """
    fs = MemoryFileSystem()
    path = forged(fs, lambda sound: b"\0" + sound[1:])
    with kvengine.open("/db", fs=fs, background="none") as db:
        db.clear_all("s", "k1")
        db.flush()
        with pytest.raises(CorruptionError) as caught:
            db.compact()
        assert caught.value.path == path
