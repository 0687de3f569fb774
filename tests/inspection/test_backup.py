"""Backup and restore: each generation is the database of its moment, and costs what is new."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

import kvengine
from kvengine.errors import DatabaseLocked, KVEngineError
from kvengine.fs.disk import DiskFileSystem
from kvengine.fs.memory import MemoryFileSystem
from kvengine.inspection.access import Access
from kvengine.inspection.backup.backup import BackupRunning, Progress, backup
from kvengine.inspection.backup.files import NoBackup, generations
from kvengine.inspection.backup.restore import Restored, restore
from kvengine.inspection.backup.verify import verify_backup
from kvengine.storage import filenames
from kvengine.storage.manifest import file as manifest
from tests.inspection.backups import (
    PLACE,
    make,
    names,
    open_db,
    restored,
    state,
    step,
    three,
)
from tests.regressions.disks import HookedDisk


def test_each_generation_is_the_database_of_its_moment() -> None:
    """Entries, versions and expiries, in segments and in the WAL, whatever was written since."""
    fs = MemoryFileSystem()
    states = three(fs)
    assert len({len(one) for one in states}) > 1
    for number, wanted in enumerate(states, 1):
        assert restored(fs, number) == wanted
    assert restored(fs) == states[-1]
    assert verify_backup(PLACE, fs=fs) == []


def test_an_empty_database_and_one_reopened_are_backed_up() -> None:
    fs = MemoryFileSystem()
    with open_db(fs) as db:
        make(db, fs)
        db.set("s", "k", "n", b"1")
    with open_db(fs) as db:
        db.set("s", "k", "m", b"2")
        make(db, fs)
        wanted = state(db)
    assert restored(fs, 1) == [] and restored(fs, 2) == wanted


def test_a_backup_copies_only_segments_that_are_not_there() -> None:
    """What the trace tells of writes is what the report tells, and is the new segment alone."""
    fs = MemoryFileSystem()
    with open_db(fs, memtable_size=10_000_000) as db:
        for number in range(5):
            db.set("s", f"k{number}", "n", os.urandom(20_000))
            db.flush()
        first = make(db, fs)
        db.set("s", "k9", "n", os.urandom(30_000))
        db.flush()
        fs.trace = []
        second = make(db, fs)
        made = [call[1] for call in fs.trace if call[0] == "create" and call[1].startswith(PLACE)]
        fs.trace = []
        third = make(db, fs)
        made_again = [call[1] for call in fs.trace if call[0] == "create" and PLACE in call[1]]
    assert first.copied_bytes == first.bytes and first.copied_bytes > 100_000
    assert second.bytes > 130_000 and 30_000 < second.copied_bytes < 35_000
    assert third.bytes > 130_000 and third.copied_bytes < 5_000
    assert len([path for path in made if ".segment" in path]) == 1
    assert [path for path in made_again if ".segment" in path] == []
    assert len(made) == second.copied_files + 1  # and the record


def test_the_directory_holds_no_more_than_the_layout_tells() -> None:
    """And of the database's own directory nothing more than it had."""
    fs = MemoryFileSystem()
    with open_db(fs) as db:
        step(db, 0)
        fs.trace = []
        make(db, fs)
        made_here = {call[1].split("/")[2] for call in fs.trace if call[1].startswith("/db/")}
        assert [name for name in made_here if name.startswith("backup-")]
        assert [name for name in names(fs, "/db") if name.startswith("backup-")] == []
    shapes = sorted({name.split("-")[-1].split(".")[-1] for name in names(fs)})
    assert shapes == ["BACKUP", "CURRENT", "generation", "manifest", "segment", "wal"]


def test_segments_go_by_hard_links_whatever_lies_beside_the_directory() -> None:
    """The checkpoint lies where links always work: no segment is written twice."""
    fs = MemoryFileSystem()
    with open_db(fs) as db:
        for number in range(3):
            step(db, number)
        fs.trace = []
        make(db, fs)
        inside = [call for call in fs.trace if call[1].startswith("/db/")]
        linked = [call for call in inside if call[0] == "link" and call[1].endswith(".segment")]
        made = [call for call in inside if call[0] == "create" and call[1].endswith(".segment")]
        assert len(linked) == 3 and made == []


@pytest.mark.parametrize("keep", [1, 2, 3, 9])
def test_the_newest_generations_stay(keep: int) -> None:
    """Files that only older ones named are gone; those that stay can be restored."""
    fs = MemoryFileSystem()
    states = []
    with open_db(fs) as db:
        for number in range(6):
            step(db, number)
            if number == 3:
                db.compact()
            states.append(state(db))
            done = make(db, fs, keep=keep)
            assert done.removed == ((number + 1 - keep,) if number + 1 > keep else ())
    stay = [one.number for one in generations(PLACE, fs=fs)]
    assert stay == list(range(1, 7))[-keep:]
    for number in stay:
        assert restored(fs, number) == states[number - 1]
    named = {
        file.stored
        for one in generations(PLACE, fs=fs)
        if one.record is not None
        for file in one.record.files
    }
    records = {f"{number:06}.generation" for number in stay}
    assert set(names(fs)) == named | records | {"BACKUP"}


