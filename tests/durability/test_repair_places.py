"""P8 on a real disk: what repair refuses, and that the old directory keeps every byte and time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import kvengine


def test_places_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    """No database, a target that is taken or lies inside the source: one clear sentence each."""
    source = tmp_path / "db"
    kvengine.open(source, background="none").close()
    with pytest.raises(kvengine.NotADatabase, match="no directory"):
        kvengine.repair(tmp_path / "absent", tmp_path / "new")
    (tmp_path / "empty").mkdir()
    with pytest.raises(kvengine.NotADatabase, match="nothing to repair"):
        kvengine.repair(tmp_path / "empty", tmp_path / "new")
    with pytest.raises(kvengine.KVEngineError, match="choose one outside"):
        kvengine.repair(source, source / "new")
    with pytest.raises(kvengine.KVEngineError, match="choose one outside"):
        kvengine.repair(source, source)
    (tmp_path / "file").write_text("")
    with pytest.raises(kvengine.KVEngineError, match="choose another"):
        kvengine.repair(source, tmp_path / "file")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["db", "empty", "file"]


def test_a_database_in_use_is_refused(tmp_path: Path) -> None:
    with kvengine.open(tmp_path / "db", background="none"):
        with pytest.raises(kvengine.DatabaseLocked) as refused:
            kvengine.repair(tmp_path / "db", tmp_path / "new")
        assert refused.value.pid == os.getpid()
    assert not (tmp_path / "new").exists()


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    """A newer release's directory is not damaged: it is left for that release."""
    kvengine.open(tmp_path / "db", background="none").close()
    newer(tmp_path / "db")
    with pytest.raises(kvengine.UnsupportedFormat, match="newer kvengine"):
        kvengine.repair(tmp_path / "db", tmp_path / "new")


def newer(directory: Path) -> None:
    from crc32c import crc32c

    (path,) = directory.glob("*.manifest")
    data = bytearray(path.read_bytes())
    data[8:12] = (99).to_bytes(4, "little")
    data[60:64] = crc32c(bytes(data[:60])).to_bytes(4, "little")
    path.write_bytes(data)


def test_the_old_directory_keeps_every_byte_and_time(tmp_path: Path) -> None:
    """On a real disk: names, bytes and times of change, those of LOCK among them, stay."""
    source = tmp_path / "db"
    with kvengine.open(source, background="none") as db:
        for number in range(100):
            db.set("s", f"{number}", "n", b"x" * 100)
        db.flush()
        db.set("s", "last", "n", b"1")
    next(iter(source.glob("*.manifest"))).write_bytes(b"damaged")
    os.utime(source / "LOCK", (1, 1))
    before = look(source)
    report = kvengine.repair(str(source), tmp_path / "new")
    assert look(source) == before
    assert report.objects == 101 and report.entries == 101 and report.lost == []
    with kvengine.open(tmp_path / "new", background="none") as db:
        assert len(list(db.object_keys("s"))) == 101
        db.compact()
        assert db.verify() == []


def look(directory: Path) -> list[tuple[str, int, int, bytes]]:
    return [
        (one.name, one.stat().st_mtime_ns, one.stat().st_ctime_ns, one.read_bytes())
        for one in sorted(directory.iterdir())
    ] + [("", directory.stat().st_mtime_ns, 0, b"")]


def test_a_killed_database_is_repaired(tmp_path: Path) -> None:
    """A lock file whose owner is dead stops nobody; every returned commit is there."""
    program = (
        "import kvengine, os, signal, sys\n"
        "db = kvengine.open(sys.argv[1], background='none')\n"
        "for n in range(50): db.set('s', str(n), 'n', b'x')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).resolve().parents[2]
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "db")], cwd=root, timeout=60, check=False
    )
    assert run.returncode == -9
    (tmp_path / "db" / "CURRENT").unlink()
    report = kvengine.repair(tmp_path / "db", tmp_path / "new")
    assert report.objects == 50 and report.lost == []
    shutil.rmtree(tmp_path / "db")
