"""The owner's directory: renamed, replaced, its LOCK removed; nobody's data is ruined (P7).

In each story an owner is at work while somebody changes what its path leads to. The owner learns of
it when it next changes its set of files, with `OwnerLost`; what it has committed is in the
directory that it opened, and what has come to its path is not touched.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kvengine
from kvengine import DatabaseLocked, KVEngineError, OwnerLost, WriteFailed
from kvengine.fs import MemoryFileSystem
from kvengine.inspection.audit.verify import audit
from kvengine.storage.compaction import install
from kvengine.storage.database import Database
from tests.regressions.disks import HookedDisk, eventually
from tests.share.raw import reached

ROOT = Path(__file__).resolve().parents[2]
OPTIONS: dict[str, Any] = {"background": "none"}
SMALL: dict[str, Any] = {"memtable_size": 16 * 1024, "durability": "os"}


def opened(path: Path | str, **options: Any) -> kvengine.Engine:
    return kvengine.open(path, **{**OPTIONS, **options})


def fill(db: kvengine.Engine, name: str, count: int = 40) -> None:
    for number in range(count):
        db.set("S", f"{name}{number:03}", "v", b"%d" % number * 50)


def expect(path: Path | str, **counts: int) -> None:
    """Check that a directory is sound and holds exactly what `fill` wrote under these names."""
    assert audit(str(path)).damage == []
    with opened(path) as db:
        keys = [f"{name}{n:03}" for name, count in counts.items() for n in range(count)]
        assert sorted(db.object_keys("S")) == sorted(keys)
        assert all(db.get("S", key, "v") == b"%d" % int(key[-3:]) * 50 for key in keys)
        assert db.verify() == []
        assert db.stats().recovery == ()


def displaced(db: kvengine.Engine) -> None:
    """Check that an owner stops: it changes no file any more, takes no commits, and reads on."""
    for step in (db.flush, db.compact, db.flush):
        with pytest.raises(OwnerLost) as caught:
            step()
        assert caught.value.path == db.path
    with pytest.raises(OwnerLost):
        db.set("S", "late", "v", b"1")
    assert db.get("S", "late", "v") is None
    assert all(db.get("S", key, "v") for key in db.object_keys("S"))


def ended(db: kvengine.Engine) -> None:
    """Close a displaced owner: it says so, once."""
    with pytest.raises(OwnerLost):
        db.close()
    db.close()


def content(path: Path) -> dict[str, bytes]:
    """The files in a directory, but for the pid in LOCK."""
    return {
        one.name: one.read_bytes() for one in path.iterdir() if one.is_file() if one.name != "LOCK"
    }


# --- another directory at the path


@pytest.mark.parametrize("background", ["none", "thread"])
def test_renamed_with_a_successor(tmp_path: Path, background: str) -> None:
    """A directory is moved aside, and its service started anew, before the old one has stopped.

    The old owner wrote, renamed and unlinked by path: neither database opened again.
    """
    path, aside = tmp_path / "s", tmp_path / "s.aside"
    old = opened(path, background=background)
    fill(old, "a")
    old.flush()
    fill(old, "b")
    os.rename(path, aside)
    with opened(path, background=background) as new:
        fill(new, "c")
        displaced(old)
        fill(new, "d")
        new.compact()
        ended(old)
        new.set("S", "late", "v", b"1")
        new.clear("S", "late", "v")
    expect(aside, a=40, b=40)
    expect(path, c=40, d=40)


def test_renamed_and_nobody_at_the_path(tmp_path: Path) -> None:
    """Who looks for the database by its path does not find it: the owner stops, nothing is lost.

    Commits of before the owner noticed are among what is there; the close proved the whole log.
    """
    old = opened(tmp_path / "s")
    fill(old, "a")
    old.flush()
    os.rename(tmp_path / "s", tmp_path / "aside")
    fill(old, "b")
    ended(old)
    assert os.listdir(tmp_path) == ["aside"]
    expect(tmp_path / "aside", a=40, b=40)


def test_renamed_and_back_in_time(tmp_path: Path) -> None:
    """An owner whose directory is in its place again has lost nothing and says nothing."""
    with opened(tmp_path / "s") as db:
        fill(db, "a")
        os.rename(tmp_path / "s", tmp_path / "aside")
        fill(db, "b")
        os.rename(tmp_path / "aside", tmp_path / "s")
        db.flush()
        db.compact()
    expect(tmp_path / "s", a=40, b=40)


def test_only_a_background_thread_notices(tmp_path: Path) -> None:
    """The rotation that is due finds the directory gone: from then on commits raise OwnerLost."""
    old = opened(tmp_path / "s", background="thread", **SMALL)
    fill(old, "a", 5)
    os.rename(tmp_path / "s", tmp_path / "aside")
    opened(tmp_path / "s").close()

    def refused() -> bool:
        try:
            old.set("S", "a000", "v", bytes(50))
        except OwnerLost:
            return True
        return False

    assert eventually(refused)
    assert "OwnerLost" in old.stats().last_background_error
    ended(old)
    with opened(tmp_path / "aside") as db:
        assert len(list(db.object_keys("S"))) == 5 and db.stats().recovery == ()
    expect(tmp_path / "s")


def test_a_symlink_that_moves(tmp_path: Path) -> None:
    """A deployment points `current` at another database while the old service still runs."""
    for name in "ab":
        opened(tmp_path / name).close()
    current = tmp_path / "current"
    os.symlink(tmp_path / "a", current)
    old = opened(current)
    fill(old, "a")
    os.symlink(tmp_path / "b", tmp_path / "next")
    os.replace(tmp_path / "next", current)
    with opened(current) as new:
        fill(new, "b")
        displaced(old)
        new.flush()
        ended(old)
    expect(tmp_path / "a", a=40)
    expect(tmp_path / "b", b=40)


def test_a_symlink_that_goes(tmp_path: Path) -> None:
    """A link that is gone, or leads in a circle, leads nobody to the directory."""
    opened(tmp_path / "a").close()
    for target in (None, "current"):
        os.symlink(tmp_path / "a", tmp_path / "current")
        db = opened(tmp_path / "current")
        os.unlink(tmp_path / "current")
        if target is not None:
            os.symlink(target, tmp_path / "current")
        displaced(db)
        ended(db)
        (tmp_path / "current").unlink(missing_ok=True)
    expect(tmp_path / "a")


def test_a_checkpoint_restored_in_its_place(tmp_path: Path) -> None:
    """A checkpoint has the database's identity and its numbers: nothing but the directory differs.

    The old owner's next WAL and segments were those of the restored database by name.
    """
    path = tmp_path / "s"
    old = opened(path)
    fill(old, "a")
    old.flush()
    old.checkpoint(tmp_path / "copy")
    fill(old, "b")
    os.rename(path, tmp_path / "aside")
    shutil.copytree(tmp_path / "copy", path)
    with opened(path) as new:
        fill(new, "c")
        new.flush()
        displaced(old)
        fill(new, "d")
        ended(old)
    expect(tmp_path / "aside", a=40, b=40)
    expect(path, a=40, c=40, d=40)
    expect(tmp_path / "copy", a=40)


def test_a_checkpoint_copied_over_the_files(tmp_path: Path) -> None:
    """Restored into the same directory, whose files were removed before: its bytes stay as copied.

    Nobody can open it until the old owner has closed. What that one had committed since the
    checkpoint went with the files that were removed.
    """
    path = tmp_path / "s"
    old = opened(path)
    fill(old, "a")
    old.checkpoint(tmp_path / "copy")
    fill(old, "b")
    for one in path.iterdir():
        one.unlink()
    shutil.copytree(tmp_path / "copy", path, dirs_exist_ok=True)
    before = content(path)
    with pytest.raises(DatabaseLocked):
        opened(path)
    displaced(old)
    ended(old)
    assert content(path) == before
    expect(path, a=40)


def test_a_checkpoint_of_a_displaced_owner_makes_nothing(tmp_path: Path) -> None:
    """It would be a copy of what is at no path any more: it is refused, and leaves nothing."""
    old = opened(tmp_path / "s")
    fill(old, "a")
    old.checkpoint(tmp_path / "one")
    os.rename(tmp_path / "s", tmp_path / "aside")
    with pytest.raises(OwnerLost):
        old.checkpoint(tmp_path / "two")
    ended(old)
    assert sorted(os.listdir(tmp_path)) == ["aside", "one"]
    expect(tmp_path / "one", a=40)
    expect(tmp_path / "aside", a=40)


@pytest.mark.parametrize("again", [False, True])
def test_the_directory_is_removed(tmp_path: Path, again: bool) -> None:
    """`rm -r` beside a running owner: it stops, and makes nothing at its path, empty or taken."""
    path = tmp_path / "s"
    old = opened(path)
    fill(old, "a")
    shutil.rmtree(path)
    if again:
        with opened(path) as new:
            fill(new, "b")
            displaced(old)
            ended(old)
        expect(path, b=40)
    else:
        displaced(old)
        ended(old)
        assert os.listdir(tmp_path) == []


def test_replaced_at_every_step() -> None:
    """Whenever a successor comes to the path, both directories hold what was committed to them.

    The directory is renamed before each call of an owner's life in turn.
    """
    call = 0
    fired = True
    while fired:
        call += 1
        fs = HookedDisk()
        old = opened("db", fs=fs, **SMALL)
        left, fired = call, False

        def replace(_operation: str, _path: str, fs: HookedDisk = fs) -> None:
            nonlocal left, fired
            left -= 1
            if left == 0:
                fs.hook, fired = None, True
                fs.rename("db", "aside")
                with opened("db", fs=fs) as new:
                    new.set("S", "new", "v", b"1")

        fs.hook = replace
        committed = 0
        with contextlib.suppress(OwnerLost):
            for committed in range(1, 90):
                old.set("S", f"{committed % 7}", "v", b"%d" % committed * 200)
                if committed % 30 == 0:
                    old.compact()
        assert committed >= 30
        if fired:
            ended(old)
        else:
            with contextlib.suppress(OwnerLost):  # it may happen while the owner closes
                old.close()
        fs.hook = None
        with opened("aside" if fired else "db", fs=fs) as db:
            assert db.stats().recovery == () and db.verify() == []
            last = int(max(db.get_all("S", str(k))["v"][:2] for k in range(7)))
            assert last in (committed, committed - 1)
        if fired:
            with opened("db", fs=fs) as db:
                assert db.stats().recovery == () and list(db.object_keys("S")) == ["new"]
    assert call > 100


def test_displaced_while_a_flush_runs() -> None:
    """What a flush has written is not brought into force once the directory is displaced."""
    fs = HookedDisk()
    old = opened("db", fs=fs)
    fill(old, "a")

    def rename(operation: str, path: str) -> None:
        if operation == "create" and path.endswith(".tmp"):
            fs.hook = None
            fs.rename("db", "aside")

    fs.hook = rename
    with pytest.raises(OwnerLost):
        old.flush()
    assert old.stats().flushes == 0
    ended(old)
    assert not any(name.endswith(".segment") for name in fs.listdir("aside"))
    with opened("aside", fs=fs) as db:
        assert len(list(db.object_keys("S"))) == 40


def test_the_close_of_a_displaced_owner_makes_its_commits_durable() -> None:
    """P1: an `os` commit survives a loss of power after the close, as after any other close."""
    fs = MemoryFileSystem()
    old = opened("db", fs=fs, durability="os")
    fill(old, "a")
    fs.rename("db", "aside")
    fs.sync_dir("/")
    displaced(old)
    ended(old)
    with opened("aside", fs=fs.crash(None)) as db:
        assert len(list(db.object_keys("S"))) == 40


def test_a_sync_that_fails_after_the_directory_is_lost() -> None:
    """P6: the loss of the directory does not hide that of the medium: no sync is tried again."""
    fs = HookedDisk()
    old = opened("db", fs=fs)
    calls: list[str] = []

    def failing(operation: str, path: str) -> None:
        if path.endswith(".wal"):
            calls.append(operation)
            if operation == "datasync":
                fs.rename("db", "aside")
                with pytest.raises(OwnerLost):
                    old._db.check_owner()  # as the background does, which rotates or flushes
                raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    fs.hook = failing
    with pytest.raises(WriteFailed):
        old.set("S", "k", "v", b"1")
    with pytest.raises(WriteFailed):
        old.set("S", "k", "v", b"2")
    ended(old)
    assert [call for call in calls if call != "close"] == ["write", "datasync"]


# --- the same directory, a second owner


def test_lock_is_removed_by_a_cleaner(tmp_path: Path) -> None:
    """Lock files look like litter: without LOCK a second owner was let into the directory.

    The lock on the directory keeps it out. The first stops, for an earlier release would have come
    in; nothing of it is lost.
    """
    path = tmp_path / "s"
    old = opened(path)
    fill(old, "a")
    os.unlink(path / "LOCK")
    with pytest.raises(DatabaseLocked, match="another process"):
        opened(path)
    assert not (path / "LOCK").exists()
    with pytest.raises(DatabaseLocked):
        kvengine.repair(path, tmp_path / "repaired")
    displaced(old)
    ended(old)
    expect(path, a=40)


def test_lock_is_replaced(tmp_path: Path) -> None:
    """A LOCK copied back from somewhere is another file: the owner holds the one it opened."""
    path = tmp_path / "s"
    old = opened(path)
    fill(old, "a")
    (path / "new").write_bytes(b"1\n")
    os.replace(path / "new", path / "LOCK")
    with pytest.raises(DatabaseLocked):
        opened(path)
    displaced(old)
    ended(old)
    expect(path, a=40)


@pytest.fixture
def no_directory_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that locks files and no directories, as NFS."""
    flock = fcntl.flock

    def of_files(fd: int, operation: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flock(fd, operation)

    monkeypatch.setattr("fcntl.flock", of_files)


@pytest.mark.usefixtures("no_directory_locks")
def test_a_directory_that_cannot_be_locked(tmp_path: Path) -> None:
    """Then LOCK alone keeps a second owner out."""
    with opened(tmp_path / "s") as db:
        fill(db, "a")
        with pytest.raises(DatabaseLocked, match=str(os.getpid())):
            opened(tmp_path / "s")
        db.compact()
    expect(tmp_path / "s", a=40)


@pytest.mark.usefixtures("no_directory_locks")
def test_lock_is_removed_where_directories_cannot_be_locked(tmp_path: Path) -> None:
    """A second owner comes in: the first finds out before it changes a file, and harms nothing."""
    path = tmp_path / "s"
    old = opened(path, live_access=True)
    fill(old, "a")
    old.flush()
    fill(old, "b")
    os.unlink(path / "LOCK")
    with opened(path, live_access=True) as new:
        fill(new, "c")
        displaced(old)
        new.flush()
        fill(new, "d")
        ended(old)
        with reached(str(path)) as tool:
            assert tool.get("S", "d000", "v") is not None
    expect(path, a=40, b=40, c=40, d=40)


BIND = """
import os, subprocess, sys, kvengine
db, other = sys.argv[1] + "/db", sys.argv[1] + "/other"
options = {"background": "none"}
with kvengine.open(other, **options) as first:
    first.set("S", "other", "v", b"1")
os.mkdir(sys.argv[1] + "/view")
owner = kvengine.open(db, **options)
owner.set("S", "k", "v", b"1")
subprocess.run(["mount", "--bind", db, sys.argv[1] + "/view"], check=True)
try:
    kvengine.open(sys.argv[1] + "/view", **options)
except kvengine.DatabaseLocked as error:
    print("locked", error.pid == os.getpid())
owner.flush()
subprocess.run(["mount", "--bind", other, db], check=True)
successor = kvengine.open(db, **options)
successor.set("S", "successor", "v", b"1")
for step in (owner.flush, owner.close):
    try:
        step()
    except kvengine.OwnerLost:
        print("lost")
successor.close()
for path in (db, other, sys.argv[1] + "/view"):
    with kvengine.open(path, **options) as found:
        print(*found.object_keys("S"))
"""


def test_a_bind_mount(tmp_path: Path) -> None:
    """Another path to the directory is refused, and one that is mounted over it is not touched."""
    probe = shutil.which("unshare") and subprocess.run(
        ["unshare", "--mount", "mount", "--bind", tmp_path, tmp_path], check=False
    )
    if not probe or probe.returncode:
        pytest.skip("no right to mount here: BIND MOUNTS ARE NOT TESTED; run as root")
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", BIND, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.splitlines() == [
        *("locked True", "lost", "lost"),
        *("other successor", "other successor", "k"),
    ], done.stderr


