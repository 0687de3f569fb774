"""SIGKILL at any moment: what was returned is there, and the state is that after some commit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
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

    The directories found prove that some hit a flush, some a compaction, some a recovery.
    """
    nursery, rng, hits = Nursery(), Random(5), Counter[str]()
    plans = [(FLUSHING, "flush"), (COMPACTING, "compaction")]
    try:
        for turn, (options, aim) in enumerate(plans):
            path, model = tmp_path / f"db{turn}", Model()
            nursery.returned = 0
            for n in range(KILLS // len(plans) + 1):
                pid = nursery.start(path, options)
                if n % 4 == 3:
                    wait_for(path, MOMENTS["recovery"], nursery, 0.3)
                elif n % 2:
                    wait_for(path, MOMENTS[aim], nursery, 0.3)
                else:
                    time.sleep(rng.uniform(0, 0.04))
                nursery.kill(pid)
                found = Found(path)
                hits["kills"] += 1
                hits["sealed WALs"] += found.kinds["wal"] > 2
                for name in (aim, "recovery"):
                    hits[name] += MOMENTS[name](found)
                if path.exists() and (path / filenames.CURRENT).exists():
                    check(path, model, nursery, read_only=n % 5 != 4)
            assert model.number > 100
            check(path, model, nursery, read_only=False)
    finally:
        nursery.close()
    assert hits["kills"] >= min(KILLS, 100)
    for name in ("flush", "compaction", "recovery", "sealed WALs"):
        assert hits[name] > 0, f"no kill hit: {name} ({dict(hits)})"
