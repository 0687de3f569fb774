"""Time: an entry's ttl, an object's expiry, and what ends them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest

import kvengine
from kvengine.storage.clock import ManualClock

Settle = Callable[[kvengine.Engine], kvengine.Engine]

START = 1_700_000_000.0
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def test_an_entry_is_absent_from_the_instant_its_ttl_ends(
    db: kvengine.Engine, settle: Settle, clock: ManualClock
) -> None:
    """Not a microsecond earlier or later, in every verb; its object goes with its last entry."""
    db.set("s", "k", "n", b"1", ttl=10)
    db.set("s", "k", "m", b"1", ttl=timedelta(seconds=20))
    db = settle(db)
    version = db.version("s", "k")
    clock.advance(9.999999)
    assert db.get_all("s", "k") == {"m": b"1", "n": b"1"}
    clock.advance(0.000001)
    assert db.get("s", "k", "n") is None
    assert db.get_many("s", "k", ["n", "m"]) == {"m": b"1"}
    assert db.get_all("s", "k") == {"m": b"1"} and db.state_keys("s", "k") == ["m"]
    found = db.load("s", "k")
    assert found is not None and found.entries == {"m": b"1"} and found.expires_at is None
    assert db.version("s", "k") == version, "an entry's ttl running out changes no version"
    assert db.expires_at("s", "k") is None
    clock.advance(10)
    assert db.load("s", "k") is None and db.version("s", "k") == 0
    assert list(db.object_keys("s")) == [] and db.services() == []


def test_a_set_without_ttl_removes_the_old_one(
    db: kvengine.Engine, settle: Settle, clock: ManualClock
) -> None:
    """And one with a ttl replaces it; a clear takes it away with the entry."""
    for name in ("kept", "longer", "shorter", "again"):
        db.set("s", "k", name, b"1", ttl=10)
    db = settle(db)
    db.set("s", "k", "kept", b"2")
    db.set("s", "k", "longer", b"2", ttl=100)
    db.set("s", "k", "shorter", b"2", ttl=1)
    db.clear("s", "k", "again")
    db.set("s", "k", "again", b"2")
    db = settle(db)
    clock.advance(2)
    assert db.state_keys("s", "k") == ["again", "kept", "longer"]
    clock.advance(10)
    assert db.state_keys("s", "k") == ["again", "kept", "longer"]
    clock.advance(100)
    assert db.state_keys("s", "k") == ["again", "kept"]


def test_an_object_is_absent_from_the_instant_it_expires(
    db: kvengine.Engine, settle: Settle, clock: ManualClock
) -> None:
    db.set("s", "k", "n", b"1")
    assert db.expire("s", "k", ttl=10) is True
    db = settle(db)
    assert db.expires_at("s", "k") == START + 10
    clock.advance(9.999999)
    assert db.get("s", "k", "n") == b"1"
    clock.advance(0.000001)
    assert db.get("s", "k", "n") is None
    assert db.get_many("s", "k", ["n"]) == {} == db.get_all("s", "k")
    assert db.load("s", "k") is None and db.load("s", "k", max_bytes=100) is None
    assert db.state_keys("s", "k") == [] and db.version("s", "k") == 0
    assert db.expires_at("s", "k") is None
    assert list(db.scan()) == [] == list(db.object_keys("s")) == db.services()


def test_expire_sets_moves_and_removes(
    db: kvengine.Engine, settle: Settle, clock: ManualClock
) -> None:
    """At a time, after a time, never; it says whether there was such an object, and is a commit."""
    db.set("s", "k", "n", b"1")
    before = db.version("s", "k")
    for given, expected in (
        ({"at": START + 100}, START + 100),
        ({"ttl": 5}, START + 5),
        ({"ttl": timedelta(minutes=1)}, START + 60),
        ({"ttl": 0.5}, START + 0.5),
        ({}, None),
        ({"ttl": 30}, START + 30),
    ):
        assert db.expire("s", "k", **given) is True
        db = settle(db)
        assert db.expires_at("s", "k") == expected
        assert db.version("s", "k") > before
        before = db.version("s", "k")
    clock.advance(29)
    assert db.expire("s", "k") is True
    clock.advance(1000)
    assert db.get("s", "k", "n") == b"1"


def test_expire_of_an_absent_object_writes_nothing(
    db: kvengine.Engine, settle: Settle, clock: ManualClock
) -> None:
    """Never there, cleared, or expired: False, and no commit."""
    db.set("s", "cleared", "n", b"1")
    db.clear("s", "cleared", "n")
    db.set("s", "expired", "n", b"1")
    db.expire("s", "expired", ttl=1)
    db.set("s", "ttl", "n", b"1", ttl=1)
    db = settle(db)
    clock.advance(2)
    stats = db.stats()
    for key in ("never", "cleared", "expired", "ttl"):
        for given in ({"ttl": 5}, {"at": START + 100}, {}):
            assert db.expire("s", key, **given) is False
    after = db.stats()
    assert (after.commits, after.memtable_bytes) == (stats.commits, stats.memtable_bytes)
    assert after.last_stamp == stats.last_stamp


def test_expire_in_the_past_ends_the_object_at_once(db: kvengine.Engine, settle: Settle) -> None:
    db.set("s", "k", "n", b"1")
    assert db.expire("s", "k", at=START - 1) is True
    db = settle(db)
    assert db.get("s", "k", "n") is None
    assert db.expire("s", "k") is False


def test_a_write_to_an_expired_object_starts_a_new_one(
    db: kvengine.Engine, settle: Settle, clock: ManualClock
) -> None:
    """Neither its old entries nor its old expiry show in the new one."""
    db.set("s", "k", "old", b"1")
    db.expire("s", "k", ttl=5)
    db = settle(db)
    clock.advance(6)
    db.set("s", "k", "new", b"2")
    db = settle(db)
    assert db.get_all("s", "k") == {"new": b"2"}
    assert db.expires_at("s", "k") is None
    clock.advance(10_000)
    assert db.get_all("s", "k") == {"new": b"2"}


def test_a_write_before_the_expiry_keeps_it(
    db: kvengine.Engine, settle: Settle, clock: ManualClock
) -> None:
    """Sets, and clears of single entries, leave the object's expiry as it is."""
    db.set("s", "k", "a", b"1")
    db.expire("s", "k", ttl=5)
    db = settle(db)
    db.set("s", "k", "b", b"2")
    db.clear("s", "k", "a")
    db = settle(db)
    assert db.expires_at("s", "k") == START + 5
    clock.advance(5)
    assert db.get_all("s", "k") == {}


