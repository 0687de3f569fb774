"""One owner: a second one and a forked child are refused, and harm nothing (promise P7)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import kvengine
from kvengine import DatabaseClosed, DatabaseLocked, ForkedError
from tests.durability.verbs import VERBS, refused

ROOT = Path(__file__).resolve().parents[2]


def run_python(code: str, *args: object, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code, *map(str, args)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def in_child(work: Callable[[], list[str]], *, seconds: int = 10) -> None:
    """Run ``work`` in a forked child; fail with what it returns, or where it hangs."""
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(seconds)
            for one in work():
                os.write(into, one.encode() + b"\n")
        except BaseException as error:
            os.write(into, repr(error).encode())
        finally:
            os._exit(0)
    os.close(into)
    with open(out, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child hung in a verb (status {status}): {said}"
    assert not said


# --- a second owner


def test_second_owner_in_this_process(tmp_path: Path) -> None:
    """A directory opened twice in one process: DatabaseLocked, with this process's pid."""
    with kvengine.open(tmp_path / "db") as db:
        with pytest.raises(DatabaseLocked) as caught:
            kvengine.open(tmp_path / "db")
        assert caught.value.pid == os.getpid()
        assert str(os.getpid()) in str(caught.value)
        db.set("s", "k", "n", b"1")
    with kvengine.open(tmp_path / "db") as db:
        assert db.get("s", "k", "n") == b"1"


def test_second_owner_in_another_process(tmp_path: Path) -> None:
    """Another process is told who the owner is; it may open once the owner has closed."""
    code = (
        "import sys, kvengine\n"
        "try: kvengine.open(sys.argv[1]).close()\n"
        "except kvengine.DatabaseLocked as error: print(error.pid)\n"
        "else: print('opened')"
    )
    with kvengine.open(tmp_path / "db") as db:
        db.set("s", "k", "n", b"1")
        assert run_python(code, tmp_path / "db").stdout.strip() == str(os.getpid())
        assert db.set("s", "k", "n", b"2")
    assert run_python(code, tmp_path / "db").stdout.strip() == "opened"


# --- fork


@pytest.mark.parametrize("background", ["none", "thread"])
def test_forked_child_is_refused(tmp_path: Path, background: str) -> None:
    """Every verb in a forked child raises ForkedError; the parent goes on, and stays the owner."""
    db = kvengine.open(tmp_path / "db", background=background, durability="os")
    db.set("s", "k", "n", b"1")
    db.set("s", "l", "n", b"1")
    snapshot = db.snapshot()
    walk = db.scan()
    next(walk)

    def child() -> list[str]:
        wrong = refused(db, VERBS, ForkedError)
        for name, use in {
            "snapshot.get": lambda: snapshot.get("s", "k", "n"),
            "next(scan)": lambda: next(walk),
        }.items():
            try:
                use()
            except ForkedError:
                continue
            except BaseException as error:
                wrong.append(f"{name}: {error!r}")
            else:
                wrong.append(f"{name}: no error")
        snapshot.close()
        db.close()
        try:
            kvengine.open(tmp_path / "db").close()
        except DatabaseLocked:
            return wrong
        return [*wrong, "the child gave up its parent's lock"]

    in_child(child)
    db.set("s", "k", "n", b"2")
    db.flush()
    assert snapshot.get("s", "k", "n") == b"1"
    snapshot.close()
    walk.close()
    with pytest.raises(DatabaseLocked):
        kvengine.open(tmp_path / "db")
    db.compact()
    db.close()
    with kvengine.open(tmp_path / "db") as again:
        assert again.get("s", "k", "n") == b"2"


@pytest.mark.slow
def test_fork_in_the_midst_of_work(tmp_path: Path) -> None:
    """A child forked while other threads commit, sync, flush and compact is refused, not hung.

    The locks that those threads held at the fork stay locked in the child for ever.
    """
    stop = threading.Event()
    options = {"background": "thread", "memtable_size": 32 * 1024, "frozen_stop": 1}
    with kvengine.open(tmp_path / "db", **options) as db:

        def write(number: int) -> None:
            n = 0
            while not stop.is_set():
                n += 1
                db.set("s", f"k{number}-{n % 50}", "n", b"%d" % n * 50)
                with db.snapshot() as snapshot:
                    snapshot.get("s", "k0-1", "n")

        threads = [threading.Thread(target=write, args=(i,)) for i in range(4)]

        def child() -> list[str]:
            wrong = refused(db, VERBS, ForkedError)
            db.close()
            return wrong

        for thread in threads:
            thread.start()
        try:
            for _ in range(60):
                in_child(child, seconds=4)
                time.sleep(0.01)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert db.stats().background_errors == 0


