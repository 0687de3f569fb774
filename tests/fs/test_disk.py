"""The real file system: short system calls, refused kinds of files, locks and forks."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kvengine.fs import DiskFileSystem, calls

fs = DiskFileSystem()


def failing(code: int) -> Callable[..., Any]:
    def call(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return call


def descriptors(directory: Path) -> list[int]:
    """The descriptors of this process that lead into the directory."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:
            continue
        if target.startswith(f"{directory}/"):
            found.append(int(fd))
    return found


@pytest.mark.plain
def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`write` writes all, however little the system takes at a time."""
    file = fs.create(str(tmp_path / "a"))
    write = calls.write
    monkeypatch.setattr(calls, "write", lambda fd, data: write(fd, bytes(data)[:3]))
    file.write(b"0123456789")
    file.write(memoryview(b"abcdefgh"))
    assert file.pread(100, 0) == b"0123456789abcdefgh"


@pytest.mark.plain
def test_a_write_of_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that takes nothing and says nothing raises EIO instead of looping for ever."""
    file = fs.create(str(tmp_path / "a"))
    monkeypatch.setattr(calls, "write", lambda fd, data: 0)
    with pytest.raises(OSError, match=f"Errno {errno.EIO}]"):
        file.write(b"x")


@pytest.mark.plain
def test_position_after_a_failed_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an error the position tells how much of the data is in the file."""
    file = fs.create(str(tmp_path / "a"))
    write = calls.write
    takes = iter([4])

    def full_disk(fd: int, data: bytes) -> int:
        for length in takes:
            return write(fd, data[:length])
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(calls, "write", full_disk)
    with pytest.raises(OSError, match="full"):
        file.write(b"0123456789")
    assert file.position() == file.size() == 4


@pytest.mark.plain
def test_short_reads_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`pread` returns all that is asked for, however little the system gives at a time."""
    file = fs.create(str(tmp_path / "a"))
    file.write(b"0123456789")
    pread = calls.pread
    monkeypatch.setattr(
        calls, "pread", lambda fd, length, offset: pread(fd, min(length, 3), offset)
    )
    assert file.pread(8, 1) == b"12345678"
    assert file.pread(20, 1) == b"123456789"


def test_allocate_writes_zeros(tmp_path: Path) -> None:
    """Bytes that are there stay, and so does the position."""
    file = fs.create(str(tmp_path / "a"))
    file.write(b"abc")
    file.allocate(0, 2_500_000)
    assert file.size() == 2_500_000
    assert file.pread(3_000_000, 0) == b"abc" + bytes(2_499_997)
    assert file.position() == 3
    file.allocate(0, 10)
    assert file.size() == 2_500_000


@pytest.mark.plain
def test_allocate_raises_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pwrite", failing(errno.ENOSPC))
    file = fs.create(str(tmp_path / "a"))
    with pytest.raises(OSError, match=f"Errno {errno.ENOSPC}]"):
        file.allocate(0, 100)
    assert file.size() == 0


def test_planted_files_are_refused(tmp_path: Path) -> None:
    """A symbolic link does not lead elsewhere and a FIFO does not block: `OSError` at once."""
    outside = tmp_path / "outside"
    outside.write_bytes(b"secret")
    os.symlink(outside, tmp_path / "link")
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "fifo"):
        path = str(tmp_path / name)
        for call in (fs.open, fs.open_write, fs.read_bytes, fs.lock, fs.create):
            with pytest.raises(OSError, match=path):
                call(path)
        assert fs.exists(path)
    assert outside.read_bytes() == b"secret"


def test_descriptors_are_closed_with_the_last_reference(tmp_path: Path) -> None:
    """A reader that drops a file without closing it leaks no descriptor, nor does a refusal."""
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "d").mkdir()
    files = [fs.open(str(tmp_path / "a")) for _ in range(10)]
    assert len(descriptors(tmp_path)) == 10
    del files
    with pytest.raises(IsADirectoryError):
        fs.open(str(tmp_path / "d"))
    lock = fs.lock(str(tmp_path / "LOCK"))
    assert lock is not None
    assert fs.lock(str(tmp_path / "LOCK")) is None
    assert len(descriptors(tmp_path)) == 1
    lock.release()
    assert descriptors(tmp_path) == []


def test_descriptors_are_not_inherited(tmp_path: Path) -> None:
    """A program that the process starts gets neither files nor the lock."""
    holders = fs.create(str(tmp_path / "a")), fs.lock(str(tmp_path / "LOCK"))
    opened = descriptors(tmp_path)
    assert len(opened) == len(holders)
    assert not any(os.get_inheritable(fd) for fd in opened)


def test_a_forked_child_releases_nothing(tmp_path: Path) -> None:
    """P7: a child that releases its copy of the lock, or ends, leaves the parent its holder."""
    path = str(tmp_path / "LOCK")
    lock = fs.lock(path)
    assert lock is not None
    pid = os.fork()
    if pid == 0:
        try:
            lock.release()
            os._exit(0 if fs.lock(path) is None else 1)
        finally:
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0
    assert fs.lock(path) is None


