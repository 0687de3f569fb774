"""A database of format 1 is refused with the way out, by everything, and nothing of it is touched.

Format 1 was that of kvengine 0.1.0, which exports what this release imports.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from crc32c import crc32c

import kvengine
from kvengine.cli.exits import UNAVAILABLE
from kvengine.inspection.dump import kinds
from tests.cli.conftest import Run, run  # noqa: F401  # a fixture

THE_WAY = (
    r"has format 1, of kvengine 0\.1.*with kvengine 0\.1\.0 run 'kvengine export',"
    r" and 'kvengine import' with this one"
)
ID = bytes(range(16))


def sealed(head: bytes) -> bytes:
    """A header with its checksum behind it."""
    return head + struct.pack("<I", crc32c(head))


def record(payload: bytes, number: int, synced: int) -> bytes:
    """A record, whose framing is the same in both formats."""
    salt = crc32c(ID + struct.pack("<Q", number))
    covered = struct.pack("<IQ", len(payload), synced) + payload
    return struct.pack("<II", crc32c(b"record", salt) or 1, crc32c(covered, salt)) + covered


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A directory as kvengine 0.1.0 leaves it after a kill: with a WAL, a segment, a stale file."""
    directory = tmp_path / "old"
    directory.mkdir()
    # An edit of nine fields, which adds WAL 2 and states everything.
    edit = bytes.fromhex("99 90 90 91 02 90 80 07 00 00 92 cd2000 ce00010000")
    manifest = sealed(b"KVEMAN\r\n" + struct.pack("<I16sQ24x", 1, ID, 1))
    wal = sealed(b"KVEWAL\r\n" + struct.pack("<I16sQQQ8x", 1, ID, 2, 0, 0))
    files = {
        "CURRENT": b"000001.manifest %08x\n" % crc32c(b"000001.manifest"),
        "LOCK": b"4711\n",
        "000001.manifest": manifest + record(edit, 1, 64),
        "000002.wal": wal + record(b"\x92\x01\x90", 2, 64) + bytes(4096),
        "000005.segment": sealed(b"KVESEG\r\n" + struct.pack("<IQ8x", 1, 99)) + bytes(200),
        "000006-4711-1.tmp": b"half made",
        "notes.txt": b"mine",
    }
    for name, data in files.items():
        (directory / name).write_bytes(data)
        os.utime(directory / name, ns=(10**18, 10**18 + 5))
    os.utime(directory, ns=(10**18, 10**18 + 7))
    return directory


@pytest.fixture(autouse=True)
def untouched(old: Path) -> Iterator[None]:
    """Names, bytes and times of the directory are the same at the end of each test."""
    before = look(old)
    yield
    assert look(old) == before


def look(directory: Path) -> dict[str, object]:
    status = directory.stat()
    found: dict[str, object] = {".": (status.st_mtime_ns, status.st_ino, status.st_mode)}
    for path in sorted(directory.iterdir()):
        status = path.lstat()
        found[path.name] = (path.read_bytes(), status.st_mtime_ns, status.st_ino, status.st_mode)
    return found


@pytest.mark.parametrize("options", [{}, {"create": False}, {"read_only": True}])
def test_open_refuses_it(old: Path, options: dict[str, bool]) -> None:
    """As an owner and beside one; not even the lock file is opened for writing."""
    with pytest.raises(kvengine.UnsupportedFormat, match=THE_WAY):
        kvengine.open(old, **options)


def test_it_is_refused_on_a_medium_that_cannot_be_written(old: Path) -> None:
    """The refusal writes nothing, so it needs no permission to."""
    old.chmod(0o555)
    try:
        with pytest.raises(kvengine.UnsupportedFormat, match=THE_WAY):
            kvengine.open(old)
    finally:
        old.chmod(0o755)


@pytest.mark.parametrize("current", [True, False])
def test_repair_refuses_it(old: Path, tmp_path: Path, current: bool) -> None:
    """It is not damaged, also where CURRENT is lost; and no new directory is made."""
    place = old
    if not current:
        place = tmp_path / "copy"
        place.mkdir()
        for path in old.iterdir():
            if path.name != "CURRENT":
                (place / path.name).write_bytes(path.read_bytes())
    with pytest.raises(kvengine.UnsupportedFormat, match=THE_WAY):
        kvengine.repair(place, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("kind", ["segment", "wal", "manifest"])
def test_each_of_its_files_is_known(old: Path, kind: str) -> None:
    """A dump of one says the same, and not that its header is damaged."""
    (path,) = old.glob(f"*.{kind}")
    with pytest.raises(kvengine.UnsupportedFormat, match=THE_WAY):
        kinds.expect(str(path), kind)


@pytest.mark.parametrize(
    "words",
    [
        ["services"],
        ["objects", "s"],
        ["scan"],
        ["find", "--contains", "x"],
        ["export", "TARGET"],
        ["stats"],
        ["levels"],
        ["verify"],
        ["compact"],
        ["checkpoint", "TARGET"],
        ["backup", "TARGET"],
        ["repair", "TARGET"],
        ["copy", "OLD", "TARGET"],
        ["dump", "manifest", "OLD/CURRENT"],
        ["dump", "manifest", "OLD/000001.manifest"],
        ["dump", "wal", "OLD/000002.wal"],
        ["dump", "segment", "OLD/000005.segment"],
        ["kv", "get", "s", "k"],
        ["kv", "set", "s", "k", "n", "1", "--yes"],
        ["kv", "clear", "s", "k", "--yes"],
    ],
    ids=" ".join,
)
def test_every_command_says_the_way(
    old: Path,
    tmp_path: Path,
    run: Run,  # noqa: F811
    words: list[str],
) -> None:
    """One sentence, and the code of a database that cannot be opened; nothing is made elsewhere."""
    target = tmp_path / "target"
    places = {"TARGET": str(target)}
    words = [places.get(word, word.replace("OLD", str(old))) for word in words]
    told = run("--db", str(old), *words)
    assert told.code == UNAVAILABLE, told
    assert "run 'kvengine export', and 'kvengine import' with this one" in told.err
    assert told.err.count("\n") == 1 and told.out == ""
    assert not target.exists() or not any(target.iterdir())
