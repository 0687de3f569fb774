"""The system calls of files: `write` and `pread` do as those of `os`, compiled or not."""

from __future__ import annotations

import errno
import os
import resource
import signal
import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import pytest

from kvengine.fs import DiskFileSystem, calls


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield fd
    with suppress(OSError):
        os.close(fd)


@contextmanager
def handling(number: int, raises: type[BaseException] | None = None) -> Iterator[list[int]]:
    """Yield a list of the signals that arrived; the handler raises an exception, or returns."""
    arrived: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        arrived.append(number)
        if raises is not None:
            raise raises

    before = signal.signal(number, handle)
    try:
        yield arrived
    finally:
        signal.signal(number, before)


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond ``size`` bytes: writes end there, then fail."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with handling(signal.SIGXFSZ):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, 1, 100, 65_536, 65_537, 3_000_000])
def test_what_is_written_is_read(fd: int, size: int) -> None:
    """Short and long calls, of which only the long ones give up the interpreter lock."""
    data = os.urandom(size)
    for form in (data, bytearray(data), memoryview(data)):
        os.lseek(fd, 0, os.SEEK_SET)
        assert calls.write(fd, form) == size
    assert calls.pread(fd, size, 0) == os.pread(fd, size, 0) == data
    assert calls.pread(fd, size + 10, 0) == data
    assert calls.pread(fd, 10, size // 2) == data[size // 2 :][:10]
    assert calls.pread(fd, 10, size) == calls.pread(fd, 10, 1 << 40) == b""


def test_a_view_of_wider_items_is_written_as_bytes(fd: int) -> None:
    """The count is of bytes, as that of `os.write`."""
    words = array("I", [1, 2, 3])
    assert calls.write(fd, memoryview(words)) == 12
    assert calls.pread(fd, 100, 0) == words.tobytes()


def test_wrong_arguments_raise_what_os_raises(fd: int) -> None:
    """A wrong type or a range that cannot be is an exception, and nothing is written."""
    for bad in ("text", None, 5, memoryview(b"abcdef")[::2]):
        with pytest.raises((TypeError, BufferError)):
            calls.write(fd, bad)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        calls.write("1", b"x")  # type: ignore[arg-type]
    for length, offset in ((-1, 0), (1, -1)):
        with pytest.raises(OSError, match=f"Errno {errno.EINVAL}]"):
            calls.pread(fd, length, offset)
    for call in (lambda: calls.write(1 << 40, b"x"), lambda: calls.pread(fd, 1, 1 << 70)):
        with pytest.raises(OverflowError):
            call()
    assert os.fstat(fd).st_size == 0


@pytest.mark.parametrize("size", [10, 200_000])
def test_a_closed_descriptor_is_an_error(fd: int, size: int) -> None:
    """EBADF, for short and long calls."""
    os.close(fd)
    for closed in (fd, -1):
        with pytest.raises(OSError, match=f"Errno {errno.EBADF}]"):
            calls.write(closed, bytes(size))
        with pytest.raises(OSError, match=f"Errno {errno.EBADF}]"):
            calls.pread(closed, size, 0)


@pytest.mark.parametrize("size", [100, 100_000])
def test_a_disk_that_takes_a_part(fd: int, tmp_path: Path, size: int) -> None:
    """A short write says how much was taken, and the next one why it was no more."""
    with file_size_limit(size - 30):
        assert calls.write(fd, bytes(size)) == size - 30
        with pytest.raises(OSError, match=f"Errno {errno.EFBIG}]"):
            calls.write(fd, b"x")
        file = DiskFileSystem().create(str(tmp_path / "other"))
        with pytest.raises(OSError, match=f"Errno {errno.EFBIG}]"):
            file.write(b"y" * size)
        assert file.position() == file.size() == size - 30
    file.write(b"z" * 30)
    assert file.pread(size, 0) == b"y" * (size - 30) + b"z" * 30


def fill(into: int) -> None:
    """Fill a pipe: the next write to it waits."""
    os.set_blocking(into, False)
    with suppress(BlockingIOError):
        while True:
            os.write(into, bytes(4096))
    os.set_blocking(into, True)


@pytest.mark.parametrize("size", [10_000, 100_000])
def test_a_signal_during_a_write(size: int) -> None:
    """Its handler runs, then the write goes on; if the handler raises, the write ends with that."""
    out, into = os.pipe()
    try:
        fill(into)
        with handling(signal.SIGALRM, KeyboardInterrupt) as arrived:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(KeyboardInterrupt):
                calls.write(into, bytes(size))
        assert arrived
        with handling(signal.SIGALRM) as arrived:
            # The handler empties the pipe: another thread could not, while a short write waits.
            signal.signal(signal.SIGALRM, lambda *_: arrived.append(len(os.read(out, 1 << 20))))
            signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
            assert calls.write(into, bytes(size)) > 0
            signal.setitimer(signal.ITIMER_REAL, 0)
        assert arrived
    finally:
        os.close(out)
        os.close(into)


def test_a_long_write_lets_other_threads_run() -> None:
    """A write that waits gives up the interpreter lock: whoever must read can do so."""
    out, into = os.pipe()
    taken: list[int] = []

    def drain() -> None:
        time.sleep(0.05)
        while sum(taken) < 300_000:
            taken.append(len(os.read(out, 1 << 16)))

    reader = threading.Thread(target=drain)
    reader.start()
    assert calls.write(into, bytes(300_000)) == 300_000
    reader.join()
    os.close(out)
    os.close(into)


def test_after_a_short_write_that_waited_others_run() -> None:
    """Where the system makes writers wait, each short write would stop all threads of the process.

    So the first one that waits is the last to keep the interpreter lock, for a while.
    """
    out, into = os.pipe()
    emptied: list[str] = []

    def empty(who: str) -> None:
        emptied.append(who)
        with suppress(BlockingIOError):
            os.read(out, 1 << 20)

    os.set_blocking(out, False)
    with handling(signal.SIGALRM):
        signal.signal(signal.SIGALRM, lambda *_: empty("handler"))
        fill(into)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        calls.write(into, bytes(5000))
        fill(into)
        signal.setitimer(signal.ITIMER_REAL, 2)
        thread = threading.Timer(0.05, empty, ["thread"])
        thread.start()
        calls.write(into, bytes(5000))
        signal.setitimer(signal.ITIMER_REAL, 0)
        thread.join()
    assert emptied == ["handler", "thread"]
    os.close(out)
    os.close(into)
