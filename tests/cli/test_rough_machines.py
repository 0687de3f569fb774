"""The tools on machines that lack something: a home, a name for the user, a disk to write to.

Under a supervisor without HOME and a uid that has no passwd entry, as in most containers, `kv edit`
wrote what it replaced into `./~/.local/state`. From a read-only mount no backup could be made.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import kvengine
from kvengine.cli.commands import kv_edit
from kvengine.cli.exits import DONE, FAILED, UNAVAILABLE, USAGE
from tests.cli.conftest import Run
from tests.cli.golden import ROOT

NOBODY = 54_321
"""A uid that no passwd file names."""

Ended = subprocess.CompletedProcess[str]
Start = Callable[..., Ended]

READING = [
    "services",
    "objects Greeter -l",
    "kv get Greeter/alice",
    "scan",
    "stats",
    "levels",
    "verify",
    "find --contains Alice",
    "export",
    "kv set Greeter/alice/count 4 --dry-run",
    "kv clear Greeter --dry-run",
]
WRITING = [
    "kv set Greeter/alice/count 4",
    "kv clear Greeter --yes",
    "compact",
    "import lines --partial",
]


def start(place: Path, words: str, *, cwd: Path, before: tuple[str, ...] = (), **env: str) -> Ended:
    """Run a command with the environment of a bare supervisor: no HOME, no USER."""
    ended = subprocess.run(
        [*before, sys.executable, "-m", "kvengine", *words.split()],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        timeout=60,
        env={
            "KVENGINE_DB": str(place),
            "KVENGINE_COMPILED": os.environ.get("KVENGINE_COMPILED", "auto"),
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
        }
        | env,
    )
    assert "Traceback" not in ended.stderr and "a bug" not in ended.stderr, ended.stderr
    assert ended.returncode == DONE or ended.stderr
    assert not (cwd / "~").exists()
    return ended


@pytest.fixture
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Run commands under a uid without a name, of a database and in a directory of its own."""
    if os.getuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("NOT TESTED: to run under another uid takes root, and setpriv of util-linux")
    # It may read what this test's interpreter and packages lie in, and write nothing there.
    rights = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    before = ("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", *rights)

    def begun(place: Path, words: str, *, cwd: Path, **env: str) -> Ended:
        return start(place, words, cwd=cwd, before=before, **env)

    base = tmp_path_factory.getbasetemp()
    modes = {path: path.stat().st_mode for path in (base, base.parent)}
    for path in modes:
        path.chmod(0o755)
    yield begun
    for path, mode in modes.items():
        path.chmod(mode)


def give(*paths: Path) -> None:
    """Let the stranger own them, and all in them."""
    for path in paths:
        for each in (path, *path.rglob("*")):
            os.chown(each, NOBODY, NOBODY)


def test_no_home_and_no_name(place: Path, tmp_path: Path, stranger: Start) -> None:
    """Every kind of command does its work; what an edit replaces is kept where that can be."""
    cwd, kept = tmp_path / "cwd", tmp_path / "tmp"
    cwd.mkdir()
    kept.mkdir()
    give(place, cwd, kept)
    for words in (
        *READING,
        "backup b",
        "backup b --verify",
        "restore b r",
        "checkpoint c",
        "export e",
    ):
        assert stranger(place, words, cwd=cwd).returncode == DONE, words
    sed = "sed -i s/3/4/"
    ended = stranger(place, "kv edit Greeter/alice", cwd=cwd, EDITOR=sed, TMPDIR=str(kept))
    assert ended.returncode == DONE
    (file,) = kept.iterdir()
    assert f"kept in {file}" in ended.stderr and file.stat().st_mode & 0o777 == 0o600
    assert sorted(each.name for each in cwd.iterdir()) == ["b", "c", "e", "r"]


@pytest.mark.parametrize("home", ["", "relative", "/proc/no/such", "/dev/null"])
def test_homes_that_are_none(place: Path, tmp_path: Path, home: str) -> None:
    """Edits go on without one, and never make a directory of what HOME says."""
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    for words in ("services", "kv edit Greeter/alice"):
        ended = start(
            place, words, cwd=cwd, HOME=home, EDITOR="sed -i s/3/4/", TMPDIR=str(tmp_path)
        )
        assert ended.returncode == DONE
    assert list(cwd.iterdir()) == []
    assert len(list(tmp_path.glob("kvengine-replaced-*.json"))) == 1


