"""Backups through the socket of an owner that goes on writing are each of one moment."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import kvengine
from kvengine.inspection.access import Access
from kvengine.inspection.backup.backup import BackedUp, backup
from kvengine.inspection.backup.files import generations
from kvengine.inspection.backup.restore import restore
from kvengine.inspection.backup.verify import verify_backup
from tests.inspection.backup_owner import entries

ROOT = Path(__file__).resolve().parents[2]
BACKUPS = 5


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that owns ``db`` and writes; the first thousand commits are there."""
    command = [sys.executable, "-m", "tests.inspection.backup_owner", str(tmp_path / "db")]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"1000\n"
        yield process
        process.kill()


def after(number: int) -> dict[str, bytes]:
    """The objects between, after a commit."""
    return dict(entries(n) for n in range(1, number + 1))


def last(access: Access) -> int:
    """The last commit of the owner that a reader sees."""
    return int(access.store.get("s", "last", "n") or b"0")


def test_each_backup_beside_a_writing_owner_is_of_an_exact_moment(
    tmp_path: Path, owner: subprocess.Popen[bytes]
) -> None:
    """All commits up to one, in whole, and none behind it: the one whose stamp the record has."""
    made: list[BackedUp] = []
    with Access(str(tmp_path / "db"), write=True) as access:
        assert access.mode == "live"
        for _ in range(BACKUPS):
            made.append(backup(access.store, tmp_path / "backups"))
            reached = last(access)
            while last(access) < reached + 300:  # it goes on
                assert owner.poll() is None
    owner.communicate(timeout=60)
    assert owner.returncode == 0
    assert verify_backup(tmp_path / "backups") == []
    assert not list((tmp_path / "db").glob("backup-*"))
    numbers = []
    for done in made:
        into = tmp_path / f"restored{done.generation}"
        assert restore(tmp_path / "backups", into, done.generation).stamp == done.stamp
        with kvengine.open(into, background="none", create=False) as db:
            assert db.verify() == []
            found = {one.key: one for one in db.scan("s")}
            number = int(found["last"].entries["n"])
            assert found["first"].entries == found["last"].entries
            assert found["first"].version == found["last"].version == done.stamp
            del found["first"], found["last"]
            assert {key: one.entries["v"] for key, one in found.items()} == after(number)
            numbers.append(number)
    assert numbers == sorted(set(numbers)) and numbers[0] >= 1000


def test_a_database_without_an_owner_is_opened_for_the_backup(tmp_path: Path) -> None:
    """As ``Access`` with ``write=True`` opens it; then it is nobody's again."""
    with kvengine.open(tmp_path / "db", background="none") as db:
        db.set("s", "k", "n", b"1")
    for number in (1, 2):
        with Access(str(tmp_path / "db"), write=True) as access:
            assert access.mode == "own"
            assert backup(access.store, tmp_path / "backups", keep=1).generation == number
    assert [one.number for one in generations(tmp_path / "backups")] == [2]
    with kvengine.open(tmp_path / "db", background="none") as db:
        assert db.stats().recovery == ()
