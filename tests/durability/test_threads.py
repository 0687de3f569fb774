"""Many threads on one database: nothing is seen by half, and nothing grows without bound."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from random import Random

import pytest

import kvengine
from kvengine.fs.disk import DiskFile, DiskFileSystem
from kvengine.fs.memory import MemoryFileSystem
from kvengine.fs.memory_file import MemoryFile

SECONDS = float(os.environ.get("KVENGINE_STRESS_SECONDS", "10"))
MOST_SECONDS = SECONDS + 60
"""For how long threads go on where a busy machine has let them do too little to prove anything."""
OBJECTS = [f"o{n}" for n in range(5)]


class Stress:
    """Writers that write one counter into several objects, and readers that watch it."""

    def __init__(self, db: kvengine.Engine) -> None:
        self.db = db
        self.stop = threading.Event()
        self.errors: list[str] = []
        self.counts = [0] * 4
        self.reads = [0] * 4

    def run(self, seconds: float) -> None:
        """Run for a while, watching that nothing grows without bound."""
        threads = [
            threading.Thread(target=self._guarded, args=(work, n))
            for work in (self._write, self._read)
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        highest: list[Usage] = []
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)  # threads change places as often as can be
        began = time.monotonic()
        while (took := time.monotonic() - began) < MOST_SECONDS and not self.errors:
            if took >= seconds and self.has_met_enough():
                break
            time.sleep(seconds / 100)
            highest.append(Usage(self.db))
        self.stop.set()
        sys.setswitchinterval(interval)
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        assert not self.errors
        check_bounds(highest)

    def has_met_enough(self) -> bool:
        stats = self.db.stats()
        return stats.flushes > 3 and stats.compactions > 1 and min(*self.counts, *self.reads) > 100

    def _guarded(self, work: object, n: int) -> None:
        try:
            while not self.stop.is_set():
                work(n)  # type: ignore[operator]
        except BaseException as error:
            self.errors.append(repr(error))

    def _write(self, n: int) -> None:
        """One writer per service; each commit raises the counter in all of its objects."""
        count = self.counts[n] + 1
        service, value = f"s{n}", b"%d" % count
        with_clear = count % 7 == 0
        batch = kvengine.Batch()
        if with_clear:
            batch.clear_service(service)
        for key in OBJECTS:
            batch.set(service, key, "n", value)
        batch.set(service, f"fill{count % 300}", "n", value * 60)
        self.db.write(batch, durability="sync" if count % 5 == 0 else "os")
        self.counts[n] = count

    def _read(self, n: int) -> None:
        """Each reader watches every writer, one object after another, either way round."""
        rng = Random(n + self.reads[n])
        writer = rng.randrange(4)
        service, seen = f"s{writer}", 0
        for _ in range(30):
            keys = OBJECTS if rng.random() < 0.5 else OBJECTS[::-1]
            floor = max(seen, self.counts[writer])
            values = [self.db.get(service, key, "n") or b"0" for key in keys]
            found = [floor, *map(int, values)]
            # What is read later is not older; nothing is older than what had returned before.
            assert found == sorted(found), f"time ran backwards: {found}"
            seen = found[-1]
        with self.db.snapshot() as snapshot:
            moment = {snapshot.get(service, key, "n") for key in OBJECTS}
            assert len(moment) == 1, f"a snapshot sees {moment}"
            if self.reads[n] % 10 == 0:
                listed = {one.key: one.entries["n"] for one in snapshot.scan(service, prefix="o")}
                assert set(listed.values()) <= moment
            assert int(moment.pop() or b"0") >= seen
        self.reads[n] += 1


class Usage:
    """What the process and the database use at a moment."""

    def __init__(self, db: kvengine.Engine) -> None:
        stats = db.stats()
        self.bytes = stats.bytes_on_disk
        self.memtable = stats.memtable_bytes
        self.snapshots = stats.open_snapshots
        self.frozen = stats.frozen_memtables
        self.errors = stats.background_errors
        self.threads = threading.active_count()
        self.files = len(os.listdir("/proc/self/fd"))


def check_bounds(found: list[Usage]) -> None:
    """No more than what the options and the live data call for, at any time."""
    assert max(one.errors for one in found) == 0
    assert max(one.snapshots for one in found) <= 8
    assert max(one.frozen for one in found) <= 5
    assert max(one.threads for one in found) < 20
    assert max(one.files for one in found) < 300
    assert max(one.memtable for one in found) < 3_000_000
    assert max(one.bytes for one in found) < 30_000_000
    half = len(found) // 2
    early, late = found[half // 2 : half], found[-half // 2 :]
    assert max(one.files for one in late) < 2 * max(one.files for one in early) + 20
    assert max(one.bytes for one in late) < 2 * max(one.bytes for one in early) + 4_000_000


@pytest.mark.slow
@pytest.mark.timeout(SECONDS * 2 + 120)
def test_writers_and_readers(tmp_path: Path) -> None:
    """4 writers and 4 readers beside compaction: time never runs backwards, snapshots are whole.

    KVENGINE_STRESS_SECONDS says for how long. No error, nothing grows without bound.
    """
    options = {"memtable_size": 128 * 1024, "l0_compact": 3, "level_base": 500_000}
    with kvengine.open(tmp_path / "db", **options) as db:
        stress = Stress(db)
        stress.run(SECONDS)
        stats = db.stats()
        assert stress.has_met_enough()
        assert stats.open_snapshots == 0
        last = list(stress.counts)
    with kvengine.open(tmp_path / "db") as db:
        assert db.stats().recovery == ()
        for n, count in enumerate(last):
            assert {db.get(f"s{n}", key, "n") for key in OBJECTS} == {b"%d" % count}
        assert db.verify() == []


class SlowFile(DiskFile):
    """A disk whose sync takes a few milliseconds."""

    __slots__ = ()

    def datasync(self) -> None:
        time.sleep(0.003)
        super().datasync()


class SlowDisk(DiskFileSystem):
    def create(self, path: str, /) -> DiskFile:
        file = super().create(path)
        fd, file._fd = file._fd, -1
        return SlowFile(fd)


def test_group_commit(tmp_path: Path) -> None:
    """Threads that wait for a sync share it: far fewer syncs than commits."""
    with kvengine.open(tmp_path / "db", fs=SlowDisk(), background="thread") as db:

        def write(n: int) -> None:
            for i in range(40):
                db.set("s", f"k{n}", "n", b"%d" % i)

        threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
        before = db.stats()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        after = db.stats()
        commits, syncs = after.commits - before.commits, after.syncs - before.syncs
        assert commits == 320
        assert 0 < syncs < commits / 2


class Gate:
    """Holds every datasync of WAL files between `close` and `open`."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.go = threading.Event()
        self.go.set()