# --- the socket


def test_the_socket_of_a_successor_stays(tmp_path: Path) -> None:
    """The old owner unlinked LIVE by path when it closed: the successor could not be reached."""
    path, aside = tmp_path / "s", tmp_path / "aside"
    old = opened(path, live_access=True)
    fill(old, "a")
    os.rename(path, aside)
    with opened(path, live_access=True) as new:
        fill(new, "b")
        with reached(str(aside)) as tool:
            assert tool.get("S", "a000", "v") is not None
        ended(old)
        assert not (aside / "LIVE").exists()
        with reached(str(path)) as tool:
            assert tool.get("S", "b000", "v") is not None
    assert not (path / "LIVE").exists()


def test_the_socket_is_made_in_the_owners_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory that moves while it is being opened: the successor's socket is not replaced."""
    path, aside = tmp_path / "s", tmp_path / "aside"
    serve = kvengine.engine.live_access.serve
    successors: list[kvengine.Engine] = []

    def late(*given: Any) -> Any:
        monkeypatch.setattr("kvengine.share.live_access.serve", serve)
        os.rename(path, aside)
        successors.append(opened(path, live_access=True))
        return serve(*given)

    opened(path).close()
    monkeypatch.setattr("kvengine.share.live_access.serve", late)
    old = opened(path, live_access=True)
    assert (aside / "LIVE").exists() and old.stats().live_access == "on"
    with reached(str(path)) as tool:
        tool.set("S", "k", "v", b"1")
    ended(old)
    (new,) = successors
    assert new.get("S", "k", "v") == b"1"
    new.close()