def test_nothing_is_edited_that_cannot_be_kept(
    place: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state directory, and that for temporary files, is on a full disk."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(kv_edit, "tempfile", SimpleNamespace(mkstemp=full))
    monkeypatch.setenv("EDITOR", "sed -i s/3/4/")
    told = run("kv", "edit", "Greeter/alice")
    assert told.code == FAILED
    assert "cannot be kept: No space left on device; nothing was written" in told.err
    with kvengine.open(place, read_only=True) as db:
        assert db.get("Greeter", "alice", "count") == b"3"


def test_a_tilde_that_no_shell_replaced(place: Path, tmp_path: Path, stranger: Start) -> None:
    """`--db=~/db` and `KVENGINE_DB=~/db` in a unit file mean the home directory, or nothing."""
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    home = str(place.parent)
    for words, env in (("--db=~/db services", ""), ("services", "~/db"), ("verify ~/db", "")):
        ended = start(place, words, cwd=cwd, HOME=home, KVENGINE_DB=env)
        assert (ended.returncode, ended.stderr) == (DONE, ""), words
    (cwd / "lines").write_text("")
    give(cwd)
    for words in ("--db ~/db import lines --create", "backup ~/b", "export ~/e", "copy ~/a ~/b"):
        ended = stranger(place, words, cwd=cwd)
        assert ended.returncode == USAGE and "write the whole path" in ended.stderr
    assert [each.name for each in cwd.iterdir()] == ["lines"]


def check_read_only(place: Path, work: Path, run: Start, refused: str) -> None:
    """Reads and backups work, edits are refused, and nothing in the database has changed."""
    before = {path: path.read_bytes() for path in place.iterdir()}
    (work / "lines").write_text('{"service":"S","key":"k","entries":{}}\n')
    for words in READING:
        ended = run(place, words, cwd=work)
        assert (ended.returncode, ended.stderr) == (DONE, ""), words
    for words in WRITING:
        ended = run(place, words, cwd=work)
        assert (ended.returncode, refused in ended.stderr) == (UNAVAILABLE, True), (words, ended)
        assert ended.stdout == ""
    for words in (
        "backup b",
        "backup b",
        "backup b --verify",
        "restore b r",
        "copy {} c",
        "repair m",
    ):
        ended = run(place, words.format(place), cwd=work)
        assert (ended.returncode, ended.stderr) == (DONE, ""), words
    assert {path: path.read_bytes() for path in place.iterdir()} == before
    with kvengine.open(place, read_only=True) as db:
        wanted = {found.key: found.entries for found in db.scan()}
    for made in ("r", "c", "m"):
        with kvengine.open(work / made) as db:
            assert {found.key: found.entries for found in db.scan()} == wanted, made


def test_a_directory_of_another_user(place: Path, tmp_path: Path, stranger: Start) -> None:
    """The tools of a user who may read it and not write."""
    work = tmp_path / "work"
    work.mkdir()
    give(work)
    check_read_only(place, work, stranger, "Permission denied")


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, which `mount -o remount,ro` makes read-only."""
    at = tmp_path / "mount"
    at.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "none", str(at)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("NOT TESTED: a read-only mount takes the right to mount")
    yield at
    subprocess.run(["umount", "-l", str(at)], check=True)


@pytest.mark.parametrize("crashed", [False, True])
def test_a_read_only_mount(place: Path, tmp_path: Path, mount: Path, crashed: bool) -> None:
    """A snapshot of a volume, of a database that was closed or that was running."""
    if crashed:
        with kvengine.open(place, background="none") as db:
            db.set("Greeter", "bob", "name", b'"Bobby"')
            shutil.copytree(place, mount / "db", ignore=shutil.ignore_patterns("LIVE"))
    else:
        shutil.copytree(place, mount / "db")
    subprocess.run(["mount", "-o", "remount,ro", str(mount)], check=True)
    work = tmp_path / "work"
    work.mkdir()
    check_read_only(mount / "db", work, start, "Read-only file system")


def test_a_read_only_mount_of_what_somebody_writes(tmp_path: Path, place: Path) -> None:
    """A volume that one container owns and another has read-only: its files may change any time."""
    at = tmp_path / "view"
    at.mkdir()
    bound = subprocess.run(
        ["mount", "--bind", str(place), str(at)], capture_output=True, check=False
    )
    if bound.returncode:
        pytest.skip("NOT TESTED: a read-only mount takes the right to mount")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(at)], check=True)
        with kvengine.open(place, live_access=False):
            ended = start(at, "backup b", cwd=tmp_path)
            assert ended.returncode == UNAVAILABLE
            assert str(os.getpid()) in ended.stderr
        with kvengine.open(place):  # it is asked for a checkpoint, at a path that it cannot write
            ended = start(at, "backup b", cwd=tmp_path)
            assert ended.returncode == FAILED and "Read-only file system" in ended.stderr
        assert start(place, "backup b --list --json", cwd=tmp_path).stdout == ""
        assert [each for each in place.iterdir() if each.is_dir()] == []
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


def test_targets_that_cannot_be_written(place: Path, tmp_path: Path, stranger: Start) -> None:
    """The command says which path, and leaves nothing half done."""
    cwd = tmp_path / "cwd"
    cwd.mkdir(mode=0o555)
    give(place)
    for words in (
        "backup b",
        "checkpoint c",
        "repair m",
        "export e",
        "copy {} d",
        "bench --directory .",
    ):
        ended = stranger(place, words.format(place), cwd=cwd)
        assert ended.returncode in (FAILED, UNAVAILABLE)
        assert "Permission denied" in ended.stderr and ended.stdout == ""
        assert ended.stderr.count("\n") == 1
    assert list(cwd.iterdir()) == []
