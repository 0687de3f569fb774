"""A process that has used up its descriptors: nothing hangs or leaks, and figures are told."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import kvengine

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """Let this process open no more than ``count`` files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(fd) for fd in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + count, before[1]))
    taken: list[int] = []  # all numbers below the limit, those that others have given back too
    try:
        while True:
            try:
                taken.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        for fd in sorted(taken)[len(taken) - count :] if count else ():
            taken.remove(fd)
            os.close(fd)
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for fd in taken:
            os.close(fd)


def used() -> tuple[int, int]:
    """How many descriptors and threads this process has."""
    return len(os.listdir("/proc/self/fd")), threading.active_count()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="descriptors cannot be counted here")
def test_an_open_without_descriptors_leaves_nothing_behind(tmp_path: Path) -> None:
    """However far it gets: the lock, threads and files are given back, and the next one opens.

    In a process of its own: threads that other tests left would take the descriptors.
    """
    program = (
        "import sys; from tests.regressions.test_no_descriptors import open_with_few;"
        " open_with_few(sys.argv[1])"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "db")]
    subprocess.run(command, check=True, timeout=120, cwd=ROOT)


def open_with_few(path: str) -> None:
    """Open a database with no descriptor left, with one, and so on."""
    with kvengine.open(path) as db:
        db.set("S", "k", "n", b"1")
        db.flush()
    failed = 0
    for count in range(40):
        before = used()
        with descriptors_left(count):
            try:
                db = kvengine.open(path)
            except OSError:
                failed += 1
                db = None
        if db is not None:
            assert db.get("S", "k", "n") == b"1"
            db.close()
        assert used() == before, count
        with kvengine.open(path) as db:
            assert db.get("S", "k", "n") == b"1"
    assert 3 < failed < 39


def test_stats_are_told_without_a_descriptor(tmp_path: Path) -> None:
    """They list the directory for its bytes, and raised OSError where that could not be."""
    with kvengine.open(tmp_path / "db") as db:
        for n in range(1000):
            db.set("S", f"k{n}", "n", bytes(100))
        db.flush()
        db.set("S", "k", "n", b"1")
        listed = db.stats().bytes_on_disk
        with descriptors_left(0):
            stats = db.stats()
            assert db.get("S", "k1", "n") == bytes(100)
            db.set("S", "k", "n", b"2")
        assert stats.commits == 1001
        assert 0 < stats.bytes_on_disk <= listed
        assert db.get("S", "k", "n") == b"2"


def test_background_work_goes_on_when_there_are_descriptors_again(tmp_path: Path) -> None:
    """A flush that cannot open its file is reported and tried again; commits go on meanwhile."""
    with kvengine.open(tmp_path / "db", memtable_size=64 * 1024, live_access=False) as db:
        with descriptors_left(0):
            for n in range(600):
                db.set("S", f"k{n}", "n", bytes(100))
            end = threading.Event()
            while not db.stats().background_errors and not end.wait(0.01):
                db.set("S", "k", "n", b"1")
        db.flush()
        assert db.stats().segments
        assert len(list(db.object_keys("S"))) >= 600
        assert "Too many open files" in db.stats().last_background_error