class GatedFile(MemoryFile):
    __slots__ = ("gate",)

    gate: Gate

    def datasync(self) -> None:
        self.gate.entered.set()
        assert self.gate.go.wait(10)
        super().datasync()


class GatedDisk(MemoryFileSystem):
    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate

    def create(self, path: str, /) -> MemoryFile:
        file = super().create(path)
        assert file._node is not None
        gated = GatedFile(self, file._node, path, writable=True)
        gated.gate = self.gate
        return gated


def test_commits_become_visible_in_log_order() -> None:
    """An os commit behind a sync commit in the log is not visible before it, nor returned.

    Both wait for the sync; a snapshot taken meanwhile sees neither.
    """
    gate = Gate()
    with kvengine.open("db", fs=GatedDisk(gate), background="none") as db:
        db.set("s", "first", "n", b"1")
        gate.go.clear()
        gate.entered.clear()
        batch = kvengine.Batch()
        batch.set("s", "second", "n", b"1")
        sync = threading.Thread(target=lambda: db.set("s", "first", "n", b"2"))
        follower = threading.Thread(target=lambda: db.write(batch, durability="os"))
        sync.start()
        assert gate.entered.wait(10)
        follower.start()
        time.sleep(0.1)
        assert db.get("s", "first", "n") == b"1"
        assert db.get("s", "second", "n") is None
        with db.snapshot() as snapshot:
            gate.go.set()
            sync.join(10)
            follower.join(10)
            assert snapshot.get("s", "first", "n") == b"1"
            assert snapshot.get("s", "second", "n") is None
        assert db.get("s", "first", "n") == b"2"
        assert db.get("s", "second", "n") == b"1"
        assert db.version("s", "second") > db.version("s", "first")


def test_group_members_build_on_each_other() -> None:
    """A commit that waits is what the next one is checked against: expectations see it."""
    gate = Gate()
    with kvengine.open("db", fs=GatedDisk(gate), background="none") as db:
        version = db.set("s", "k", "n", b"1")
        gate.go.clear()
        gate.entered.clear()
        first = threading.Thread(target=lambda: db.set("s", "k", "n", b"2"))
        first.start()
        assert gate.entered.wait(10)
        batch = kvengine.Batch()
        batch.set("s", "k", "n", b"3")
        with pytest.raises(kvengine.VersionConflict):
            db.write(batch, expect={("s", "k"): version})
        gate.go.set()
        first.join(10)
        assert db.get("s", "k", "n") == b"2"
