"""A reader beside the owner: it reads one consistent moment, and changes nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

import kvengine
from kvengine import DatabaseClosed, ReadOnly
from tests.durability.busy_owner import WRITER
from tests.durability.verbs import READS, VERBS, WRITES, refused

ROOT = Path(__file__).resolve().parents[2]


def test_read_only_refuses_writes(tmp_path: Path) -> None:
    """A reader beside the owner raises ReadOnly on every write verb, and changes no file."""
    with kvengine.open(tmp_path / "db", background="none") as owner:
        owner.set("s", "k", "n", b"1")
        before = {one.name: one.stat().st_mtime_ns for one in (tmp_path / "db").iterdir()}
        with kvengine.open(tmp_path / "db", read_only=True) as reader:
            assert refused(reader, WRITES, ReadOnly) == []
            assert reader.get("s", "k", "n") == b"1"
            assert all(verb(reader) is not Ellipsis for verb in READS.values())
        assert refused(reader, VERBS, DatabaseClosed) == []
        after = {one.name: one.stat().st_mtime_ns for one in (tmp_path / "db").iterdir()}
        assert after == before


@pytest.mark.slow
def test_read_only_beside_a_busy_owner(tmp_path: Path) -> None:
    """Opened again and again while the owner writes, flushes and compacts, a reader sees whole
    batches, never an older state than one seen before, and goes on reading what it opened."""
    owner = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "db")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert owner.stdout is not None and owner.stdout.readline() == "go\n"
        last, opened, kept = 0, 0, []
        started = time.monotonic()
        while time.monotonic() - started < 8:
            reader = kvengine.open(tmp_path / "db", read_only=True)
            found = {key: reader.get("s", key, "n") for key in ("a", "k", "z")}
            assert len(set(found.values())) == 1
            now = int(found["a"] or b"0")
            assert now >= last
            last, opened = now, opened + 1
            kept.append((reader, {one.key: one.entries for one in reader.scan("s")}))
            if len(kept) == 5:
                for old, seen in kept:
                    assert {one.key: one.entries for one in old.scan("s")} == seen
                    old.close()
                kept = []
        assert opened > 50 and last > 100
        assert owner.poll() is None
        for old, _ in kept:
            old.close()
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close()