def test_makedirs_syncs_the_parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P1: each directory that `makedirs` creates is durable, and nothing is synced twice."""
    synced: list[str] = []
    monkeypatch.setattr(DiskFileSystem, "sync_dir", lambda self, path: synced.append(path))
    fs.makedirs(str(tmp_path / "a" / "b"))
    assert synced == [str(tmp_path), str(tmp_path / "a")]
    fs.makedirs(str(tmp_path / "a" / "b"))
    assert len(synced) == 2


def test_sync_dir_reports_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that failed to sync raises; one whose file system has no such thing does not."""
    monkeypatch.setattr("kvengine.fs.disk._fsync", failing(errno.EIO))
    with pytest.raises(OSError, match=f"Errno {errno.EIO}]"):
        fs.sync_dir(str(tmp_path))
    monkeypatch.setattr("kvengine.fs.disk._fsync", failing(errno.EINVAL))
    fs.sync_dir(str(tmp_path))


def test_a_failed_sync_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P6: the error of a sync reaches the caller, once per call."""
    file = fs.create(str(tmp_path / "a"))
    monkeypatch.setattr("kvengine.fs.disk._fsync", failing(errno.EIO))
    monkeypatch.setattr("kvengine.fs.disk._fdatasync", failing(errno.EIO))
    for call in (file.sync, file.datasync):
        with pytest.raises(OSError, match=f"Errno {errno.EIO}]"):
            call()


# --- an open directory


def test_a_lock_of_a_directory_holds_under_every_path(tmp_path: Path) -> None:
    """P7: a link, and a path through another directory, lead to the directory that is held."""
    (tmp_path / "d").mkdir()
    os.symlink(tmp_path / "d", tmp_path / "link")
    lock = fs.lock_dir(str(tmp_path / "link"))
    assert lock is not None and lock.in_place()
    assert fs.lock_dir(str(tmp_path / "d")) is None
    os.unlink(tmp_path / "link")
    (tmp_path / "other").mkdir()
    os.symlink(tmp_path / "other", tmp_path / "link")
    assert not lock.in_place()


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF, errno.ENOLCK])
def test_a_directory_that_cannot_be_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Where directories have no flock `lock_dir` keeps nobody out, and still knows its place.

    A file that cannot be locked is an error.
    """
    monkeypatch.setattr("fcntl.flock", failing(code))
    path = str(tmp_path / "d")
    fs.makedirs(path)
    locks = fs.lock_dir(path), fs.lock_dir(path)
    assert all(lock is not None and lock.in_place() for lock in locks)
    os.rename(path, f"{path}.aside")
    assert not any(lock is None or lock.in_place() for lock in locks)
    with pytest.raises(OSError, match=f"Errno {code}]"):
        fs.lock(str(tmp_path / "LOCK"))


def test_a_lock_that_fails_otherwise_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupted or failing flock is no lack of support, and leaves nothing open."""
    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr("fcntl.flock", failing(errno.EIO))
    for call in (fs.lock_dir, lambda path: fs.lock(f"{path}/LOCK")):
        with pytest.raises(OSError, match=f"Errno {errno.EIO}]"):
            call(str(tmp_path))
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_planted_files_in_an_open_directory_are_refused(tmp_path: Path) -> None:
    """P10: a link does not lead out of the directory and a FIFO does not block, here as by path."""
    (tmp_path / "d").mkdir()
    outside = tmp_path / "outside"
    outside.write_bytes(b"secret")
    os.symlink(outside, tmp_path / "d" / "link")
    os.mkfifo(tmp_path / "d" / "fifo")
    home = fs.open_dir(str(tmp_path / "d"))
    for name in ("link", "fifo"):
        path = str(tmp_path / "d" / name)
        for call in (home.open, home.open_write, home.read_bytes, home.lock, home.create):
            with pytest.raises(OSError, match=path):
                call(path)
    assert outside.read_bytes() == b"secret"


def test_an_open_directory_that_was_removed_takes_nothing(tmp_path: Path) -> None:
    """Its path may be another's by now: nothing is made there."""
    path = str(tmp_path / "d")
    fs.makedirs(path)
    home = fs.open_dir(path)
    os.rmdir(path)
    fs.makedirs(path)
    with pytest.raises(FileNotFoundError, match=f"{path}/a"):
        home.create(f"{path}/a")
    with pytest.raises(FileNotFoundError, match=f"{path}/x"):
        home.makedirs(f"{path}/x")
    assert home.listdir(path) == os.listdir(path) == []


def test_an_open_directory_is_closed_with_its_last_reference(tmp_path: Path) -> None:
    """Whoever still works in it keeps it: the number of a closed one is soon another file's."""
    before = len(os.listdir("/proc/self/fd"))
    home = fs.open_dir(str(tmp_path))
    lock = home.lock(str(tmp_path / "LOCK"))
    assert lock is not None
    del home
    assert lock.in_place()
    lock.release()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_a_forked_child_keeps_no_copy_of_a_lock(tmp_path: Path, kind: str) -> None:
    """P7: a child has closed its copy before it runs, and what the parent gives up is free at once.

    flock belongs to the open file: a copy in a child, which may know nothing of the lock, held it
    for as long as the child lived.
    """
    take, path = (fs.lock, "LOCK") if kind == "file" else (fs.lock_dir, "d")
    (tmp_path / "d").mkdir()
    lock = take(str(tmp_path / path))
    assert lock is not None
    wait, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go)
        os.read(wait, 1)
        os._exit(lock.fileno() != -1)
    try:
        assert take(str(tmp_path / path)) is None
        lock.release()
        assert take(str(tmp_path / path)) is not None
    finally:
        os.close(wait)
        os.close(go)
        assert os.waitpid(pid, 0)[1] == 0