# --- forked children, and what is left behind


FORKS = """
import os, signal, sys, threading, kvengine
from kvengine.storage.lifecycle import recover
when, path = sys.argv[1:]

def fork():
    global child
    ready, done = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(done, b"x")
        signal.pause()
    os.read(ready, 1)

def forking(*given, make=recover.Recovery):
    thread = threading.Thread(target=fork)
    thread.start()
    thread.join()
    return make(*given)

if when == "opening":
    recover.Recovery = forking
db = kvengine.open(path, background="thread", durability="os")
if when == "open":
    fork()
db.set("S", "k", "v", b"1")
print(child, flush=True)
signal.pause()
"""


@pytest.mark.parametrize("when", ["opening", "open"])
def test_a_child_outlives_its_killed_parent(tmp_path: Path, when: str) -> None:
    """A child that was forked while a database was open, or being opened, does not lock it.

    The lock was in the child, which could not know: whoever came after the parent was refused for
    as long as the child lived.
    """
    owner = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", FORKS, when, str(tmp_path / "s")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    child = int(owner.stdout.readline())
    try:
        with pytest.raises(DatabaseLocked):
            opened(tmp_path / "s")
        owner.kill()
        owner.wait()
        with opened(tmp_path / "s") as db:
            assert db.get("S", "k", "v") == b"1"
        os.kill(child, 0)
    finally:
        owner.stdout.close()
        os.kill(child, signal.SIGKILL)


