"""SIGKILL at any moment: what was returned is there, and the state is that after some commit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

import kvengine
from kvengine.storage import filenames
from tests.durability.kill_worker import SERVICE, Model, last_commit

ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("KVENGINE_KILLS", "160"))

FLUSHING: dict[str, object] = {
    "memtable_size": 20_000,
    "l0_compact": 1000,
    "l0_slow": 1000,
    "l0_stop": 1000,
}
COMPACTING: dict[str, object] = {
    "memtable_size": 8_000,
    "l0_compact": 2,
    "segment_size": 4_000,
    "level_base": 8_000,
    "level_ratio": 2,
}
HELPED: dict[str, object] = {"memtable_size": 140_000, "l0_compact": 2, "level_base": 100_000}


class Nursery:
    """Children of the worker module, killed one after another."""

    def __init__(self) -> None:
        self._worker = subprocess.Popen(
            [sys.executable, "-m", "tests.durability.kill_worker"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._worker.stdout is not None
        os.set_blocking(self._worker.stdout.fileno(), False)
        self._buffer = b""
        self.returned = 0

    def start(self, path: Path, options: dict[str, object]) -> int:
        """The pid of a new child that opens the database and writes."""
        assert self._worker.stdin is not None
        self._worker.stdin.write(json.dumps([str(path), options]).encode() + b"\n")
        self._worker.stdin.flush()
        return int(self._until("pid"))

    def kill(self, pid: int) -> None:
        """Kill the child; ``returned`` is then the last commit that it said had returned."""
        os.kill(pid, signal.SIGKILL)
        assert self._until("dead") == str(-signal.SIGKILL)

    def close(self) -> None:
        self._worker.kill()
        self._worker.wait()
        for pipe in (self._worker.stdin, self._worker.stdout):
            if pipe is not None:
                pipe.close()

    def listen(self) -> list[str]:
        """What the children have said since the last time."""
        assert self._worker.stdout is not None
        self._buffer += self._worker.stdout.read() or b""
        *lines, self._buffer = self._buffer.split(b"\n")
        said = []
        for line in lines:
            if line.isdigit():
                self.returned = int(line)
            else:
                said.append(line.decode())
        return said

    def _until(self, word: str) -> str:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for line in self.listen():
                assert not line.startswith("error"), line
                if line.startswith(word):
                    return line.partition(" ")[2]
            time.sleep(0.0005)
        raise AssertionError(f"the worker never said {word!r}")


class Found:
    """The names in a directory at one moment."""

    def __init__(self, path: Path) -> None:
        names = os.listdir(path) if path.exists() else []
        parsed = [one for one in map(filenames.parse, names) if one is not None]
        self.kinds = Counter(one.kind for one in parsed)
        self.temporary = [name for name in names if filenames.is_temporary(name)]

    def makers(self) -> set[int]:
        """Pids of the processes that were making files."""
        return {int(name.split("-")[1]) for name in self.temporary}


Moment = Callable[[Found], bool]

MOMENTS: dict[str, Moment] = {
    "flush": lambda found: bool(found.temporary) and found.kinds["wal"] > 1,
    "compaction": lambda found: (
        bool(found.temporary)
        and found.kinds["wal"] == 1
        and found.kinds["segment"] > 1
        and found.kinds["manifest"] == 1
    ),
    "recovery": lambda found: found.kinds["manifest"] > 1,
}
"""What a directory shows in the midst of an operation.

