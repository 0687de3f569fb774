"""`kvengine.testing`: what tests of applications can do to a database, and what they do wrong."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

import kvengine
import kvengine.aio
from kvengine.testing import ManualClock, MemoryDatabase


@pytest.fixture
def kv() -> Iterator[MemoryDatabase]:
    with MemoryDatabase() as found:
        yield found


def test_a_ttl_runs_out_without_sleeping(kv: MemoryDatabase) -> None:
    """A test of expiry slept for real, or knew modules that are not public."""
    kv.db.set("Cart", "c", "token", b"t", ttl=timedelta(days=7))
    assert kv.db.expires_at("Cart", "c", "token") == kv.clock.now() + 7 * 86400
    kv.clock.advance(timedelta(days=7, microseconds=-1))
    assert kv.db.exists("Cart", "c")
    kv.clock.advance(0.000001)
    assert not kv.db.exists("Cart", "c")


def test_a_clock_begins_where_the_test_says() -> None:
    """At a date that a handler is about, in seconds or as a datetime."""
    date = datetime(2028, 2, 29, tzinfo=UTC)
    for now in (date, date.timestamp()):
        with MemoryDatabase(clock=ManualClock(now)) as kv:
            stamp = kv.db.set("s", "k", "n", b"1")
            assert stamp == date.timestamp() * 1_000_000 and kv.clock.now() == date.timestamp()


def test_a_step_of_the_wall_clock_is_not_time(kv: MemoryDatabase) -> None:
    """A wrong reading of a year ahead must not expire what a handler keeps for an hour."""
    kv.db.set("s", "k", "n", b"1", ttl=3600)
    kv.clock.step(timedelta(days=365))
    assert kv.db.exists("s", "k")
    kv.clock.step(timedelta(days=-365))
    kv.clock.advance(3600)
    assert not kv.db.exists("s", "k")


def test_wrong_uses_of_a_clock_are_told() -> None:
    """Time that runs back, a date without a zone."""
    clock = ManualClock()
    with pytest.raises(ValueError, match=r"does not run back: use step\(-1\)"):
        clock.advance(-1)
    with pytest.raises(ValueError, match="time zone"):
        ManualClock(datetime(2028, 2, 29))


def test_rounding_makes_no_instant_early() -> None:
    """0.57 s after a ttl of 0.57 s began the entry was still there for a microsecond."""
    with MemoryDatabase() as kv:
        kv.db.set("s", "k", "n", b"1", ttl=0.57)
        kv.clock.advance(0.57)
        assert not kv.db.exists("s", "k")


def test_kill_keeps_what_was_written_and_a_power_cut_what_was_synced() -> None:
    """With "os" they differ; with "sync", the default, no acknowledged commit is ever lost."""
    with MemoryDatabase(durability="os") as kv:
        kv.db.set("s", "k", "n", b"1")
        assert kv.kill() is kv.db and kv.db.get("s", "k", "n") == b"1"
        kv.db.set("s", "k", "n", b"2")
        assert kv.power_cut().get("s", "k", "n") in (None, b"1")
    with MemoryDatabase() as kv:
        kv.db.set("s", "k", "n", b"1")
        for seed in (None, *range(10)):
            assert kv.power_cut(seed).get("s", "k", "n") == b"1"


def test_what_was_open_before_a_kill_is_closed(kv: MemoryDatabase) -> None:
    """Handles, sessions and snapshots of the dead process write nothing into the living one."""
    old = kv.db.object("s", "k")
    with kv.db.snapshot() as snapshot:
        kv.kill()
        with pytest.raises(kvengine.DatabaseClosed):
            old.set("n", 1)
        with pytest.raises(kvengine.DatabaseClosed):
            snapshot.get("s", "k", "n")
    assert not kv.db.exists("s", "k")
    kv.db.close()
    assert not kv.kill().exists("s", "k")
    assert not kv.reopen().exists("s", "k")


def put_down(db: kvengine.Engine) -> None:
    """Move 30 from one account to another by two commits, where one batch was called for."""
    db.set("Account", "alice", "held", b"70")
    db.set("Account", "bob", "held", b"30")


@pytest.mark.parametrize("power", [False, True])
def test_two_commits_where_one_was_called_for_are_found(kv: MemoryDatabase, power: bool) -> None:
    """The bug that crash points are there for: between two commits a crash loses money."""
    kv.db.set("Account", "alice", "held", b"100")
    with kv.crash_points(power=power) as points:
        put_down(kv.db)
    totals = [sum(int(each.entries["held"]) for each in db.scan("Account")) for db in points]
    assert totals[0] == 100 and totals[-1] == 100
    assert set(totals) == {100, 70}
    assert len(totals) == len(points) * (3 if power else 1)


def test_crash_points_of_a_block_that_raises(kv: MemoryDatabase) -> None:
    """The error comes through, and what had happened until then can be looked at."""
    points = kv.crash_points()
    with pytest.raises(ZeroDivisionError):
        with points:
            kv.db.set("s", "k", "n", b"1")
            raise ZeroDivisionError
    for _ in range(2):  # it can be walked again
        found = [db.exists("s", "k") for db in points]
        assert (found[0], found[-1]) == (False, True)


def test_crash_points_of_asyncio(kv: MemoryDatabase) -> None:
    """Commits of a face for asyncio run in other threads, and are noted like any."""

    async def run() -> None:
        db = kvengine.aio.wrap(kv.db)
        await asyncio.gather(*(db.set("s", str(number), "n", b"1") for number in range(5)))

    with kv.crash_points() as points:
        asyncio.run(run())
    counts = [db.count("s") for db in points]
    assert counts == sorted(counts) and (counts[0], counts[-1]) == (0, 5)


def test_wrong_uses_of_crash_points_are_told(kv: MemoryDatabase) -> None:
    """Without a block there is nothing to walk over; two at once would note each other."""
    with pytest.raises(kvengine.KVEngineError, match="`with` block"):
        list(kv.crash_points())
    with kv.crash_points():
        with pytest.raises(kvengine.KVEngineError, match="end it first"):
            with kv.crash_points():
                pass


def test_a_full_disk_refuses_writes_until_there_is_space(kv: MemoryDatabase) -> None:
    """Reads go on, and after the disk was freed and the database reopened all is there."""
    kv.db.set("s", "k", "n", b"1")
    with kv.full_disk():
        with pytest.raises((kvengine.WriteFailed, OSError)) as raised:
            kv.db.set("s", "k", "n", b"2")
        chain = (raised.value, raised.value.__cause__)
        assert errno.ENOSPC in {getattr(one, "errno", None) for one in chain}
        assert kv.db.get("s", "k", "n") == b"1"
    with pytest.raises(kvengine.WriteFailed):
        kv.db.set("s", "k", "n", b"2")
    kv.reopen().set("s", "k", "n", b"3")
    assert kv.reopen().get("s", "k", "n") == b"3"


def test_a_disk_that_is_full_at_the_end_of_a_test(kv: MemoryDatabase) -> None:
    """The fixture closes a database that takes no more writes without a second failure."""
    kv.fs.fail_at(1, sticky=True)
    with pytest.raises((kvengine.WriteFailed, OSError)):
        kv.db.set("s", "k", "n", b"1")
