"""The option `mapped_reads`: other system calls, the same answers."""

from __future__ import annotations

from pathlib import Path

import pytest

import kvengine
from kvengine.fs import disk


def fill(db: kvengine.Engine, value: bytes) -> None:
    for number in range(500):
        db.set("S", f"{number:03}", "k", value * 40)
    db.set("S", "large", "k", value * 200_000)
    db.flush()


def contents(db: kvengine.Engine | kvengine.Snapshot) -> dict[str, dict[str, bytes]]:
    return {found.key: found.entries for found in db.scan("S")}


def test_reads_make_no_system_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a segment is open, its blocks come from mapped memory; snapshots outlive its file."""
    with kvengine.open(tmp_path / "db", durability="os", cache_size=0, mapped_reads=True) as db:
        fill(db, b"a")
        monkeypatch.setattr(disk.os, "pread", None)
        with db.snapshot() as snapshot:
            before = contents(snapshot)
            assert before["007"] == {"k": b"a" * 40} and len(before) == 501
            assert db.get("S", "large", "k") == b"a" * 200_000
            fill(db, b"b")
            monkeypatch.undo()
            db.compact()  # replaces and removes the file
            assert contents(snapshot) == before
        assert contents(db)["007"] == {"k": b"b" * 40}
        db.verify()
    with kvengine.open(tmp_path / "db") as db:
        assert len(contents(db)) == 501


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    """A mapped block is checked as one that was read."""
    with kvengine.open(tmp_path / "db", durability="os") as db:
        fill(db, b"a")
    (segment,) = (tmp_path / "db").glob("*.seg*")
    data = bytearray(segment.read_bytes())
    data[1000] ^= 1
    segment.write_bytes(data)
    with (
        kvengine.open(tmp_path / "db", mapped_reads=True) as db,
        pytest.raises(kvengine.CorruptionError),
    ):
        contents(db)


def test_a_byte_that_flips_while_the_file_is_mapped_is_found(tmp_path: Path) -> None:
    """The system may drop a page and read it from the disk again, with what the disk made of it.

    For a while a block was checked only when it was read for the first time, and what became of it
    later was believed (P4).
    """
    with kvengine.open(tmp_path / "db", durability="os", mapped_reads=True) as db:
        fill(db, b"a")
        assert db.get("S", "007", "k") == b"a" * 40
        (segment,) = (tmp_path / "db").glob("*.seg*")
        at = segment.read_bytes().index(b"a" * 40)
        with open(segment, "r+b") as file:  # not anew: what is mapped is this file
            file.seek(at)
            file.write(b"b")
        with pytest.raises(kvengine.CorruptionError):
            contents(db)


@pytest.mark.parametrize("cache_size", [0, 1 << 20])
def test_all_reads_give_the_same_answers(tmp_path: Path, cache_size: int) -> None:
    """Rows of each kind, blocks read for the first time and again, alone and by a walk."""
    with kvengine.open(tmp_path / "db", durability="os") as db:
        fill(db, b"a")
        db.set("S", "expiring", "k", b"v", ttl=1e6)
        db.set("S", "cleared", "k", b"v")
        with db.batch() as batch:
            for number in range(3000):
                batch.set("S", "chunks", f"{number:05}", b"v" * 50)
        db.flush()
        db.clear("S", "cleared", "k")
        db.set("S", "cleared", "other", b"w")
        db.flush()
    with kvengine.open(tmp_path / "db", cache_size=cache_size, mapped_reads=True) as db:
        for _ in range(5):
            for number in range(0, 500, 7):
                assert db.get("S", f"{number:03}", "k") == b"a" * 40
                assert db.get("S", f"{number:03}", "none") is None
            assert db.get("S", "expiring", "k") == b"v"
            assert db.get("S", "cleared", "k") is None and db.get("S", "cleared", "other") == b"w"
            assert db.get("S", "chunks", "01234") == b"v" * 50
            assert db.get("S", "chunks", "none") is None
            assert len(db.get_all("S", "chunks")) == 3000
            assert db.get_all("S", "007") == {"k": b"a" * 40}
            assert len(contents(db)) == 504
            assert list(db.object_keys("S", reverse=True, limit=2)) == ["large", "expiring"]
