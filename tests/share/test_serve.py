"""``kvengine serve``: a process that owns a directory and does nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import kvengine

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def serving(path: object) -> Iterator[subprocess.Popen[str]]:
    """Run ``kvengine serve``, which ends by SIGTERM."""
    process = subprocess.Popen(
        [sys.executable, "-m", "kvengine", "serve", str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=30)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_it_owns_and_another_one_stands_by(tmp_path: Path) -> None:
    """The second one takes over when the first is ended, and says so; both end without an error."""
    path = tmp_path / "db"
    with serving(path) as first:
        assert line(first) == f"process {first.pid} owns {path} and serves it\n"
        with kvengine.connect(path) as db, serving(path) as second:
            assert line(second) == f"process {first.pid} owns {path}; standing by\n"
            db.set("s", "k", "n", b"1")
            first.send_signal(signal.SIGTERM)
            assert first.wait(30) == 0
            assert line(second) == f"process {second.pid} owns {path} and serves it\n"
            assert db.get("s", "k", "n") == b"1" and db.owner_pid == second.pid
    assert second.returncode == 0
    kvengine.open(path).close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_by_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    """With the directory closed: no torn tail, no socket left."""
    with serving(tmp_path / "db") as process:
        line(process)
        process.send_signal(number)
        assert process.wait(30) == 0
    assert "LIVE" not in os.listdir(tmp_path / "db")


def test_a_path_is_printed_as_text(tmp_path: Path) -> None:
    """A name that is an escape sequence does nothing to the terminal."""
    with serving(tmp_path / "\x1b[31m") as process:
        told = line(process)
    assert "\x1b" not in told and "owns" in told


def test_a_server_is_no_directory() -> None:
    with serving("postgresql://127.0.0.1/db") as process:
        assert process.wait(30) == 2
        assert process.stderr is not None and "takes a directory" in process.stderr.read()