def test_generations_tell_what_they_are() -> None:
    fs = MemoryFileSystem()
    assert generations("/nowhere", fs=fs) == []
    with open_db(fs) as db:
        stamp = db.set("s", "k", "n", b"1")
        done = make(db, fs)
        (one,) = generations(PLACE, fs=fs)
        assert one.record is not None and one.damage == ""
        assert (one.number, one.record.stamp, one.record.time) == (1, stamp, 1_000.5)
        assert one.bytes == done.bytes and len(one.record.files) == done.files
        assert done.stamp == stamp


def test_the_stamp_is_that_of_the_last_commit_that_a_generation_holds() -> None:
    """A manifest may tell of a later one, for commits go on while a checkpoint is made."""
    fs = MemoryFileSystem()
    with open_db(fs) as db:

        class Busy:
            path = db.path

            def checkpoint(self, path: str) -> None:
                db.checkpoint(path)
                number = manifest.read_current(fs, path)
                catalog = manifest.read(fs, path, number)
                catalog.last_stamp += 1_000
                fs.unlink(f"{path}/{filenames.manifest(number)}")
                manifest.ManifestWriter(fs, path, catalog, number).close()

        for flushed in (False, True):
            stamp = db.set("s", "k", "n", b"1")
            if flushed:
                db.flush()
            assert backup(Busy(), PLACE, fs=fs).stamp == stamp


def test_progress_is_told_of_backup_restore_and_verify() -> None:
    """It grows, and ends where it said it would."""
    fs = MemoryFileSystem()
    runs: list[tuple[str, Callable[[Callable[[Progress], object]], object]]] = []
    with open_db(fs, memtable_size=10_000_000) as db:
        db.set("s", "k", "n", os.urandom(3_000_000))
        db.flush()
        runs.append(("backup", lambda told: make(db, fs, progress=told)))
        runs.append(("restore", lambda told: restore(PLACE, "/new", fs=fs, progress=told)))
        runs.append(("verify", lambda told: verify_backup(PLACE, fs=fs, progress=told)))
        for name, run in runs:
            told: list[Progress] = []
            run(told.append)
            assert [one.done for one in told] == sorted(one.done for one in told), name
            assert told[-1].done == told[-1].total > 3_000_000 and len(told) > 3, name


# --- what is refused


def test_two_backups_do_not_collide() -> None:
    """The second is refused with the first's process, which goes on."""
    fs = MemoryFileSystem()
    refused = []

    def second(at: Progress) -> None:
        with pytest.raises(BackupRunning, match=f"process {os.getpid()} is making a backup") as one:
            make(db, fs)
        refused.append(one)

    with open_db(fs) as db:
        step(db, 0)
        make(db, fs, progress=second)
        assert refused
        make(db, fs)
    assert [one.number for one in generations(PLACE, fs=fs)] == [1, 2]


def test_generations_that_go_while_backups_are_verified_are_no_damage() -> None:
    """A nightly ``backup --verify`` met a ``backup --keep 1``, and told of missing files."""
    calls = 0
    for n in count(1):
        fs = HookedDisk()
        three(fs)
        met = calls = 0

        def prune(called: str, path: str, fs: HookedDisk = fs, n: int = n) -> None:
            nonlocal calls, met
            calls += 1
            if calls == n:
                fs.hook, met = None, n
                with open_db(fs) as db:
                    make(db, fs, keep=1)

        fs.hook = prune
        assert verify_backup(PLACE, fs=fs) == []
        assert met or n > 5
        if not met:
            break


def test_places_that_make_no_sense_are_refused() -> None:
    """Another database's backups, a database, the database itself; and nothing is changed there."""
    fs = MemoryFileSystem()
    with open_db(fs) as db, open_db(fs, "/other") as other:
        make(db, fs)
        before = names(fs)
        with pytest.raises(KVEngineError, match="another database"):
            make(other, fs)
        assert names(fs) == before
        for path in ("/other", "/db"):
            with pytest.raises(KVEngineError, match="is a database"):
                backup(db, path, fs=fs)
        with pytest.raises(KVEngineError, match="lies in the database"):
            backup(db, "/db/backups", fs=fs)
        assert not fs.exists("/db/backups")
        for keep in (0, -1):
            with pytest.raises(ValueError, match="keep must be 1 or more"):
                make(db, fs, keep=keep)
        assert not [name for name in names(fs, "/db") if name.startswith("backup-")]


