"""`refresh`: a reader beside the owner follows what the owner commits, moment by moment."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

import kvengine
from kvengine import CorruptionError, DatabaseClosed
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage.clock import ManualClock
from kvengine.store import StoredObject
from tests.durability.busy_owner import WRITER

ROOT = Path(__file__).resolve().parents[2]


def content(store: kvengine.Engine | kvengine.Snapshot) -> list[StoredObject]:
    return list(store.scan())


def step(dice: random.Random, db: kvengine.Engine, clock: ManualClock) -> None:
    service, key, name = dice.choice("st"), dice.choice("abcde"), dice.choice("lmn")
    match dice.randrange(12):
        case 0:
            db.clear(service, key, name)
        case 1:
            db.clear_all(service, key)
        case 2:
            db.clear_range(service, "b", dice.choice(["d", None]))
        case 3:
            db.expire(service, key, ttl=dice.choice([1, 50]))
        case 4:
            db.set(service, key, name, b"ttl", ttl=dice.choice([1, 50]))
        case 5:
            clock.advance(dice.choice([0.1, 2]))
        case 6:
            db.flush()
        case 7 if dice.random() < 0.5:
            db.compact()
        case 8:
            with db.batch() as batch:
                for one in "abc":
                    batch.set(service, one, name, dice.randbytes(9))
                batch.clear("t", "a", name)
        case _:
            db.set(service, key, name, dice.randbytes(dice.choice([1, 200])))


@pytest.mark.parametrize("seed", range(60))
def test_a_reader_that_refreshes_reads_what_the_owner_reads(seed: int) -> None:
    """Random commits, flushes, compactions, reopens: after each refresh the two agree, and a
    snapshot taken before it still reads its own moment, of its own time."""
    dice = random.Random(seed)
    fs, clock = MemoryFileSystem(), ManualClock(1_700_000_000.0)
    options = {"fs": fs, "clock": clock, "background": "none", "memtable_size": 3000}
    db = kvengine.open("db", **options)
    with kvengine.open("db", fs=fs, clock=clock, read_only=True) as reader:
        kept: list[tuple[kvengine.Snapshot, list[StoredObject]]] = []
        for _ in range(60):
            for _ in range(dice.randrange(4)):
                step(dice, db, clock)
            if dice.random() < 0.05:
                db.close()
                db = kvengine.open("db", **options)
            before = content(reader)
            changed = reader.refresh()
            assert content(reader) == content(db)
            assert changed or content(reader) == before
            for one in content(db):
                assert reader.get_all(one.service, one.key) == one.entries
                assert reader.version(one.service, one.key) == one.version
            if dice.random() < 0.2:
                snapshot = reader.snapshot()
                kept.append((snapshot, content(snapshot)))
            for snapshot, seen in kept:
                assert content(snapshot) == seen
        for snapshot, _ in kept:
            snapshot.close()
    db.close()


def test_without_news_nothing_is_read_anew() -> None:
    """False, and the same layers, when the owner did nothing."""
    fs = MemoryFileSystem()
    with kvengine.open("db", fs=fs, background="none") as db:
        db.set("s", "k", "n", b"1")
        with kvengine.open("db", fs=fs, read_only=True) as reader:
            view = reader._db.view
            assert not reader.refresh() and reader._db.view is view
            db.set("s", "k", "n", b"2")
            assert reader.refresh() and reader._db.view is view, "only the log has grown"
            assert reader.get("s", "k", "n") == b"2"
            db.flush()
            reader.refresh()
            assert reader._db.view is not view


def test_the_owner_itself_has_nothing_to_follow() -> None:
    with kvengine.open("db", fs=MemoryFileSystem(), background="none") as db:
        assert not db.refresh()
    with pytest.raises(DatabaseClosed):
        kvengine.open("db", fs=MemoryFileSystem(), background="none").__exit__(None, None, None)
        db.snapshot()


def test_after_close_it_is_refused() -> None:
    fs = MemoryFileSystem()
    kvengine.open("db", fs=fs, background="none").close()
    reader = kvengine.open("db", fs=fs, read_only=True)
    reader.close()
    with pytest.raises(DatabaseClosed):
        reader.refresh()


def test_damage_met_by_a_refresh_is_raised_and_changes_nothing() -> None:
    """A flipped byte in the log below what was synced since: refused, the moment before stays."""
    fs = MemoryFileSystem()
    with kvengine.open("db", fs=fs, background="none", durability="sync") as db:
        db.set("s", "k", "n", b"1")
        with kvengine.open("db", fs=fs, read_only=True) as reader:
            for i in range(5):
                db.set("s", "k", "n", b"new%d" % i)
            path = next(one for one in fs.paths() if one.endswith(".wal"))
            data = fs.read_bytes(path)
            at = data.index(b"new1")
            file = fs.open_write(path)
            file.seek(at)
            file.write(b"X")
            file.close()
            with pytest.raises(CorruptionError):
                reader.refresh()
            assert reader.get("s", "k", "n") in (b"1", b"new0")


@pytest.mark.slow
def test_beside_a_busy_owner_each_refresh_shows_whole_batches_and_never_goes_back(
    tmp_path: Path,
) -> None:
    """While the owner writes, flushes, compacts and is killed; files that were compacted away
    meanwhile stay readable."""
    owner = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "db")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert owner.stdout is not None and owner.stdout.readline() == "go\n"
        with kvengine.open(tmp_path / "db", read_only=True) as reader:
            last, rounds, end = -1, 0, time.monotonic() + 6
            while time.monotonic() < end:
                reader.refresh()
                with reader.snapshot() as snapshot:
                    found = {snapshot.get("s", key, "n") for key in ("a", "k", "z")}
                assert len(found) == 1, "half a batch"
                (value,) = found
                now = int(value or b"0")
                assert now >= last
                last, rounds = now, rounds + 1
            owner.kill()
            owner.wait()
            reader.refresh()
            with kvengine.open(tmp_path / "db") as after:
                assert content(after) == content(reader)
            assert rounds > 10 and last > 100
    finally:
        owner.kill()
        owner.wait()
        if owner.stdout is not None:
            owner.stdout.close()
