"""Verbs that a signal handler or a finalizer calls in the midst of another one, or at the end.

psycopg (issue 1120) and DuckDB (13804) had users whose finalizers asked the connection that their
own thread was using; it waited for a lock that it had itself, for ever. Here only a commit knew
that. A process that was told to end, and closed its database in the handler of SIGTERM, hung if the
signal came during a sync, and so did one whose finalizer ran in a thread of the background.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import kvengine

Verb = Callable[[kvengine.Engine], object]


def _session(db: kvengine.Engine) -> None:
    with db.object("S", "o").session() as session:
        session.set("n", 1)


VERBS: dict[str, Verb] = {
    "set": lambda db: db.set("S", "k", "n", b"2"),
    "session": _session,
    "object_keys": lambda db: list(db.object_keys("S")),
    "snapshot": lambda db: db.snapshot().close(),
    "flush": lambda db: db.flush(),
    "compact": lambda db: db.compact(),
    "checkpoint": lambda db: db.checkpoint(f"{db.path}-copy"),
    "close": lambda db: db.close(),
}

LOCKS: dict[str, Callable[[kvengine.Engine], Any]] = {
    "commit": lambda db: db._db.commit_lock,
    "sync": lambda db: db._db.sync_lock,
    "install": lambda db: db._db.install_lock,
    "order": lambda db: db._db.view.active._order_lock,
    "frames": lambda db: db._db.frames._lock,
    "snapshots": lambda db: db._db.snapshots._lock,
}


@pytest.fixture
def db(tmp_path: Path) -> Iterator[kvengine.Engine]:
    db = kvengine.open(tmp_path / "db")
    db.set("S", "k", "n", b"1")
    db.flush()
    db.set("S", "j", "n", b"1")
    yield db
    if not any(thread.name == "stuck" for thread in threading.enumerate()):  # it would wait too
        db.close()


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_waits_for_what_its_own_thread_has(
    db: kvengine.Engine, lock: str, verb: str
) -> None:
    """It is refused, or needs nothing of it. Afterwards all is as before."""
    outcome: list[object] = []

    def work() -> None:
        with LOCKS[lock](db):
            try:
                VERBS[verb](db)
            except kvengine.KVEngineError as error:
                outcome.append(error)
            else:
                outcome.append(None)

    thread = threading.Thread(target=work, name="stuck", daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "it waits for itself"
    (error,) = outcome
    assert error is None or "signal handler or a finalizer" in str(error)
    if verb == "close":
        assert error is not None, "it was closed in the midst of work"
    db.set("S", "k", "n", b"3")
    assert db.get("S", "k", "n") == b"3"
    assert list(db.object_keys("S", prefix="k")) == ["k"]
    assert db.stats().open_snapshots == 0


def test_a_finalizer_asks_for_figures_within_a_snapshot(db: kvengine.Engine) -> None:
    """`stats` waited for the registry of snapshots, which its own thread was changing."""
    with db._db.snapshots._lock:
        assert db.stats().open_snapshots == 0
    with db.snapshot():
        assert db.stats().open_snapshots == 1


TOLD_TO_END = """
import os, signal, sys, threading, kvengine
db = kvengine.open(sys.argv[1], durability=sys.argv[2])

def end(*_):
    db.close()
    sys.exit(0)

signal.signal(signal.SIGTERM, end)
threading.Timer(float(sys.argv[3]), os.kill, (os.getpid(), signal.SIGTERM)).start()
n = 0
with db:
    while True:
        db.set("S", "k", "n", b"%d" % n)
        print(n, flush=True)
        n += 1
"""


@pytest.mark.parametrize("durability", ["sync", "os"])
@pytest.mark.parametrize("moment", range(5))
def test_a_process_that_is_told_to_end(tmp_path: Path, durability: str, moment: int) -> None:
    """It ends: the handler closes the database, or its refusal leaves the block, which does."""
    path = tmp_path / "db"
    ended = subprocess.run(
        [sys.executable, "-c", TOLD_TO_END, str(path), durability, f"0.1{moment}"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0 or "inside a" in ended.stderr.splitlines()[-1], ended.stderr
    with kvengine.open(path) as db:
        assert not db.stats().recovery
        last = int(ended.stdout.split()[-1]) if ended.stdout else 0
        assert int(db.get("S", "k", "n") or b"0") in (last, last + 1)


def test_a_handler_that_closes_within_a_close(tmp_path: Path) -> None:
    """The close that it interrupts goes on after it: the second one waited for the first."""
    db = kvengine.open(tmp_path / "db")
    db.set("S", "k", "n", b"1")
    before = signal.signal(signal.SIGUSR1, lambda *_: db.close())
    try:
        with db._closing:
            os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    db.close()
    with pytest.raises(kvengine.DatabaseClosed):
        db.get("S", "k", "n")


CLOSED_AT_THE_END = """
import os, sys, kvengine

class Wrapper:
    def __init__(self):
        self.db = kvengine.open(sys.argv[1])
        self.db.set("S", "k", "n", b"1")
        self.flushes = sys.argv[2] == "flush"
        self.error, self.write = kvengine.KVEngineError, os.write

    def __del__(self):
        try:
            self.db.set("S", "k", "n", b"2")
            if self.flushes:
                self.db.flush()
        except self.error as error:
            self.write(1, str(error).encode())
        self.db.close()

sys.modules["kept until modules go"] = Wrapper()
"""


@pytest.mark.parametrize("verb", ["close", "flush"])
def test_a_wrapper_that_closes_when_it_is_deleted(tmp_path: Path, verb: str) -> None:
    """sqlitedict, issue 95: a wrapper closes its store in ``__del__``, when the interpreter ends.

    Threads have ended by then, wherever they were. A flush, or a close, waited for them for ever.
    """
    ended = subprocess.run(
        [sys.executable, "-c", CLOSED_AT_THE_END, str(tmp_path / "db"), verb],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ("interpreter is about to end" in ended.stdout) == (verb == "flush")
    with kvengine.open(tmp_path / "db") as db:
        assert db.get("S", "k", "n") == b"2"
        assert not db.verify()