EXITS = """
import os, sys, kvengine
db = kvengine.open(sys.argv[1], background=sys.argv[2], durability="os", memtable_size=200_000)
for n in range(400):
    db.set("s", f"k{n}", "n", b"%d" % n * 300)
snapshot = db.snapshot()
pid = os.fork()
if pid == 0:
    if sys.argv[3] == "normal":
        sys.exit(0)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
for n in range(400, 800):
    db.set("s", f"k{n}", "n", b"%d" % n * 300)
db.flush(); db.compact()
snapshot.close()
assert len(list(db.object_keys("s"))) == 800
assert db.stats().background_errors == 0, db.stats().last_background_error
db.close()
"""


@pytest.mark.parametrize("exit_by", ["normal", "_exit"])
@pytest.mark.parametrize("background", ["none", "thread"])
def test_parent_is_unharmed_by_its_childs_end(
    tmp_path: Path, background: str, exit_by: str
) -> None:
    """However a forked child ends, its parent commits, flushes and compacts on, silently."""
    done = run_python(EXITS, tmp_path / "db", background, exit_by)
    assert done.returncode == 0 and not done.stderr, done.stderr
    with kvengine.open(tmp_path / "db") as db:
        assert len(list(db.object_keys("s"))) == 800


# --- the end of use


def test_use_after_close(tmp_path: Path) -> None:
    """After close every verb raises DatabaseClosed; closing twice, or by two threads, is fine."""
    db = kvengine.open(tmp_path / "db")
    db.set("s", "k", "n", b"1")
    db.set("s", "l", "n", b"1")
    snapshot = db.snapshot()
    walk = db.scan()
    next(walk)
    threads = [threading.Thread(target=db.close) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    db.close()
    assert refused(db, VERBS, DatabaseClosed) == []
    for use in (lambda: snapshot.get("s", "k", "n"), lambda: next(walk), db.batch):
        with pytest.raises(DatabaseClosed):
            use()
    snapshot.close()


def test_close_beside_commits(tmp_path: Path) -> None:
    """Threads that commit while another closes see DatabaseClosed; what returned is there."""
    for attempt in range(10):
        path = tmp_path / f"db{attempt}"
        db = kvengine.open(path, background="thread", memtable_size=16 * 1024)
        returned: list[dict[int, int]] = [{}, {}, {}]
        errors: list[BaseException] = []

        def write(i: int, db: kvengine.Engine = db, mine=returned, errors=errors) -> None:  # type: ignore[no-untyped-def]
            try:
                for n in range(1_000_000):
                    db.set("s", f"k{i}", "n", b"%d" % n, ttl=None)
                    mine[i][0] = n
            except DatabaseClosed:
                pass
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=write, args=(i,)) for i in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.05)
        db.close()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
        assert not errors
        with kvengine.open(path) as again:
            assert again.stats().recovery == ()
            for i, last in enumerate(returned):
                found = again.get("s", f"k{i}", "n")
                assert int(found or b"-1") >= last.get(0, -1)


LEAVES = """
import sys, kvengine
db = kvengine.open(sys.argv[1], durability=sys.argv[2], background=sys.argv[3],
                   memtable_size=12_000)
for n in range(300):
    db.set("s", f"k{n % 10}", "n", b"%d" % n * 100)
    print(n, flush=True)
if sys.argv[4] == "raise":
    raise SystemExit(3)
"""


@pytest.mark.parametrize("how", ["end", "raise"])
@pytest.mark.parametrize("background", ["none", "thread"])
@pytest.mark.parametrize("durability", ["os", "sync"])
def test_leaving_without_close(tmp_path: Path, durability: str, background: str, how: str) -> None:
    """An interpreter that ends without close loses nothing that was returned, and says nothing."""
    done = run_python(LEAVES, tmp_path / "db", durability, background, how)
    assert done.returncode == (3 if how == "raise" else 0)
    assert not done.stderr
    last = int(done.stdout.split()[-1])
    assert last == 299
    with kvengine.open(tmp_path / "db") as db:
        assert {key: db.get("s", key, "n") for key in db.object_keys("s")} == {
            f"k{n % 10}": b"%d" % n * 100 for n in range(290, 300)
        }