def test_files_of_others_in_the_directory_are_left_alone() -> None:
    fs = MemoryFileSystem()
    strangers = ("notes.tmp", "README", "LOCK", "1.generation", "x-CURRENT", "a.segment.tmp")
    fs.makedirs(PLACE)
    for name in strangers:
        fs.create(f"{PLACE}/{name}").close()
    with open_db(fs) as db:
        for number in range(3):
            step(db, number)
            make(db, fs, keep=1)
    assert set(strangers) <= set(names(fs))


def test_no_backup_is_made_of_files_that_an_owner_may_change(tmp_path: Path) -> None:
    """The files alone are copied only while nobody owns them."""
    path = tmp_path / "db"
    with kvengine.open(path, background="none") as db:
        db.set("s", "k", "n", b"1")
        with Access(str(path)) as access:
            assert access.mode == "files"
            with pytest.raises(DatabaseLocked):
                backup(access.store, tmp_path / "backups")
    assert generations(tmp_path / "backups") == []
    with Access(str(path)) as access:
        assert backup(access.store, tmp_path / "backups").generation == 1
    restore(tmp_path / "backups", tmp_path / "restored")
    with kvengine.open(tmp_path / "restored") as db:
        assert db.get("s", "k", "n") == b"1"


def test_restore_takes_an_empty_or_a_new_directory_alone() -> None:
    fs = MemoryFileSystem()
    states = three(fs)
    fs.makedirs("/empty")
    fs.create("/file").close()
    for place in ("/db", PLACE, "/file"):
        before = {path: fs.read_bytes(path) for path in fs.paths()}
        with pytest.raises(KVEngineError, match="is taken"):
            restore(PLACE, place, fs=fs)
        assert {path: fs.read_bytes(path) for path in fs.paths()} == before
    assert isinstance(restore(PLACE, "/empty", fs=fs), Restored)
    with open_db(fs, "/empty", create=False) as db:
        assert state(db) == states[-1]
    for place in ("/nowhere", "/db"):
        for verb in (lambda p: restore(p, "/n", fs=fs), lambda p: verify_backup(p, fs=fs)):
            with pytest.raises(NoBackup, match="holds no backup"):
                verb(place)
    with pytest.raises(NoBackup, match="no generation 4: choose from 1, 2, 3"):
        restore(PLACE, "/n", 4, fs=fs)
    assert not fs.exists("/n")


# --- on a disk


def test_a_restored_database_goes_on_and_so_do_its_backups(tmp_path: Path) -> None:
    """It is the same database: its next backup stands beside those from before the loss."""
    place = tmp_path / "backups"
    with kvengine.open(tmp_path / "db", background="none") as db:
        db.set("s", "k", "n", b"1")
        db.flush()
        backup(db, place)
        db.set("s", "k", "n", b"lost")
        db.flush()
        backup(db, place)
    restore(place, tmp_path / "again", 1)
    with kvengine.open(tmp_path / "again", background="none") as db:
        assert db.get("s", "k", "n") == b"1"
        db.set("s", "k", "m", b"2")
        db.flush()
        assert backup(db, place).generation == 3
    for number, wanted in ((1, {"n": b"1"}), (2, {"n": b"lost"}), (3, {"m": b"2", "n": b"1"})):
        restore(place, tmp_path / f"r{number}", number)
        with kvengine.open(tmp_path / f"r{number}", background="none", create=False) as db:
            assert db.get_all("s", "k") == wanted
    assert verify_backup(place) == []


def test_a_backup_holds_bytes_of_its_own(tmp_path: Path) -> None:
    """No hard link ties it to the database, on one file system too."""
    with kvengine.open(tmp_path / "db", background="none") as db:
        db.set("s", "k", "n", b"1")
        db.flush()
        backup(db, tmp_path / "backups")
        assert all(path.stat().st_nlink == 1 for path in (tmp_path / "backups").iterdir())
        assert all(path.stat().st_nlink == 1 for path in (tmp_path / "db").glob("*.segment"))


def test_what_looks_like_a_leftover_and_is_a_link_is_not_followed(tmp_path: Path) -> None:
    """Broken checkpoints are cleared by their name; a link of that name leads nowhere."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "000001.segment").write_bytes(b"x")
    with kvengine.open(tmp_path / "db", background="none") as db:
        marks: list[str] = []
        real = DiskFileSystem.isdir

        class Watching(DiskFileSystem):
            def isdir(self, path: str, /) -> bool:
                marks.append(path)
                return real(self, path)

        backup(db, tmp_path / "backups", fs=Watching())
        (mark,) = {os.path.basename(path) for path in marks if "/db/backup-" in path}
        beginning = mark.rpartition("-")[0]
        (tmp_path / "db" / f"{beginning}-1").symlink_to(precious)
        (tmp_path / "db" / f"{beginning}-2").mkdir()
        (tmp_path / "db" / f"{beginning}-2" / "000001.segment").write_bytes(b"left")
        backup(db, tmp_path / "backups")
        assert (precious / "000001.segment").exists()
        assert not (tmp_path / "db" / f"{beginning}-2").exists()
