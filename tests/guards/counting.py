"""Counting what an operation does, without a clock: frames, steps, system calls, locks, bytes.

A clock on a shared machine says little. These counts are the same on every run and every machine,
so a bound can stand right above what is there, and a step too many makes a test fail.
"""

from __future__ import annotations

import gc
import sys
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import kvengine
from kvengine.fs.base import File, FileSystem
from kvengine.storage import decoded as decoder
from kvengine.storage import row as rows

PACKAGE = str(Path(kvengine.__file__).parent)
FS = str(Path(PACKAGE, "fs"))

Call = Callable[[], object]

_INLINED = {"<listcomp>", "<dictcomp>", "<setcomp>"}
"""Frames that Python 3.12 and later do not make."""


@contextmanager
def _at_rest() -> Iterator[None]:
    """Keep the collector, whose finalizers would be counted, out of a count."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def frames(call: Call) -> list[str]:
    """Return the functions of kvengine that a call enters, in order, the file system left out.

    A generator counts each time it is resumed. Comprehensions do not count: from Python 3.12 on
    they are no frames.
    """
    found: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        ours = code.co_filename.startswith(PACKAGE) and not code.co_filename.startswith(FS)
        if event == "call" and ours and code.co_name not in _INLINED:
            found.append(code.co_qualname)

    with _at_rest():
        sys.setprofile(note)
        try:
            call()
        finally:
            sys.setprofile(None)
    return found


def steps(call: Call) -> int:
    """Return how many lines of Python a call runs, in whatever module, but for the file system.

    A line counts each time a loop comes back to it, so loops that call nothing are seen too. What
    runs in C is not: see `allocated`. Byte codes would be finer, but not all releases of Python
    tell of all of them.
    """
    count = 0

    def enter(frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        return None if frame.f_code.co_filename.startswith(FS) else step

    def step(frame: FrameType, event: str, _: object) -> Callable[..., Any]:
        nonlocal count
        count += event == "line"
        return step

    before = sys.gettrace()
    with _at_rest():
        sys.settrace(enter)
        try:
            call()
        finally:
            sys.settrace(before)
    return count


def allocated(call: Call) -> int:
    """Return by how many bytes a call raises the peak of memory: what it copies, C code included.

    What is not freed before the call ends counts as well.
    """
    with _at_rest():
        started = not tracemalloc.is_tracing()
        if started:
            tracemalloc.start()
        try:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            call()
            return tracemalloc.get_traced_memory()[1] - before
        finally:
            if started:
                tracemalloc.stop()


class CountingFile:
    """A file that counts calls, and the bytes that go through it."""

    def __init__(self, inner: File, tally: Counter[str]) -> None:
        self._inner = inner
        self._tally = tally

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        self._tally["write"] += 1
        self._tally["written"] += len(data)
        self._inner.write(data)

    def pread(self, length: int, offset: int, /) -> bytes:
        self._tally["pread"] += 1
        data = self._inner.pread(length, offset)
        self._tally["read"] += len(data)
        return data

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name == "close":
            return found

        def counted(*arguments: Any) -> Any:
            self._tally[name] += 1
            return found(*arguments)

        return counted


class CountingFileSystem:
    """A file system that counts the calls of its files in ``tally``, and their bytes."""

    def __init__(self, inner: FileSystem, tally: Counter[str] | None = None) -> None:
        self._inner = inner
        self.tally: Counter[str] = Counter() if tally is None else tally

    def open_dir(self, path: str, /) -> CountingFileSystem:
        return CountingFileSystem(self._inner.open_dir(path), self.tally)

    def create(self, path: str, /) -> CountingFile:
        return CountingFile(self._inner.create(path), self.tally)

    def open(self, path: str, /) -> CountingFile:
        return CountingFile(self._inner.open(path), self.tally)

    def open_write(self, path: str, /) -> CountingFile:
        return CountingFile(self._inner.open_write(path), self.tally)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def count(self, call: Call) -> dict[str, int]:
        """Return the file calls that a call makes, by name, and the bytes ``written`` and
        ``read``."""
        self.tally.clear()
        with _at_rest():
            call()
        return dict(self.tally)


class CountingLock:
    """A lock that counts how often it is asked for."""

    def __init__(self, inner: Any, tally: Counter[str], name: str) -> None:
        self._inner = inner
        self._tally = tally
        self._name = name

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        self._tally[self._name] += 1
        return bool(self._inner.acquire(blocking, timeout))

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *error: object) -> None:
        self._inner.release()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def locks(db: kvengine.Engine, call: Call) -> dict[str, int]:
    """Return how often a call takes each lock of a database, by name; also locks that it makes."""
    inside = db._db
    tally: Counter[str] = Counter()
    places: list[tuple[Any, str, str]] = [
        (inside, "commit_lock", "commit"),
        (inside, "sync_lock", "sync"),
        (inside, "install_lock", "install"),
        (inside.snapshots, "_lock", "snapshots"),
        (inside.frames, "_lock", "frames"),
        (inside.view.active, "_order_lock", "order"),
        (db._host.turns, "_lock", "turns"),
    ]
    kept = [(owner, attribute, getattr(owner, attribute)) for owner, attribute, _ in places]
    make = threading.Lock
    try:
        for owner, attribute, name in places:
            setattr(owner, attribute, CountingLock(getattr(owner, attribute), tally, name))
        threading.Lock = lambda: CountingLock(make(), tally, "new")  # type: ignore[assignment, misc]
        with _at_rest():
            call()
    finally:
        threading.Lock = make  # type: ignore[misc]
        for owner, attribute, lock in kept:
            setattr(owner, attribute, lock)
    return dict(tally)


def decoded(monkeypatch: pytest.MonkeyPatch, call: Call) -> tuple[int, int]:
    """Return how many bytes of rows a call decodes as a whole, and how many entries of them.

    Entries that are found by a row's table are not decoded, but for those asked for.
    """
    counts = [0, 0]
    one, many = decoder._decode, decoder._decode_array

    def decode(data: bytes) -> rows.Row:
        found = one(data)
        counts[0] += len(data)
        counts[1] += len(found.entries) + len(found.chunks or ())
        return found

    def decode_many(data: bytes) -> list[rows.Row]:
        found = many(data)
        counts[0] += len(data)
        counts[1] += sum(len(row.entries) for row in found)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(decoder, "_decode", decode)
        patched.setattr(decoder, "_decode_array", decode_many)
        call()
    return counts[0], counts[1]