def test_clearing_one_by_one_leaves_the_expiry(
    db: kvengine.Engine, settle: Settle, clock: ManualClock
) -> None:
    """An object without entries reads as without expiry; set again, its expiry is still there."""
    db.set("s", "k", "a", b"1")
    db.expire("s", "k", ttl=5)
    db.clear("s", "k", "a")
    db = settle(db)
    assert db.expires_at("s", "k") is None and db.version("s", "k") == 0
    db.set("s", "k", "b", b"1")
    db = settle(db)
    assert db.expires_at("s", "k") == START + 5
    clock.advance(5)
    assert db.get("s", "k", "b") is None


@pytest.mark.parametrize("verb", ["clear_all", "clear_range", "clear_service"])
def test_clearing_the_whole_ends_the_expiry(
    db: kvengine.Engine, settle: Settle, clock: ManualClock, verb: str
) -> None:
    db.set("s", "k", "a", b"1")
    db.expire("s", "k", ttl=5)
    db = settle(db)
    if verb == "clear_all":
        db.clear_all("s", "k")
    elif verb == "clear_range":
        db.clear_range("s", "", None)
    else:
        db.clear_service("s")
    db.set("s", "k", "b", b"1")
    db = settle(db)
    assert db.expires_at("s", "k") is None
    clock.advance(100)
    assert db.get_all("s", "k") == {"b": b"1"}


def test_an_expired_entry_does_not_come_back(
    reopen: Callable[..., kvengine.Engine], clock: ManualClock
) -> None:
    """P9: by reopen, compaction, or a clock that steps back within max_clock_step."""
    db = reopen()
    db.set("s", "k", "n", b"1", ttl=10)
    db.set("s", "object", "n", b"1")
    db.expire("s", "object", ttl=10)
    db.flush()
    clock.advance(11)
    db.set("s", "other", "n", b"1")
    for step in (-30, -20):
        clock.step(step)
        assert db.get("s", "k", "n") is None and db.get("s", "object", "n") is None
        db = reopen()
        assert db.get("s", "k", "n") is None and db.get("s", "object", "n") is None
        db.compact()
        assert db.get("s", "k", "n") is None and db.get("s", "object", "n") is None


def test_one_wrong_reading_of_the_clock_expires_nothing(
    reopen: Callable[..., kvengine.Engine], clock: ManualClock
) -> None:
    """A step far ahead is not believed while open; opened again at the right time all is there."""
    db = reopen()
    db.set("s", "k", "n", b"1", ttl=3600)
    db.flush()
    clock.step(10 * 365 * 86_400)
    assert db.get("s", "k", "n") == b"1"
    db = reopen()
    assert db.get("s", "k", "n") is None, "opened under that clock, it has expired"
    db.compact()
    clock.step(-10 * 365 * 86_400)
    db = reopen()
    assert db.get("s", "k", "n") == b"1", "and was not dropped from disk at once"


