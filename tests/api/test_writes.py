"""The write verbs: set, clear, clear_all, clear_service, clear_range, and what they return."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

import kvengine
from kvengine.storage.clock import ManualClock

Settle = Callable[[kvengine.Engine], kvengine.Engine]


def keys(db: kvengine.Engine, service: str = "s") -> list[str]:
    return list(db.object_keys(service))


def test_every_write_verb_returns_its_stamp(db: kvengine.Engine, clock: ManualClock) -> None:
    """Strictly increasing, microseconds of now or the last plus one."""
    stamps = [
        db.set("s", "k", "n", b"1"),
        db.set("s", "k", "n", b"1"),
        db.clear("s", "k", "n"),
        db.clear_all("s", "k"),
        db.clear_service("s"),
        db.clear_range("s", "a", "b"),
    ]
    batch = kvengine.Batch()
    batch.set("s", "k", "n", b"1")
    stamps.append(db.write(batch))
    first = int(1_700_000_000 * 1e6)
    assert stamps == list(range(first, first + len(stamps)))
    clock.advance(1)
    assert db.set("s", "k", "n", b"1") == first + 1_000_000


def test_stamps_grow_when_the_clock_steps_back(
    reopen: Callable[..., kvengine.Engine], clock: ManualClock
) -> None:
    """Across reopens too: versions order an object's states whatever the clock does."""
    last = reopen().set("s", "k", "n", b"1")
    for step in (-30, -10_000, 20_000):
        clock.step(step)
        stamp = reopen().set("s", "k", "n", b"2")
        assert stamp > last
        last = stamp


def test_set_replaces_and_clear_removes(db: kvengine.Engine, settle: Settle) -> None:
    db.set("s", "k", "a", b"1")
    db.set("s", "k", "b", b"1")
    db = settle(db)
    db.set("s", "k", "a", b"2")
    db.clear("s", "k", "b")
    db.clear("s", "k", "never")
    db = settle(db)
    assert db.get_all("s", "k") == {"a": b"2"}
    db.clear("s", "k", "a")
    db = settle(db)
    assert keys(db) == [] and db.version("s", "k") == 0


def test_clear_all_removes_every_entry_by_one_small_write(
    db: kvengine.Engine, settle: Settle
) -> None:
    """Its cost does not grow with the object; a set behind it starts anew."""
    with db.batch() as batch:
        for number in range(2000):
            batch.set("s", "k", f"n{number}", b"x" * 50)
    db.set("s", "other", "n", b"kept")
    db = settle(db)
    before = db.stats().memtable_bytes
    db.clear_all("s", "k")
    assert db.stats().memtable_bytes - before < 100
    assert db.get_all("s", "k") == {} and keys(db) == ["other"]
    db.set("s", "k", "fresh", b"1")
    db = settle(db)
    assert db.get_all("s", "k") == {"fresh": b"1"}


def test_clear_service_removes_that_service_alone(db: kvengine.Engine, settle: Settle) -> None:
    """Services whose names begin alike, or hold NUL, are other services."""
    services = ["", "\0", "s", "s\0", "s\0\x01", "s\x01", "sa", "t"]
    for service in services:
        for key in ("", "\0", "k", "\U0010ffff"):
            db.set(service, key, "n", b"1")
    db = settle(db)
    before = db.stats().memtable_bytes
    for cleared in ("s", ""):
        db.clear_service(cleared)
    assert db.stats().memtable_bytes - before < 200
    assert db.services() == [one for one in services if one not in ("s", "")]
    db = settle(db)
    assert db.services() == [one for one in services if one not in ("s", "")]
    db.set("s", "k", "new", b"1")
    assert keys(db) == ["k"] and db.get_all("s", "k") == {"new": b"1"}


@pytest.mark.parametrize(
    ("start", "stop", "left"),
    [
        ("b", "d", ["", "a", "d"]),
        ("", None, []),
        ("b", None, ["", "a"]),
        ("", "b", ["b", "c", "d"]),
        ("", "", ["", "a", "b", "c", "d"]),
        ("c", "c", ["", "a", "b", "c", "d"]),
        ("d", "b", ["", "a", "b", "c", "d"]),
        ("", "\0", ["a", "b", "c", "d"]),
        ("bb", "cc", ["", "a", "b", "d"]),
    ],
)
def test_clear_range_takes_start_to_before_stop(
    db: kvengine.Engine, settle: Settle, start: str, stop: str | None, left: list[str]
) -> None:
    """``start >= stop`` clears nothing; stop=None goes to the end of the service."""
    for key in ("", "a", "b", "c", "d"):
        db.set("s", key, "n", b"1")
    db.set("t", "", "n", b"1")
    db.set("r", "zzz", "n", b"1")
    db = settle(db)
    db.clear_range("s", start, stop)
    assert keys(db) == left
    db = settle(db)
    assert keys(db) == left
    assert (keys(db, "t"), keys(db, "r")) == ([""], ["zzz"])
    for key in ("", "a", "b", "c", "d"):
        assert db.get("s", key, "n") == (b"1" if key in left else None)
    db.set("s", "b", "m", b"2")
    assert db.get_all("s", "b") == ({"n": b"1", "m": b"2"} if "b" in left else {"m": b"2"})


def test_a_closed_store_refuses_every_verb_by_name(db: kvengine.Engine) -> None:
    db.close()
    db.close()
    for use in (
        lambda: db.get("s", "k", "n"),
        lambda: db.get_all("s", "k"),
        lambda: db.set("s", "k", "n", b""),
        lambda: list(db.object_keys("s")),
        db.services,
        lambda: list(db.scan()),
        db.snapshot,
        db.batch,
        db.flush,
        db.compact,
        db.stats,
        db.verify,
        lambda: db.checkpoint("/copy"),
        lambda: db.expire("s", "k", ttl=1),
    ):
        with pytest.raises(kvengine.DatabaseClosed, match="/db is closed"):
            use()


def test_a_read_only_store_reads_and_refuses_writes(
    db: kvengine.Engine, reopen: Callable[..., kvengine.Engine]
) -> None:
    """Every write verb and every verb of the engine that would write: ReadOnly, saying why."""
    db.set("s", "k", "n", b"1")
    reader = reopen(read_only=True)
    assert reader.get("s", "k", "n") == b"1"
    assert list(reader.object_keys("s")) == ["k"]
    for use in (
        lambda: reader.set("s", "k", "n", b""),
        lambda: reader.clear("s", "k", "n"),
        lambda: reader.clear_all("s", "k"),
        lambda: reader.clear_service("s"),
        lambda: reader.clear_range("s", "a", None),
        lambda: reader.expire("s", "k", ttl=1),
        reader.batch,
        lambda: reader.write(kvengine.Batch()),
        reader.flush,
        reader.compact,
        lambda: reader.checkpoint("/copy"),
    ):
        with pytest.raises(kvengine.ReadOnly, match="opened with read_only=True"):
            use()
    assert reader.verify() == []


def test_pop_gives_each_value_to_one_caller(db: kvengine.Engine, settle: Settle) -> None:
    """A `get` and a `clear` gave a value to two callers that came at the same time."""
    assert db.pop("s", "k", "n") is None and db.stats().commits == 0
    for number in range(300):
        db.set("s", "k", f"{number:03}", b"%d" % number)
    db = settle(db)
    taken: list[bytes] = []
    begin = threading.Barrier(4)

    def take() -> None:
        begin.wait()
        for number in range(300):
            value = db.pop("s", "k", f"{number:03}")
            if value is not None:
                taken.append(value)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(b"%d" % number for number in range(300))
    assert not db.exists("s", "k")
