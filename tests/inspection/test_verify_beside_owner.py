"""The audit beside a running owner, on failing disks, and what it counts and reports."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest

import kvengine
from kvengine import NotADatabase
from kvengine.fs.base import File
from kvengine.fs.faulty import FaultyFileSystem
from kvengine.fs.memory import MemoryFileSystem
from kvengine.inspection.audit.verify import Audit, Finding, audit
from tests.inspection.damage_forge import forge_manifest, put
from tests.inspection.damage_subjects import Subject, rich


def grow(db: kvengine.Engine, stop: threading.Event) -> None:
    """Commits of every kind, with flushes and compactions: files come and go all the time."""
    number = 0
    while not stop.is_set():
        number += 1
        batch = kvengine.Batch()
        batch.set("s", f"k{number % 50}", "n", b"x" * (number % 300))
        db.write(batch, durability="sync" if number % 7 == 0 else "os")
        if number % 20 == 0:
            db.flush()
        if number % 100 == 0:
            db.compact()


def different(seen: list[Audit]) -> int:
    return len({(one.files, one.objects, one.bytes) for one in seen})


@pytest.mark.parametrize("place", ["memory", "disk"])
def test_a_running_owner_is_no_damage(place: str, tmp_path: Path) -> None:
    """Files that come and go, a WAL that grows and is sealed: no finding, look after look."""
    fs = MemoryFileSystem() if place == "memory" else None
    directory = "/db" if place == "memory" else str(tmp_path / "db")
    kind = "none" if place == "memory" else "thread"
    stop = threading.Event()
    options = {"background": kind, "memtable_size": 3000, "durability": "os"}
    with kvengine.open(directory, fs=fs, **options) as db:
        db.set("s", "k", "n", b"")
        thread = threading.Thread(target=grow, args=(db, stop))
        thread.start()
        try:
            seen: list[Audit] = []
            while len(seen) < 60 or (different(seen) < 6 and len(seen) < 2000):
                seen.append(audit(directory, fs))
        finally:
            stop.set()
            thread.join()
        assert [one.damage for one in seen if one.damage] == []
        assert [one for each in seen for one in each.notes if "torn" in one.reason] == []
        assert different(seen) >= 6, "the owner did nothing meanwhile"
    assert audit(directory, fs).findings == []


class Restless(FaultyFileSystem):
    """Beside an owner so busy that at each look another file has just gone, never the same.

    CURRENT is what each look begins with: the manifest has then changed, and a file is away.
    """

    def __init__(self, inner: MemoryFileSystem, hidden: list[str]) -> None:
        super().__init__(inner)
        self.looks = 0
        self._hidden = hidden

    def open(self, path: str, /) -> File:
        if path.endswith("CURRENT"):
            self.looks += 1
            forge_manifest(self.inner, lambda one: None)
        if path == self._hidden[self.looks % len(self._hidden)]:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return super().open(path)


def test_an_owner_too_busy_for_two_looks_to_agree_is_no_damage(closed: Subject) -> None:
    """Damage that stays is told all the same.

    Under some thousand flushes a minute the last of the looks was believed, missing files
    and all.
    """
    wals, (damaged, *_) = closed.paths("wal"), closed.paths("segment")
    restless = Restless(closed.fs.copy(), wals)
    assert audit("/db", restless).damage == []
    assert restless.looks > 10
    inner = closed.fs.copy()
    inner.flip(damaged, 100)
    assert {one.path for one in audit("/db", Restless(inner, wals)).damage} == {damaged}


def test_a_disk_that_fails_now_here_now_there_is_damage(closed: Subject) -> None:
    """Where no owner changes anything, looks that do not agree are no excuse."""

    class Flickering(Restless):
        def open(self, path: str, /) -> File:
            if path.endswith("CURRENT"):
                self.looks += 1
            if path == self._hidden[self.looks % len(self._hidden)]:
                raise OSError(errno.EIO, "Input/output error", path)
            return FaultyFileSystem.open(self, path)

    assert audit("/db", Flickering(closed.fs.copy(), closed.paths("wal"))).damage


def test_a_record_that_is_being_written_is_no_torn_tail() -> None:
    """Half of it at the first look, all of it at the second: there is nothing to note."""
    killed = rich("os")
    inner, path = killed.fs.copy(), killed.last_wal
    whole = inner.read_bytes(path)
    inner.cut(path, killed.tail[-1].end - 3)

    class Writing(FaultyFileSystem):
        looks = 0

        def open(self, name: str, /) -> File:
            self.looks += name.endswith("CURRENT")
            if self.looks == 2:
                put(inner, path, whole)
            return super().open(name)

    assert audit("/db", Writing(inner)).findings == []


def test_nothing_is_written_and_no_lock_is_taken(tmp_path: Path) -> None:
    """On a directory of which nothing may be written, beside the owner who holds the lock."""
    trace: list[tuple[str, ...]] = []
    fs = MemoryFileSystem()
    with kvengine.open("/db", fs=fs, background="none") as db:
        db.set("s", "k", "n", b"v")
        db.flush()
        fs.trace = trace
        assert audit("/db", fs).damage == []
        assert trace == []


@pytest.fixture(scope="module")
def closed() -> Subject:
    return rich("closed")


def test_damage_that_stays_is_told_once(closed: Subject) -> None:
    """A look that finds damage is taken again; its findings are not doubled, nor its figures."""
    fs = closed.fs.copy()
    path = closed.paths("segment")[0]
    fs.flip(path, 40)
    found = audit("/db", fs)
    assert [(one.path, one.offset) for one in found.damage] == [(path, 32)]
    assert found.files == len(closed.paths())
    assert found.bytes == sum(map(fs.size, closed.paths()))


@pytest.mark.parametrize("operation", ["pread", "open", "size"])
def test_a_disk_that_fails_is_a_finding(closed: Subject, operation: str) -> None:
    """Each call in turn: the file it was for is named, the others are checked all the same.

    A call that fails once and then no more is none: what is told is what two looks agree on.
    """
    calls, failure = 0, OSError(errno.EIO, "Input/output error")
    faulty = FaultyFileSystem(closed.fs.copy())
    for calls in range(1, 500):
        faulty.fail_at(calls, failure, operations=[operation])
        found = audit("/db", faulty)
        assert found.damage == []
        if not faulty.failures:
            break
        faulty.fail_at(calls, failure, operations=[operation], sticky=True)
        found = audit("/db", faulty)
        assert any("cannot be read: Input/output error" in one.reason for one in found.damage)
    else:
        pytest.fail("the run never came through")
    assert calls > 5


def test_progress_goes_forward_to_the_end(closed: Subject) -> None:
    """Bytes done never fall and end where all bytes are."""
    told: list[tuple[int, int]] = []
    found = audit("/db", closed.fs, lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert all(done <= total for done, total in told)
    assert told[-1] == (found.bytes, found.bytes) and len(told) > 20


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_bytes(b"")
    for name, reason in (
        ("absent", "does not exist"),
        ("file", "is a file or a broken symbolic link; a database is a directory"),
        ("empty", "holds no database"),
        ("other", "holds no database"),
    ):
        with pytest.raises(NotADatabase, match=reason):
            audit(str(tmp_path / name))


def test_a_making_that_broke_off_is_a_note(closed: Subject) -> None:
    """A manifest alone: the next open makes a database there. With a WAL beside it, damage."""
    fs = MemoryFileSystem()
    with kvengine.open("/db", fs=fs, background="none"):
        pass
    (path,) = [one for one in fs.paths() if one.endswith(".manifest")]
    (wal,) = [one for one in fs.paths() if one.endswith(".wal")]
    data = fs.read_bytes(wal)
    fs.unlink("/db/CURRENT")
    assert "/db/CURRENT" in {one.path for one in audit("/db", fs).damage}
    fs.unlink(wal)
    found = audit("/db", fs)
    assert any(one.path == "/db/CURRENT" for one in found.notes), found
    fs.unlink(path)
    put(fs, wal, data)
    assert "/db/CURRENT" in {one.path for one in audit("/db", fs).damage}


def test_a_finding_says_where_and_why() -> None:
    one = Finding("/db/000001.wal", 1234, "torn", "note")
    found = Audit("/db", [one])
    assert str(one) == "/db/000001.wal, offset 1,234: torn"
    assert found.notes == [one] and found.damage == []


def test_a_checkpoint_and_a_repaired_database_have_no_finding(closed: Subject) -> None:
    fs = closed.fs.copy()
    with kvengine.open("/db", fs=fs, background="none") as db:
        db.checkpoint("/copy")
    assert audit("/copy", fs).findings == []
    kvengine.repair("/db", "/repaired", fs=fs)
    assert audit("/repaired", fs).findings == []