Flush: an output beside sealed WALs, where nothing is compacted. Compaction: an
output, and no sealed WAL that it could be the flush of. Recovery: only an open
makes a manifest (small as these are), and it removes the old one last.
"""


def wait_for(path: Path, moment: Moment, nursery: Nursery, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        nursery.listen()
        if moment(Found(path)):
            return


def check(path: Path, model: Model, nursery: Nursery, *, read_only: bool) -> None:
    """The state is that after a commit, the last one returned or the one in flight."""
    with kvengine.open(path, read_only=read_only, background="none") as db:
        number = last_commit(db)
        assert nursery.returned <= number <= nursery.returned + 1
        nursery.returned = number  # the next child goes on from here, and may end without a word
        model.advance(number)
        found = {one.key: (one.entries, one.expires_at) for one in db.scan(SERVICE)}
        assert found == model.live()
        for key, (entries, _) in found.items():
            assert db.get_all(SERVICE, key) == entries
        if not read_only:
            assert db.verify() == []


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path: Path) -> None:
    """100+ kills under mixed load: each leaves exactly a prefix with all that was returned.

    The directories found prove that some hit a flush, some a compaction, some a
    recovery, and some a process whose helper was at work.
    """
    nursery, rng, hits = Nursery(), Random(5), Counter[str]()
    plans = [(FLUSHING, "flush"), (COMPACTING, "compaction"), (HELPED, "")]
    try:
        for turn, (options, aim) in enumerate(plans):
            path, model = tmp_path / f"db{turn}", Model()
            nursery.returned = 0
            for n in range(KILLS // len(plans) + 1):
                pid = nursery.start(path, options)
                if n % 4 == 3:
                    wait_for(path, MOMENTS["recovery"], nursery, 0.3)
                elif n % 2 and aim:
                    wait_for(path, MOMENTS[aim], nursery, 0.3)
                elif not aim:
                    wait_for(path, lambda found, pid=pid: bool(found.makers() - {pid}), nursery, 1)
                else:
                    time.sleep(rng.uniform(0, 0.04))
                nursery.kill(pid)
                found = Found(path)
                hits["kills"] += 1
                hits["helper"] += bool(found.makers() - {pid})
                hits["sealed WALs"] += found.kinds["wal"] > 2
                for name in {aim, "recovery"} - {""}:
                    hits[name] += MOMENTS[name](found)
                if path.exists() and (path / filenames.CURRENT).exists():
                    check(path, model, nursery, read_only=n % 5 != 4)
            assert model.number > 100
            check(path, model, nursery, read_only=False)
    finally:
        nursery.close()
    assert hits["kills"] >= min(KILLS, 100)
    for name in ("flush", "compaction", "recovery", "helper", "sealed WALs"):
        assert hits[name] > 0, f"no kill hit: {name} ({dict(hits)})"


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie that nobody waits for has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.slow
def test_killed_helper_harms_nothing(tmp_path: Path) -> None:
    """Helpers killed again and again, some in the midst of a job: the work is done all the same.

    No writer sees an error, nothing is reported as one, and the data is there.
    """
    path, killed, hit = tmp_path / "db", 0, 0
    errors: list[BaseException] = []
    stop = threading.Event()
    written = [0]
    with kvengine.open(path, durability="os", background="process", **HELPED) as db:

        def write() -> None:
            try:
                while not stop.is_set():
                    n = written[0] = written[0] + 1
                    db.set(SERVICE, f"k{n % 500}", "n", b"%d." % n * 100)
            except BaseException as error:
                errors.append(error)

        writer = threading.Thread(target=write)
        writer.start()
        deadline = time.monotonic() + 12
        done = -1
        while killed < 14 and time.monotonic() < deadline and not errors:
            stats, helpers = db.stats(), db.helpers
            busy = Found(path).makers() & set(helpers)
            in_a_row = killed >= 10  # at first one by one, then as fast as they come
            if helpers and (busy or killed % 2) and (in_a_row or stats.flushes > done):
                os.kill(min(busy or helpers), signal.SIGKILL)
                killed, hit = killed + 1, hit + bool(busy)
                done = stats.flushes + 1
            time.sleep(0.002)
        stop.set()
        writer.join()
        assert killed >= 5 and hit > 0
        assert not errors
        db.flush()
        db.compact()
        stats = db.stats()
        assert stats.flushes > 0 and stats.compactions > 0
        assert stats.background_errors == 0, stats.last_background_error
        last = {f"k{n % 500}": b"%d." % n * 100 for n in range(1, written[0] + 1)}
        assert {one.key: one.entries["n"] for one in db.scan(SERVICE)} == last
    with kvengine.open(path) as db:
        assert {one.key: one.entries["n"] for one in db.scan(SERVICE)} == last
        assert db.verify() == []


OWNER = """
import sys, kvengine
db = kvengine.open(sys.argv[1], durability="os", memtable_size=300_000, l0_compact=2)
n = 0
while True:
    n += 1
    db.set("s", f"k{n % 5000}", "n", b"%d." % n * 100)
    if n % 100 == 0 and db.helpers:
        print(*db.helpers, flush=True)
"""


@pytest.mark.slow
def test_helpers_end_with_their_parent(tmp_path: Path) -> None:
    """Helper processes are gone within two seconds after their parent was killed."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path / "db")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert owner.stdout is not None
        helpers: list[int] = []
        for line in owner.stdout:
            helpers = [int(pid) for pid in line.split()]
            if len(helpers) == 2:
                break
        assert not any(map(gone, helpers))
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close()
    deadline = time.monotonic() + 2
    while not all(map(gone, helpers)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert all(map(gone, helpers))
