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
