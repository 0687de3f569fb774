"""Space that did not come back by itself, and work that was not worth it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

import kvengine
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage.clock import ManualClock
from tests.regressions.disks import eventually


def segment_bytes(db: kvengine.Engine) -> int:
    return sum(level.bytes for level in db.stats().levels)


def let_time_work(db: kvengine.Engine) -> None:
    """Without threads, background work runs in a memtable's first commit that states a time."""
    db.flush()
    db.set("other", "tick", "n", b"", ttl=1)


def long_names(batch: kvengine.Batch, n: int) -> None:
    key = f"{n:05}-of-a-workflow-with-a-name-much-longer-than-its-state"
    batch.set("WorkflowService", key, "n", b"1")
    batch.expire("WorkflowService", key, ttl=60)


def entries_before_their_object(batch: kvengine.Batch, n: int) -> None:
    for state_key in ("step", "timer", "token"):
        batch.set("WorkflowService", f"{n:05}", state_key, b"x" * 50, ttl=60)
    batch.set("WorkflowService", f"{n:05}", "n", b"1" * 20)
    batch.expire("WorkflowService", f"{n:05}", ttl=1_000_000)


@pytest.mark.parametrize("write", [long_names, entries_before_their_object])
def test_space_of_expired_data(write: Callable[[kvengine.Batch, int], None]) -> None:
    """Once half of a segment has expired its space comes back without a manual call.

    What expires was weighed without the names of its objects against a whole
    with them, so that where names are longer than states it never was half. And
    an entry's own ttl counted for nothing where its object has an expiry too.
    """
    clock = ManualClock()
    with kvengine.open("db", fs=MemoryFileSystem(), clock=clock, background="none") as db:
        with db.batch() as batch:
            batch.set("Alpha", "stays", "n", b"1")
            for n in range(1000):
                write(batch, n)
            batch.set("Zulu", "stays", "n", b"1")
        db.flush()
        db.compact()
        before = segment_bytes(db)
        let_time_work(db)
        assert segment_bytes(db) == before, "nothing has expired yet"
        clock.advance(600)
        let_time_work(db)
        assert segment_bytes(db) < before / 2
        assert db.get("Alpha", "stays", "n") == db.get("Zulu", "stays", "n") == b"1"


def exhausted(walk: Iterator[object]) -> None:
    for _ in walk:
        pass


def dropped(walk: Iterator[object]) -> None:
    """Nothing but the caller's reference is left, and that goes now."""


@pytest.mark.parametrize("end", [exhausted, dropped])
def test_space_held_by_a_walk(end: Callable[[Iterator[object]], None]) -> None:
    """Files that a scan or listing held go when it ends.

    It gave its moment back and nobody looked what that had held: on a database
    with nothing else to do the dead segments stayed until it was closed.
    """
    disk = MemoryFileSystem()

    def segments() -> list[str]:
        return [name for name in disk.listdir("db") if name.endswith(".segment")]

    with kvengine.open("db", fs=disk, background="thread", durability="os") as db:
        for n in range(200):
            db.set("s", f"{n:03}", "n", b"x" * 500)
        db.flush()
        walks: list[Iterator[object]] = [db.scan("s"), db.object_keys("s")]
        for walk in walks:
            next(walk)
        db.clear_service("s")
        db.compact()
        assert db.stats().segments == 0 and len(segments()) == 1
        del walk
        while walks:
            end(walks.pop())
        assert db.stats().open_snapshots == 0
        assert eventually(lambda: not segments(), 3.0)


def test_space_of_cleared_entries() -> None:
    """Entries cleared one by one give their space back on a database that then is idle.

    Only the clearing of objects and ranges had an age; the tombstones of entries
    waited in the memtable for it to fill, and what they cover waited with them.
    """
    clock, disk = ManualClock(), MemoryFileSystem()
    options = {"background": "thread", "durability": "os", "tombstone_age": 60.0}
    with kvengine.open("db", fs=disk, clock=clock, **options) as db:
        for n in range(50):
            db.set("s", f"{n}", "n", b"x" * 10_000)
        db.flush()
        db.compact()
        assert segment_bytes(db) > 500_000
        for n in range(50):
            db.clear("s", f"{n}", "n")
        clock.advance(61)
        assert eventually(lambda: segment_bytes(db) < 10_000, 3.0)


def test_tiny_range_clears() -> None:
    """A clear of one object's range, again and again, rewrites nothing before it has aged.

    Each was weighed by all of the segments that it touched, however little of
    them it covered: one small range a second rewrote whole segments every second.
    """
    clock, disk = ManualClock(), MemoryFileSystem()
    with kvengine.open("db", fs=disk, clock=clock, background="none", durability="os") as db:
        for n in range(40):
            db.set("s", f"{n:03}", "n", b"x" * 50_000)
        db.compact()
        before = db.stats()
        for n in range(5, 35, 5):
            db.clear_range("s", f"{n:03}", f"{n + 1:03}")
            db.set("s", "000", "n", b"2")
            db.set("s", "039", "n", b"2")
            clock.advance(1)
        after = db.stats()
        assert (after.flushes, after.compactions) == (before.flushes, before.compactions)
        db.flush()
        db.clear_range("s", "", None)
        assert segment_bytes(db) < 1000, "one that covers them is worth it at once"


def test_a_heavy_clear_after_a_light_one_starts_work() -> None:
    """With background="none" a range clear that covers much is compacted inside its commit.

    Once the first deletion of a memtable had been announced, later ones started nothing,
    and two megabytes of cleared objects stayed until some other commit filled the memtable.
    """
    fs = MemoryFileSystem()
    with kvengine.open("/db", fs=fs, background="none", durability="os") as db:
        for n in range(40):
            db.set("s", f"{n:03}", "n", bytes(50_000))
        db.compact()
        db.clear_range("s", "005", "006")
        db.clear_range("s", "", None)
        assert db.stats().bytes_on_disk < 1_000_000


def test_entries_that_expire_weigh_what_they_hold() -> None:
    """One large entry with a ttl beside small ones without is most of its object.

    It was weighed by its number, so a segment that was nearly all expired was never rewritten.
    """
    fs, clock = MemoryFileSystem(), ManualClock()
    options = {"background": "none", "durability": "os", "expiry_grace": 0.0, "clock": clock}
    with kvengine.open("/db", fs=fs, **options) as db:
        for n in range(100):
            with db.batch() as batch:
                batch.set("s", f"{n:03}", "large", bytes(10_000), ttl=5)
                for one in range(9):
                    batch.set("s", f"{n:03}", f"small{one}", b"1")
        db.flush()
        clock.advance(60)
        db.set("s", "other", "n", b"1", ttl=1)  # a commit with an expiry: what is due is done
        assert db.stats().bytes_on_disk < 300_000
        assert db.get_all("s", "000") == {f"small{one}": b"1" for one in range(9)}