def test_a_child_outlives_its_parents_use(tmp_path: Path) -> None:
    """The parent closes and another opens, though a child that was forked before lives on."""
    db = opened(tmp_path / "s")
    fill(db, "a")
    wait, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go)
        os.read(wait, 1)
        os._exit(0)
    try:
        db.close()
        expect(tmp_path / "s", a=40)
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
    finally:
        os.close(wait)
        os.close(go)
        os.waitpid(child, 0)


@pytest.mark.parametrize("how", ["closed", "displaced", "refused"])
def test_nothing_is_kept_open(tmp_path: Path, how: str) -> None:
    """A closed engine that somebody still holds keeps no descriptor: the medium can be unmounted.

    Nor does an open that fails, in particular not the lock.
    """
    opened(tmp_path / "s").close()
    before = sorted(os.listdir("/proc/self/fd"))
    if how == "refused":
        (tmp_path / "s" / "CURRENT").write_bytes(b"x")
        with pytest.raises(kvengine.CorruptionError) as _kept:  # and the frames of the open
            opened(tmp_path / "s")
    else:
        db = opened(tmp_path / "s", live_access=True, background="thread")
        fill(db, "a")
        if how == "displaced":
            os.rename(tmp_path / "s", tmp_path / "aside")
            displaced(db)
            ended(db)
        db.close()
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_snapshot_that_is_closed_beside_its_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a snapshot removes old files, unless the database is closed by then: no error."""
    db = opened(tmp_path / "s")
    fill(db, "a", 2)
    db.flush()
    snapshot = db.snapshot()
    fill(db, "a", 2)
    db.compact()
    assert db._db.obsolete
    errors: list[BaseException] = []
    began, closed = threading.Event(), threading.Event()
    sweep = install.sweep_obsolete

    def late(of: Database) -> None:
        began.set()
        assert closed.wait(60)
        sweep(of)

    def closing() -> None:
        try:
            snapshot.close()
        except BaseException as error:
            errors.append(error)

    monkeypatch.setattr(install, "sweep_obsolete", late)
    thread = threading.Thread(target=closing)
    thread.start()
    assert began.wait(60)
    db.close()
    closed.set()
    thread.join()
    assert errors == []
    expect(tmp_path / "s", a=2)


# --- hostile directories


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


PLANTED: dict[str, Callable[[Path], object]] = {
    "link": lambda path: path.symlink_to(path.parent.parent / "outside"),
    "dangling link": lambda path: path.symlink_to(path.parent.parent / "nowhere"),
    "FIFO": os.mkfifo,
    "socket": _socket,
    "directory": os.mkdir,
}


@pytest.mark.parametrize("kind", PLANTED)
def test_what_is_planted_as_lock(tmp_path: Path, kind: str) -> None:
    """P10: the open fails at once, follows nothing, and leaves no lock on the directory behind."""
    path = tmp_path / "s"
    with opened(path) as db:
        fill(db, "a")
    (tmp_path / "outside").write_bytes(b"precious")
    (path / "LOCK").unlink()
    PLANTED[kind](path / "LOCK")
    kept = []
    for _ in range(2):
        with pytest.raises(OSError, match="LOCK") as caught:
            opened(path)
        kept.append(caught)
    assert (tmp_path / "outside").read_bytes() == b"precious"
    assert not (tmp_path / "nowhere").exists()
    (path / "LOCK").rmdir() if kind == "directory" else (path / "LOCK").unlink()
    expect(path, a=40)


def test_lock_becomes_something_else(tmp_path: Path) -> None:
    """What is planted in the place of LOCK under an owner is not its LOCK, and is not followed."""
    for kind, plant in PLANTED.items():
        path = tmp_path / kind / "s"
        old = opened(path)
        fill(old, "a")
        (path / "LOCK").unlink()
        plant(path / "LOCK")
        displaced(old)
        ended(old)
        (path / "LOCK").rmdir() if kind == "directory" else (path / "LOCK").unlink()
        expect(path, a=40)


def test_owner_lost_tells_what_happened() -> None:
    """The error names the path that was opened, and what no longer holds."""
    fs = MemoryFileSystem()
    old = opened("db", fs=fs)
    fs.rename("db", "aside")
    with pytest.raises(OwnerLost, match=r"db is no longer owned .* its path leads") as caught:
        old.flush()
    assert (caught.value.path, caught.value.args[1]) == ("db", caught.value.reason)
    assert isinstance(caught.value, KVEngineError)
    ended(old)
    other = opened("aside", fs=fs)
    fs.unlink("aside/LOCK")
    with pytest.raises(OwnerLost, match="LOCK file was removed or replaced"):
        other.flush()
    ended(other)
