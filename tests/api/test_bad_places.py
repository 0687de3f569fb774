"""Bad places and options: one clear sentence that says what to do, and nothing changed.

Each message is pinned, since it is what a person has to go on.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from crc32c import crc32c

import kvengine
from tests.api.refusals import open_disk, refuses

ROOT = Path(__file__).resolve().parents[2]


def test_a_directory_of_other_things_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with refuses(kvengine.NotADatabase, r"holds other files \('letter.txt'\): choose an empty or"):
        open_disk(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["letter.txt"]


def test_a_file_in_place_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with refuses(
        kvengine.NotADatabase, "is a file or a broken symbolic link; a database is a directory"
    ):
        open_disk(tmp_path / "file")
    with refuses(NotADirectoryError, "Not a directory"):
        open_disk(tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("options", [{"create": False}, {"read_only": True}])
def test_a_missing_directory_that_may_not_be_made(tmp_path: Path, options: dict[str, bool]) -> None:
    with refuses(kvengine.NotADatabase, "does not exist; create=True makes a database there"):
        open_disk(tmp_path / "absent", **options)
    with refuses(kvengine.NotADatabase, "holds no database"):
        open_disk(tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_newer_format(tmp_path: Path) -> None:
    """Refused by owner and reader alike, saying what helps; no byte is changed."""
    open_disk(tmp_path / "db").close()
    (manifest,) = (tmp_path / "db").glob("*.manifest")
    data = bytearray(manifest.read_bytes())
    data[8:12] = (3).to_bytes(4, "little")
    data[60:64] = crc32c(bytes(data[:60])).to_bytes(4, "little")
    manifest.write_bytes(data)
    before = {one.name: one.read_bytes() for one in (tmp_path / "db").glob("0*")}
    for read_only in (False, True):
        with refuses(
            kvengine.UnsupportedFormat, "format 3.*up to 2: open it with a newer kvengine"
        ):
            open_disk(tmp_path / "db", read_only=read_only)
    assert {one.name: one.read_bytes() for one in (tmp_path / "db").glob("0*")} == before


def test_segments_without_current_are_not_created_anew(tmp_path: Path) -> None:
    """What looks like a database that lost its CURRENT is damage, not an empty place."""
    with open_disk(tmp_path) as db:
        db.set("s", "k", "n", b"1")
        db.flush()
    (tmp_path / "CURRENT").unlink()
    before = sorted(one.name for one in tmp_path.iterdir())
    for read_only in (False, True):
        with refuses(kvengine.CorruptionError, "missing, beside files of a database; see kvengine"):
            open_disk(tmp_path, read_only=read_only)
    assert sorted(one.name for one in tmp_path.iterdir()) == before


def test_unknown_files_are_left_alone_and_reported(tmp_path: Path) -> None:
    """Beside a database: a file of the user's stays, and `stats().recovery` names it."""
    open_disk(tmp_path).close()
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "000001.backup").mkdir()
    (tmp_path / "000099-1-0.tmp").write_text("ours, left by a crash")
    with open_disk(tmp_path) as db:
        assert db.stats().recovery == (
            "unknown file '000001.backup' left alone",
            "unknown file 'notes.txt' left alone",
        )
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert not (tmp_path / "000099-1-0.tmp").exists()


def test_a_second_owner_is_refused_by_pid(tmp_path: Path) -> None:
    with open_disk(tmp_path):
        with refuses(kvengine.DatabaseLocked, rf"in this process \({os.getpid()}\) already; use"):
            open_disk(tmp_path)


UNPRIVILEGED = """
import os, sys
import kvengine
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    kvengine.open(sys.argv[1], background="none")
except PermissionError as error:
    print("refused:", error)
"""


