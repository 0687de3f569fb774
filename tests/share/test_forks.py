"""A forked child is one more of those that share the directory, and keeps nothing of its parent.

`gunicorn --preload` opens the store in the master and forks its workers.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import kvengine
from kvengine.share.store import SharedStore
from tests.share.test_web_servers import ask, served

ROOT = Path(__file__).resolve().parents[2]


def in_child(work: Callable[[], object]) -> int:
    """Do ``work`` in a forked child, and return its process id. It exits with 1 if that raises."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    except BaseException as error:
        print(f"in the child: {error!r}", file=sys.stderr, flush=True)
    finally:
        os._exit(status)


def status_of(child: int, seconds: float = 30) -> int:
    """Wait for a child, and return its exit status."""
    end = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail("the child hangs")
        time.sleep(0.005)


def shared(path: Path) -> SharedStore:
    return kvengine.open(path, share=True, durability="os")


def test_a_child_of_the_owner_asks_its_parent(tmp_path: Path) -> None:
    """By the store, and by the handles, that the parent made."""
    with shared(tmp_path / "db") as db:
        counter = db.object("Counter", "a")
        counter.set("n", 1)

        def work() -> None:
            assert db.owner_pid == os.getppid()
            assert counter.increment("n") == 2
            with counter.session() as state:
                state.increment("n")
            db.close()

        assert status_of(in_child(work)) == 0
        assert counter.get("n") == 3
        assert db.owner_pid == os.getpid()


def test_a_child_of_a_client_is_a_client_of_its_own(tmp_path: Path) -> None:
    """It takes part in turns as any other process, beside a session that its parent has."""
    with kvengine.open(tmp_path / "db") as owner, kvengine.connect(tmp_path / "db") as db:
        obj = db.object("s", "k")
        with obj.session() as state:

            def work() -> None:
                with pytest.raises(kvengine.SessionTimeout):
                    with obj.session(timeout=0.1):
                        pass

            assert status_of(in_child(work)) == 0
            state.set("n", 1)

        def again() -> None:
            with obj.session() as state:
                state.increment("n")

        assert status_of(in_child(again)) == 0
        assert owner.object("s", "k").get("n") == 2


def test_what_was_begun_before_a_fork_does_not_go_on_in_the_child(tmp_path: Path) -> None:
    """A session, a snapshot, a walk and a watch are the parent's: in the child each says so."""
    with shared(tmp_path / "db") as mine, kvengine.connect(tmp_path / "db") as theirs:
        for number in range(3000):
            mine.set("s", f"{number:05}", "n", b"1")
        for db in (mine, theirs):
            snapshot, walk, watch = db.snapshot(), db.scan("s"), db.watch("s")
            next(walk)
            with db.object("s", "k").session() as state:

                def work() -> None:
                    lost = (kvengine.OwnerLost, kvengine.ForkedError, kvengine.DatabaseClosed)
                    with pytest.raises(lost):
                        snapshot.get("s", "00001", "n")  # noqa: B023
                    with pytest.raises(lost):
                        list(walk)  # noqa: B023
                    with pytest.raises(lost):
                        watch.poll()  # noqa: B023
                    state.set("n", 1)
                    with pytest.raises(lost):
                        state.commit()

                assert status_of(in_child(work)) == 0
            assert snapshot.get("s", "00001", "n") == b"1" and len(list(walk)) == 2999
            assert db.get("s", "k", "n") is None
            snapshot.close()
            watch.close()


def test_a_child_takes_over_from_its_parent(tmp_path: Path) -> None:
    """It keeps no copy of the lock: neither its own, nor that of anybody else, is in its way."""
    program = (
        "import os, sys, time, kvengine\n"
        "db = kvengine.open(sys.argv[1], share=True, durability='os')\n"
        "db.object('Counter', 'a').set('n', 1)\n"
        "parent = os.getpid()\n"
        "if os.fork():\n"
        "    time.sleep(0.2)\n"
        "    os.kill(parent, 9)\n"
        "while os.getppid() == parent:\n"
        "    time.sleep(0.01)\n"
        "db.object('Counter', 'a').increment('n')\n"
        "assert db.owner_pid == os.getpid()\n"
        "print(db.object('Counter', 'a').get('n'), flush=True)\n"
        "db.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "db")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "2\n", done.stderr
    with kvengine.open(tmp_path / "db", lock_timeout=5) as db:
        assert db.object("Counter", "a").get("n") == 2


@pytest.mark.slow
def test_a_preloading_master_that_is_killed_leaves_no_lock(tmp_path: Path) -> None:
    """It owned the directory, and its workers are forks of it, which live on for a moment."""
    with served("gunicorn --preload", tmp_path / "db", tmp_path / "log") as (process, port):
        assert ask(port, "1")
        with kvengine.connect(tmp_path / "db") as looker:
            assert looker.owner_pid == process.pid
        process.kill()
        process.wait()
        with kvengine.open(tmp_path / "db", share=True, durability="os") as db:
            assert db.object("Counter", "1").get("n") == 1
            assert db.owner_pid != process.pid
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
