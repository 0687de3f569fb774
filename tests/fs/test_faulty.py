"""The failing file system: which call fails, how, and what it leaves."""

from __future__ import annotations

import contextlib
import errno

import pytest

from kvengine.fs import FaultyFileSystem, MemoryFileSystem
from kvengine.fs.faulty import OPERATIONS


@pytest.fixture
def fs() -> FaultyFileSystem:
    return FaultyFileSystem(MemoryFileSystem())


def run(fs: FaultyFileSystem, name: str) -> None:
    """A file written beside, synced and renamed into place: six calls that count."""
    file = fs.create(f"{name}.tmp")
    try:
        file.write(b"0123456789")
        file.datasync()
        assert file.pread(10, 0) == b"0123456789"
    finally:
        file.close()
    fs.rename(f"{name}.tmp", name)
    fs.sync_dir("/")


def test_calls_are_counted(fs: FaultyFileSystem) -> None:
    """Each call that can fail on a disk counts once, on the file system and on its files."""
    run(fs, "a")
    assert (fs.calls, fs.failures) == (6, 0)
    assert fs.exists("a")
    assert not fs.isdir("a")
    assert fs.calls == 6
    lock = fs.lock("LOCK")
    assert lock is not None
    lock.write(b"x")
    lock.release()
    assert fs.calls == 8


def test_every_call_can_fail_once(fs: FaultyFileSystem) -> None:
    """The n-th call from `fail_at` fails, for each n until a run meets none; the next works."""
    n = 0
    while True:
        n += 1
        fs.fail_at(n)
        with contextlib.suppress(OSError):
            run(fs, f"file{n}")
        if not fs.failures:
            break
        run(fs, f"again{n}")
        assert fs.failures == 1
    assert fs.exists(f"file{n}")
    assert (n, fs.failures) == (7, 0)


def test_a_sticky_failure_stays_until_cleared(fs: FaultyFileSystem) -> None:
    """With sticky every later call fails too, each with an exception of its own."""
    run(fs, "a")
    fs.fail_at(2, OSError(errno.EIO, "broken", "a"), sticky=True)
    assert fs.read_bytes("a") == b"0123456789"
    caught = []
    for _ in range(2):
        with pytest.raises(OSError, match="broken") as info:
            fs.read_bytes("a")
        caught.append(info.value)
    assert caught[0] is not caught[1]
    assert (caught[1].errno, caught[1].filename, fs.failures) == (errno.EIO, "a", 2)
    fs.clear()
    assert fs.read_bytes("a") == b"0123456789"
    assert (fs.calls, fs.failures) == (10, 2)


def test_only_the_named_operations_fail(fs: FaultyFileSystem) -> None:
    """With operations the others neither count towards n nor fail; unknown names are refused."""
    fs.fail_at(2, operations=["rename"], sticky=True)
    run(fs, "a")
    with pytest.raises(OSError, match=f"Errno {errno.ENOSPC}]"):
        run(fs, "b")
    assert fs.listdir("/") == ["a", "b.tmp"]
    for operations in (["fsync"], "write"):
        with pytest.raises(ValueError, match="no such operations"):
            fs.fail_at(1, operations=operations)
    with pytest.raises(ValueError, match="number 1"):
        fs.fail_at(0)


def test_a_short_write_leaves_a_part(fs: FaultyFileSystem) -> None:
    """With short_write half of the data is in the file when the error is raised; later, none."""
    file = fs.create("a")
    fs.fail_at(1, short_write=True, sticky=True)
    for _ in range(2):
        with pytest.raises(OSError, match=f"Errno {errno.ENOSPC}]"):
            file.write(b"0123456789")
        assert file.position() == 5
    fs.clear()
    assert fs.read_bytes("a") == b"01234"


def test_a_call_that_fails_did_nothing(fs: FaultyFileSystem) -> None:
    """Without short_write the file system is as it was before the call."""
    run(fs, "a")
    file = fs.open_write("a")
    for call in (
        lambda: file.write(b"x"),
        lambda: file.truncate(0),
        lambda: file.allocate(0, 100),
        lambda: fs.unlink("a"),
        lambda: fs.rename("a", "b"),
        lambda: fs.link("a", "b"),
        lambda: fs.create("b"),
        lambda: fs.makedirs("b"),
        lambda: fs.lock("b"),
        lambda: fs.lock_dir("/"),
    ):
        fs.fail_at(1)
        with pytest.raises(OSError, match=f"Errno {errno.ENOSPC}]"):
            call()
        fs.clear()
        assert (fs.listdir("/"), fs.read_bytes("a")) == (["a"], b"0123456789")


@pytest.mark.parametrize("operation", ["sync", "datasync"])
def test_a_failed_sync_drops_the_data(operation: str) -> None:
    """P6: after a failed sync a retry succeeds, and yet the data does not survive a power cut."""
    memory = MemoryFileSystem()
    fs = FaultyFileSystem(memory)
    file = fs.create("a")
    fs.sync_dir("/")
    file.write(b"abc")
    fs.fail_at(1, OSError(errno.EIO, "broken"), operations=[operation])
    with pytest.raises(OSError, match="broken"):
        getattr(file, operation)()
    getattr(file, operation)()
    assert memory.read_bytes("a") == b"abc"
    assert memory.crash(None).read_bytes("a") == b""


def test_an_interrupt_can_be_raised(fs: FaultyFileSystem) -> None:
    """Any exception can take the error's place; an interrupted sync drops nothing."""
    memory = fs.inner
    assert isinstance(memory, MemoryFileSystem)
    file = fs.create("a")
    fs.sync_dir("/")
    file.write(b"abc")
    fs.fail_at(1, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        file.sync()
    file.sync()
    assert memory.crash(None).read_bytes("a") == b"abc"


def test_operations_are_methods() -> None:
    """Every name in OPERATIONS is a method of the file system, a file, or a lock."""
    fs = FaultyFileSystem(MemoryFileSystem())
    file, lock = fs.create("a"), fs.lock("b")
    for name in OPERATIONS:
        method = "write" if name == "lock_write" else name
        assert any(hasattr(owner, method) for owner in (fs, file, lock))


def test_an_open_directory_counts_and_fails_as_its_file_system(fs: FaultyFileSystem) -> None:
    """What is called through `open_dir` is in the plan and in the counts, planned before or after.

    The engine works through an open directory: otherwise it would never meet a failure.
    """
    fs.makedirs("d")
    fs.fail_at(1, operations=["open_dir"])
    with pytest.raises(OSError, match=f"Errno {errno.ENOSPC}]"):
        fs.open_dir("d")
    home = fs.open_dir("d")
    before = fs.calls
    file = home.create("d/a")
    file.write(b"abc")
    assert fs.calls == before + 2
    fs.fail_at(2)
    home.sync_dir("d")
    with pytest.raises(OSError, match=f"Errno {errno.ENOSPC}]"):
        home.rename("d/a", "d/b")
    assert (home.listdir("d"), fs.failures) == (["a"], 1)
