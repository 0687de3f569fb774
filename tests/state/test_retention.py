"""Retention of services: stated at open or set later, and stored with the database.

A retention that only the code stated differed between two programs of one database: who completed a
workflow decided how long it was kept, and nobody was told.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import kvengine
import kvengine.aio
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage.clock import ManualClock
from kvengine.testing import MemoryDatabase
from tests.api.refusals import refuses

WEEK = timedelta(days=7)
OTHER = "retention of 'Order' is 1:00:00 here, but the database has stored 7 days, 0:00:00"


@pytest.fixture
def place(fs: MemoryFileSystem, clock: ManualClock) -> Callable[..., kvengine.Engine]:
    """Opens one database in memory."""

    def opened(**options: Any) -> kvengine.Engine:
        return kvengine.open("/db", fs=fs, clock=clock, background="none", **options)

    return opened


def test_what_is_stated_once_holds_for_every_open(place: Callable[..., kvengine.Engine]) -> None:
    """Whoever opens the database next need not state it, and keeps workflows as long."""
    with place(retention={"Order": WEEK, "Visit": 60}) as db:
        assert db.workflow("Order", "1").retention == WEEK
    with place(retention={"Visit": timedelta(minutes=1), "Added": 0}) as db:
        assert [db.retention(name) for name in ("Order", "Visit", "Added", "None")] == [
            WEEK,
            timedelta(minutes=1),
            timedelta(0),
            timedelta(days=1),
        ]
        order = db.workflow("Order", "1")
        order.set("n", 1)
        order.complete()
        (found,) = db.workflows("Order")
        assert found.expires_at - found.completed_at == WEEK.total_seconds()
    with place(read_only=True, retention={"Order": WEEK}) as reader:
        assert reader.retention("Order") == WEEK and reader.workflow("Order", "1").completed


@pytest.mark.parametrize("read_only", [False, True])
def test_an_open_that_states_another_one_says_so(
    place: Callable[..., kvengine.Engine], fs: MemoryFileSystem, read_only: bool
) -> None:
    """Nothing is written by it, what it adds included, and the directory is free afterwards."""
    with place(retention={"Order": WEEK}):
        pass
    before = {name: fs.read_bytes(f"/db/{name}") for name in fs.listdir("/db")}
    with refuses(ValueError, OTHER):
        place(retention={"Added": 5, "Order": 3600}, read_only=read_only)
    assert {name: fs.read_bytes(f"/db/{name}") for name in fs.listdir("/db")} == before
    with place() as db:
        assert db.retention("Added") == timedelta(days=1)


def test_a_handle_that_states_another_one_says_so(place: Callable[..., kvengine.Engine]) -> None:
    with place(retention={"Order": WEEK}) as db:
        with refuses(ValueError, OTHER):
            db.workflow("Order", "1", retention=3600)
        assert db.workflow("Order", "1", retention=7 * 86_400).retention == WEEK
        assert db.workflow("Other", "1", retention=3600).retention == timedelta(hours=1)


def test_it_can_be_changed(place: Callable[..., kvengine.Engine]) -> None:
    """For handles made from then on; what is complete keeps its time. A reader sees it too."""
    with place(retention={"Order": WEEK}) as db:
        db.workflow("Order", "1").complete()
        reader = place(read_only=True)
        db.set_retention("Order", 3600)
        db.set_retention("New", WEEK)
        assert db.retentions() == {"New": WEEK, "Order": timedelta(hours=1)}
        assert db.workflow("Order", "2").retention == timedelta(hours=1)
        db.workflow("Order", "2").complete()
        kept = [one.expires_at - one.completed_at for one in db.workflows("Order")]
        assert kept == [WEEK.total_seconds(), 3600]
        assert reader.retention("Order") == WEEK
        reader.refresh()
        assert (reader.retention("Order"), reader.retention("New")) == (timedelta(hours=1), WEEK)
        with pytest.raises(kvengine.ReadOnly):
            reader.set_retention("Order", 1)
        reader.close()
    with place(retention={"Order": 3600}) as db:
        assert db.retention("New") == WEEK
    with pytest.raises(kvengine.DatabaseClosed):
        db.set_retention("Order", 1)


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"Order": "7 days"}, TypeError, "retention must be seconds or a timedelta, not str"),
        ({"Order": -1}, ValueError, "retention must be zero or more, and finite, not -1"),
        ({7: 1}, TypeError, "service must be str, not int"),
        (WEEK, TypeError, "retention must map services to seconds or timedeltas, not timedelta"),
    ],
)
def test_retentions_that_make_no_sense(
    place: Callable[..., kvengine.Engine], given: Any, kind: type[Exception], message: str
) -> None:
    with refuses(kind, message):
        place(retention=given)
    with place() as db:
        if isinstance(given, dict):
            with refuses(kind, message):
                db.set_retention(*next(iter(given.items())))
        assert db.retention("Order") == timedelta(days=1)


def test_copies_have_it_too(place: Callable[..., kvengine.Engine], fs: MemoryFileSystem) -> None:
    """A checkpoint, a repaired database, and one whose manifest was written anew."""
    with place(retention={"Order": WEEK}) as db:
        db.set_retention("Late", 60)
        db.checkpoint("/copy")
    kvengine.repair("/db", "/repaired", fs=fs)
    for path in ("/copy", "/repaired"):
        with kvengine.open(path, fs=fs, background="none") as copy:
            assert copy.retention("Order") == WEEK, path
            assert copy.retention("Late") == timedelta(minutes=1), path


def test_it_survives_what_a_commit_survives() -> None:
    """`set_retention` returns once it is on the medium: a power cut loses nothing of it."""
    with MemoryDatabase() as place:
        place.db.set_retention("Order", WEEK)
        assert place.power_cut().retention("Order") == WEEK


def test_in_asyncio(place: Callable[..., kvengine.Engine]) -> None:
    async def main() -> None:
        with place(retention={"Order": WEEK}) as engine:
            db = kvengine.aio.wrap(engine)
            assert db.workflow("Order", "1").retention == db.retention("Order") == WEEK
            await db.set_retention("Order", 5)
            assert db.workflow("Order", "1").retention == timedelta(seconds=5)
            await db.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "kept", [timedelta(milliseconds=1001), 1.001, timedelta(microseconds=32_850_084_950), 0.1 + 0.2]
)
def test_what_is_told_can_be_stated(place: Callable[..., kvengine.Engine], kept: Any) -> None:
    """A microsecond was cut off on the way: the database refused what it had itself told."""
    with place(retention={"Order": kept}) as db:
        told = db.retention("Order")
        assert not isinstance(kept, timedelta) or told == kept
        assert db.workflow("Order", "1", retention=told).retention == told
        assert db.workflow("Order", "1", retention=told.total_seconds()).retention == told
    with place(retention={"Order": told}):
        pass


def test_a_signal_leaves_it_done_or_undone(tmp_path: Path) -> None:
    """An alarm in `set_retention` stopped all writes, as if the disk had failed."""

    class Alarm(Exception): ...

    def ring(*_: object) -> None:
        raise Alarm

    before = signal.signal(signal.SIGALRM, ring)
    try:
        with kvengine.open(tmp_path / "db") as db:
            for turn in range(30):
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.0001 + turn * 0.0001)
                    for kept in range(1, 1000):
                        db.set_retention("Order", kept)
                except Alarm:
                    pass
                db.set("s", "k", "n", b"1")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_damage_of_what_was_set_last_is_noticed(
    place: Callable[..., kvengine.Engine], fs: MemoryFileSystem
) -> None:
    """The last edit of a manifest that is damaged passes for torn: a retention must not be that."""
    db = place()
    db.set_retention("Order", WEEK)
    image = fs.copy()
    (name,) = [name for name in image.listdir("/db") if name.endswith(".manifest")]
    data = bytearray(image.read_bytes(f"/db/{name}"))
    data[data.index(b"Order")] ^= 1
    image.open_write(f"/db/{name}").write(bytes(data))
    with pytest.raises(kvengine.CorruptionError):
        kvengine.open("/db", fs=image, background="none")
    repaired = kvengine.repair("/db", "/repaired", fs=image)
    assert any("retention of services is not known" in note for note in repaired.notes)
    db.close()


def test_setting_it_again_and_again_takes_no_space(
    place: Callable[..., kvengine.Engine], fs: MemoryFileSystem
) -> None:
    with place() as db:
        for kept in range(1, 200):
            db.set_retention("Order" * 1000, kept)
        manifests = [name for name in fs.listdir("/db") if name.endswith(".manifest")]
        assert len(manifests) == 1 and fs.size(f"/db/{manifests[0]}") < 20_000


def test_closed_databases_tell_nothing(place: Callable[..., kvengine.Engine]) -> None:
    db = place(retention={"Order": WEEK})
    db.close()
    with pytest.raises(kvengine.DatabaseClosed):
        db.retention("Order")


def test_a_reader_states_one_for_itself(place: Callable[..., kvengine.Engine]) -> None:
    """It was dropped without a word where nothing was stored."""
    with place() as db, place(read_only=True, retention={"Order": WEEK}) as reader:
        assert reader.retention("Order") == WEEK
        db.set_retention("Other", 5)
        reader.refresh()
        assert (reader.retention("Order"), reader.retention("Other")) == (
            WEEK,
            timedelta(seconds=5),
        )
        assert db.retention("Order") == timedelta(days=1)
