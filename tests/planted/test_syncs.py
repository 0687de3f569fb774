"""Each sync of the engine, left out: power cuts find it, or the reason why none could is here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.planted.patched import Sync, copy, must_find, run, syncs

pytestmark = [pytest.mark.planted, pytest.mark.timeout(300)]

CRASHES = "tests/crash/test_power_cut.py"

NOT_FOR_DURABILITY = {
    "storage/segment/writer.py SegmentWriter._flush self._file.datasync()": (
        "spreads the work; `finish` syncs the whole file before anything names it"
    ),
    "storage/wal/file.py WalWriter.__init__ self._file.sync()": (
        "spreads the work; `begin` syncs under the locks of rotation, before the first record"
    ),
    "storage/lifecycle/rotate.py _swap committer.sync()": (
        "spreads the work; `seal` syncs again, under the locks and with little left to do"
    ),
    "storage/commit.py Committer._finish_and_sync self.sync()": (
        "an interrupted commit did not return; tests/durability holds that it becomes visible"
    ),
}

FOUND = [one for one in syncs() if one.name not in NOT_FOR_DURABILITY]


def test_the_reasons_are_those_of_syncs_that_exist() -> None:
    """A sync that went takes its reason along."""
    assert NOT_FOR_DURABILITY.keys() <= {one.name for one in syncs()}
    assert len({one.name for one in FOUND}) == len(FOUND) > 10


def test_the_copy_itself_is_sound(tmp_path: Path) -> None:
    """With every sync in its place no power cut takes anything."""
    copy(tmp_path, [])
    status, output = run(tmp_path, CRASHES, "-k", "[1] or [2] or [3]")
    assert status == 0, output


@pytest.mark.parametrize("sync", FOUND, ids=lambda one: one.name)
def test_a_sync_left_out_is_found(sync: Sync, tmp_path: Path) -> None:
    """Without it some power cut loses a synced commit, or the directory does not open."""
    must_find(tmp_path, [sync.left_out()], "Lost|CorruptionError|NotADatabase", CRASHES)