def test_a_ttl_beyond_the_calendar_is_for_ever(db: kvengine.Engine, clock: ManualClock) -> None:
    """Capped at the year 9999, so that every expiry is a date."""
    db.set("s", "k", "n", b"1", ttl=1e18)
    db.expire("s", "k", ttl=1e18)
    assert db.expires_at("s", "k") <= 253_402_300_800
    clock.advance(1e9)
    assert db.get("s", "k", "n") == b"1"


def test_an_entry_expires_at_a_time(
    db: kvengine.Engine, settle: Settle, clock: ManualClock
) -> None:
    """As seconds or as an aware datetime. Whoever had a deadline computed a ttl from it, which was
    late by the time that the commit took, and negative when the deadline had just passed.
    """
    at = datetime.fromtimestamp(START + 20, UTC)
    db.set("s", "k", "n", b"1", expires_at=START + 10)
    with db.batch() as batch:
        batch.set("s", "k", "m", b"1", expires_at=at.astimezone(timezone(timedelta(hours=5))))
    db.set("s", "k", "kept", b"1")
    db = settle(db)
    assert db.expires_at("s", "k", "n") == START + 10 and db.expires_at("s", "k", "m") == START + 20
    assert db.expires_at("s", "k", "kept") is db.expires_at("s", "k", "none") is None
    assert db.expires_at("s", "none", "n") is db.expires_at("s", "k") is None
    clock.advance(10)
    assert db.state_keys("s", "k") == ["kept", "m"] and db.expires_at("s", "k", "n") is None
    db.set("s", "k", "past", b"1", expires_at=START)
    assert db.get("s", "k", "past") is None
    assert db.expire("s", "k", at=at) and db.expires_at("s", "k") == START + 20
    clock.advance(10)
    assert not db.exists("s", "k")


def test_a_time_without_a_zone_is_refused(db: kvengine.Engine) -> None:
    """It would mean another instant on each machine. Nothing is written."""
    naive = datetime(2030, 1, 1)
    for write in (
        lambda: db.set("s", "k", "n", b"1", expires_at=naive),
        lambda: db.expire("s", "k", at=naive),
    ):
        with pytest.raises(ValueError, match="aware datetime"):
            write()
    with pytest.raises(ValueError, match="ttl= or expires_at=, not both"):
        db.set("s", "k", "n", b"1", ttl=1, expires_at=START + 1)
    assert db.stats().commits == 0


@pytest.mark.parametrize("ttl", [0, -1, -1e300, timedelta(0), timedelta(days=-1)])
def test_a_ttl_that_is_over_ends_at_once(
    db: kvengine.Engine, settle: Settle, clock: ManualClock, ttl: float | timedelta
) -> None:
    """``deadline - now`` is negative where the deadline has passed. That was a ValueError, which
    came once in a while and only under load; it means what it says.
    """
    for name in ("n", "m", "session"):
        db.set("s", "k", name, b'"old"')
    db.set("s", "other", "n", b"1")
    db = settle(db)
    stamp = db.set("s", "k", "n", b"new", ttl=ttl)
    with db.batch() as batch:
        batch.set("s", "k", "m", b"new", ttl=ttl)
    with db.object("s", "k").session() as state:
        state.set("session", "new", ttl=ttl)
        assert state.get("session") is None
    assert stamp and not db.exists("s", "k") and db.version("s", "k") == 0
    assert db.expire("s", "other", ttl=ttl) and not db.exists("s", "other")
    clock.advance(100)
    assert list(db.object_keys("s")) == []


def test_the_expiry_of_an_entry_of_a_large_object(
    db: kvengine.Engine, settle: Settle, clock: ManualClock
) -> None:
    """It is read without decoding the object, and agrees with `load`."""
    with db.batch() as batch:
        for number in range(200):
            ttl = 10 + number if number % 3 == 0 else None
            batch.set("s", "k", f"{number:03}", bytes(200), ttl=ttl)
    db = settle(db)
    clock.advance(50)
    found = db.load("s", "k")
    assert found is not None and found.expiries
    for number in range(200):
        name = f"{number:03}"
        assert db.expires_at("s", "k", name) == found.expiries.get(name)
    db.expire("s", "k", ttl=5)
    clock.advance(6)
    assert db.expires_at("s", "k", "150") is None