@pytest.mark.parametrize("where", ["parent", "directory", "file"])
def test_no_permission(tmp_path: Path, where: str) -> None:
    """PermissionError naming the path, whoever owns it; nothing is half made."""
    place = tmp_path / "place"
    open_disk(place / "db").close()
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.getuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
        if path == Path("/tmp"):
            break
    names = {"parent": place, "directory": place / "db", "file": place / "db" / "CURRENT"}
    target = place / "new" if where == "parent" else place / "db"
    if os.geteuid() == 0:
        place.chmod(0o755)
        for path in (place / "db").iterdir():
            os.chown(path, 65534, 65534)
        os.chown(place / "db", 65534, 65534)
    names[where].chmod(0o555 if where == "parent" else 0)
    try:
        run = subprocess.run(
            [sys.executable, "-c", UNPRIVILEGED, str(target)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=60,
            check=False,
        )
    finally:
        names[where].chmod(0o755)
    if "No module named" in run.stderr:
        pytest.skip("an unprivileged user cannot read the interpreter's packages here")
    assert "refused:" in run.stdout and "Permission denied" in run.stdout, run.stderr
    assert str(place) in run.stdout
    assert not (place / "new").exists()


@pytest.fixture
def read_only_mount(tmp_path: Path) -> Iterator[Callable[[], Path]]:
    """A file system of its own that the test turns read-only."""
    place = tmp_path / "mount"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        pytest.skip("READ-ONLY FILE SYSTEM NOT TESTED: there is no mount command")
    if done.returncode:
        pytest.skip(f"READ-ONLY FILE SYSTEM NOT TESTED: mount: {done.stderr.strip()}")

    def remount() -> Path:
        again = ["mount", "-o", "remount,ro", str(place)]
        subprocess.run(again, check=True, capture_output=True, timeout=30)
        return place

    try:
        (place / "there").mkdir()
        with open_disk(place / "db") as db:
            db.set("s", "k", "n", b"1")
        yield remount
    finally:
        subprocess.run(["umount", str(place)], check=False, capture_output=True, timeout=30)


def test_a_read_only_file_system(read_only_mount: Callable[[], Path]) -> None:
    """An owner is refused with EROFS; read_only=True reads what is there."""
    place = read_only_mount()
    with refuses(OSError, "Read-only file system"):
        open_disk(place / "db")
    with refuses(OSError, "Read-only file system"):
        open_disk(place / "new")
    with open_disk(place / "db", read_only=True) as db:
        assert db.get("s", "k", "n") == b"1"


@pytest.mark.parametrize("path", [None, 7, b"db", ["db"]])
def test_a_path_of_the_wrong_type(path: object) -> None:
    with refuses(TypeError, "path"):
        kvengine.open(path)  # type: ignore[arg-type]


def test_an_empty_path_and_another_back_end() -> None:
    with refuses(ValueError, "path is empty: name a directory"):
        kvengine.open("")
    with refuses(ValueError, r"open\(\) takes a directory; a PostgreSQL URL goes to"):
        kvengine.open("postgresql://host/db")


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        (
            {"durabilty": "os"},
            TypeError,
            r"open\(\) got an unexpected keyword argument 'durabilty'",
        ),
        ({"durability": "async"}, ValueError, "durability must be 'sync' or 'os', not 'async'"),
        ({"background": True}, ValueError, "background must be 'thread' or 'none'"),
        ({"memtable_size": 0}, ValueError, "memtable_size must be above zero, not 0"),
        ({"block_size": -1}, ValueError, "block_size must be above zero, not -1"),
        ({"cache_size": -1}, ValueError, "cache_size must be finite and not negative, not -1"),
        ({"expiry_grace": -1.0}, ValueError, "expiry_grace must be finite and not negative"),
        ({"max_clock_step": float("nan")}, ValueError, "max_clock_step must be finite"),
        ({"max_clock_step": float("inf")}, ValueError, "max_clock_step must be finite"),
        ({"clock": 5}, TypeError, r"clock must have wall\(\) and monotonic\(\).*, not int"),
        ({"max_value_size": 1 << 40}, ValueError, "must not be above max_commit_size"),
        ({"memtable_size": "16M"}, TypeError, "memtable_size"),
        ({"l0_stop": 1.5}, TypeError, "l0_stop must be int, not float"),
        ({"l0_stop": True}, TypeError, "l0_stop must be int, not bool"),
        ({"max_clock_step": "60"}, TypeError, "max_clock_step"),
        ({"create": "no"}, TypeError, "create must be bool, not str"),
        ({"read_only": 1}, TypeError, "read_only must be bool, not int"),
    ],
)
def test_wrong_options(
    tmp_path: Path, options: dict[str, object], kind: type[BaseException], message: str
) -> None:
    """Named before anything is made."""
    with refuses(kind, message):
        kvengine.open(tmp_path / "db", **options)
    assert not (tmp_path / "db").exists()
