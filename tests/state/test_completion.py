"""Completed workflows, with and without state: they exist until their retention is over."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path

import pytest

import kvengine
import kvengine.aio
from kvengine.fs.memory import MemoryFileSystem
from kvengine.inspection.transfer.copy import copy
from kvengine.inspection.transfer.export import export
from kvengine.inspection.transfer.import_ import import_lines
from kvengine.storage.batch import Batch, Complete
from kvengine.storage.clock import ManualClock
from tests.api.refusals import refuses
from tests.share.raw import reached

Settle = Callable[[kvengine.Engine], kvengine.Engine]


@pytest.fixture
def flow(db: kvengine.Engine) -> kvengine.Workflow:
    """A workflow that never wrote any state, kept for ten seconds once it is complete."""
    return db.workflow("W", "id", retention=10)


def test_a_workflow_without_state_is_completed(
    flow: kvengine.Workflow, db: kvengine.Engine, clock: ManualClock, settle: Settle
) -> None:
    """A framework completed a workflow that kept no state, and could not tell later that it ran.

    `complete()` wrote nothing there, so the same id ran a second time.
    """
    assert flow.complete() is True
    ends = clock.wall() / 1e6 + 10
    version = flow.version()
    assert version > 0
    db = settle(db)
    flow = db.workflow("W", "id")
    clock.advance(9)
    assert flow.completed and flow.version() == version and flow.expires_at() == ends
    assert db.exists("W", "id") and flow.get_all() == {} and flow.state_keys() == []
    assert list(db.object_keys("W")) == ["id"] and db.services() == ["W"] and db.count("W") == 1
    found = db.load("W", "id")
    assert found is not None and found.completed_at == ends - 10 and found.entries == {}
    assert [found] == list(db.scan("W")) == list(db.load_many("W", ["id"]).values())
    part = db.load("W", "id", max_bytes=0)
    assert part == found == db.load("W", "id", max_bytes=100)
    clock.advance(1)
    assert not flow.completed and flow.version() == 0 and flow.expires_at() is None
    assert db.load("W", "id") is None and list(db.object_keys("W")) == []
    assert not db.exists("W", "id") and db.services() == []


def test_its_disk_comes_back(db: kvengine.Engine, clock: ManualClock) -> None:
    """After retention and grace a compaction leaves nothing of what was completed without state."""
    for number in range(50):
        db.workflow("W", str(number), retention=10).complete()
    db.compact()
    assert db.count("W") == 50
    clock.advance(100)
    db.compact()
    assert db.stats().segments == 0


def test_what_is_written_later_keeps_the_completion(
    flow: kvengine.Workflow, db: kvengine.Engine, clock: ManualClock, settle: Settle
) -> None:
    """A late write does not take the completion back, through whatever verb, flushed or not."""
    flow.complete()
    db = settle(db)
    db.set("W", "id", "late", b"1")
    with db.batch() as batch:
        batch.set("W", "id", "later", b"2")
        batch.clear("W", "id", "late")
    with db.workflow("W", "id").session() as state:
        state.clear("later")
    db = settle(db)
    flow = db.workflow("W", "id")
    assert flow.completed and flow.get_all() == {} and flow.version() > 0
    clock.advance(10)
    assert flow.version() == 0


def test_an_entry_that_runs_out_leaves_the_completion(
    flow: kvengine.Workflow, db: kvengine.Engine, clock: ManualClock, settle: Settle
) -> None:
    """The last entry of a completed workflow expires by itself: the workflow stays listed."""
    flow.set("token", "x", ttl=3)
    flow.complete()
    db = settle(db)
    for _ in range(5):
        assert db.get_all("W", "id")
    clock.advance(5)
    found = db.load("W", "id")
    assert found is not None and found.entries == {} and found.completed_at is not None
    assert list(db.object_keys("W")) == ["id"]


def test_an_expiry_alone_completes_nothing(
    flow: kvengine.Workflow, db: kvengine.Engine, clock: ManualClock
) -> None:
    """A workflow that was given an expiry counted as completed, and could not be completed."""
    flow.set("step", 1)
    flow.expire(ttl=3)
    assert not flow.completed
    assert flow.complete() and flow.completed
    clock.advance(5)
    assert flow.get("step") == 1


@pytest.mark.parametrize("preload", [True, False, ["a"]])
def test_a_session_of_a_workflow_without_state(
    flow: kvengine.Workflow, clock: ManualClock, settle: Settle, db: kvengine.Engine, preload: bool
) -> None:
    """It reads the version of the completion, so that its own commit is no conflict."""
    with flow.session() as state:
        state.complete()
        stamp = state.commit()
        assert state.version() == stamp
        state.complete()
        assert state.commit() is None
    assert flow.completed and flow.version() == stamp
    flow = settle(db).workflow("W", "id")
    with flow.session(preload=preload) as state:
        assert state.version() == stamp and state.expires_at() is not None
        assert state.get("a") is None and state.get_all() == {}
        state.set("a", 1)
        state.commit()
        state.clear("a")
        assert state.version() == state.commit() or state.version() > stamp
    assert flow.completed
    with flow.session(preload=preload) as state:
        state.expire()
    assert not flow.completed and flow.version() == 0


def test_completed_while_a_session_ran(flow: kvengine.Workflow) -> None:
    """A session that began with nothing must not start the workflow again behind its completion."""
    with pytest.raises(kvengine.VersionConflict), flow.session() as state:
        flow.complete()
        state.set("step", 1)
    assert flow.completed and flow.get_all() == {}


def test_complete_then_expire_in_one_session(flow: kvengine.Workflow, clock: ManualClock) -> None:
    """`expire(ttl=)` behind `complete()` moves the end, as it does outside of a session."""
    with flow.session() as state:
        state.complete()
        state.expire(ttl=50)
    clock.advance(49)
    assert flow.completed
    clock.advance(1)
    assert not flow.completed


def test_started_again_after_the_retention(
    flow: kvengine.Workflow, clock: ManualClock, db: kvengine.Engine, settle: Settle
) -> None:
    """The same id may run, and complete, again: nothing of the first run shows through."""
    flow.set("step", 1)
    flow.complete()
    clock.advance(10)
    flow = settle(db).workflow("W", "id", retention=5)
    assert flow.complete() and flow.get_all() == {} and flow.completed
    clock.advance(5)
    flow.set("step", 2)
    assert flow.get_all() == {"step": 2} and not flow.completed


def test_a_snapshot_keeps_its_moment(flow: kvengine.Workflow, db: kvengine.Engine) -> None:
    """A completion behind a snapshot is not seen by it, and one before it stays in it."""
    with db.snapshot() as before:
        flow.complete()
        with db.snapshot() as after:
            flow.clear_all()
            assert before.version("W", "id") == 0 and after.version("W", "id") > 0
            assert [one.key for one in after.scan("W")] == ["id"]
    assert db.count("W") == 0


@pytest.mark.parametrize("way", ["export", "copy", "checkpoint"])
def test_it_survives_the_move(
    flow: kvengine.Workflow,
    db: kvengine.Engine,
    clock: ManualClock,
    fs: MemoryFileSystem,
    way: str,
) -> None:
    """A completion is in an export, a copy and a checkpoint, to the microsecond."""
    flow.complete()
    db.workflow("W", "with state", retention=10).set("a", 1)
    db.workflow("W", "with state", retention=10).complete()
    clock.advance(3)
    before = [(one.key, one.completed_at, one.expires_at, one.entries) for one in db.scan()]
    if way == "checkpoint":
        db.checkpoint("target")
    with kvengine.open("target", clock=clock, fs=fs, background="none") as other:
        if way == "copy":
            copy(db, other, now=lambda: clock.wall() / 1e6)
        elif way == "export":
            lines: list[str] = []
            export(db, lines.append)
            data = io.BytesIO("".join(one + "\n" for one in lines).encode())
            import_lines(data, other, now=lambda: clock.wall() / 1e6)
        found = [(one.key, one.completed_at, one.expires_at, one.entries) for one in other.scan()]
        assert found == before and other.workflow("W", "id").completed


def test_over_the_socket_of_the_owner(tmp_path: Path) -> None:
    """A tool completes a workflow, and sees one that is completed, as the owner does."""
    with kvengine.open(tmp_path / "db", live_access=True) as db:
        flow = db.workflow("W", "id")
        client = reached(str(tmp_path / "db"))
        batch = Batch()
        batch.operations.append(Complete(("W", "id"), 10_000_000))
        client.write(batch)
        found = client.load("W", "id")
        assert flow.completed and found is not None and found == db.load("W", "id")
        assert list(client.scan()) == [found] and found.completed_at is not None
        assert list(client.workflows("W", True)) == list(db.workflows("W"))
        with client.snapshot() as snapshot:
            flow.clear_all()
            assert [one.key for one in snapshot.workflows("W")] == ["id"]
        client.close()


def test_the_workflows_of_a_service(
    db: kvengine.Engine, clock: ManualClock, settle: Settle
) -> None:
    """Which orders are under way, and which are done? One call, not a load of every one."""
    db.workflow("W", "b", retention=10).complete()
    db.workflow("W", "a").set("step", 1)
    db.workflow("W", "c", retention=20).set("step", 1)
    db.workflow("W", "c", retention=20).complete()
    db.workflow("X", "d").complete()
    db.object("W", "e").set("step", 1, ttl=1)
    db = settle(db)
    at = clock.wall() / 1e6
    clock.advance(1)
    found = list(db.workflows("W"))
    assert [(one.key, one.completed_at, one.expires_at) for one in found] == [
        ("a", None, None),
        ("b", at, at + 10),
        ("c", at, at + 20),
    ]
    assert [one.version for one in found] == [db.version("W", key) for key in "abc"]
    assert list(db.workflows("W", completed=True)) == found[1:]
    assert list(db.workflows("W", completed=False)) == found[:1]
    assert list(db.workflows("V")) == []
    with db.snapshot() as snapshot:
        clock.advance(15)
        assert [one.key for one in db.workflows("W", True)] == ["c"]
        assert list(snapshot.workflows("W")) == found
    with refuses(TypeError, "completed must be True, False or None"):
        db.workflows("W", "yes")  # type: ignore[arg-type]
    with refuses(TypeError, "service"):
        db.workflows(None)  # type: ignore[arg-type]


async def _awaited(db: kvengine.Engine) -> list[kvengine.StoredWorkflow]:
    return [one async for one in kvengine.aio.wrap(db).workflows("W", completed=True)]


def test_the_workflows_awaited(db: kvengine.Engine) -> None:
    """asyncio lists the same."""
    db.workflow("W", "a").complete()
    assert asyncio.run(_awaited(db)) == list(db.workflows("W"))


def test_copies_of_completed_workflows(fs: MemoryFileSystem, clock: ManualClock) -> None:
    """A repaired database and a checkpoint have them too, those without state included."""
    with kvengine.open("/db", fs=fs, clock=clock, background="none") as db:
        db.set("W", "with", "n", b"1")
        db.workflow("W", "with", retention=3600).complete()
        db.workflow("W", "without", retention=60).complete()
        db.flush()
        db.workflow("W", "logged", retention=60).complete()
        wanted = list(db.workflows("W"))
        assert [one.key for one in wanted] == ["logged", "with", "without"]
        db.checkpoint("/copy")
    kvengine.repair("/db", "/repaired", fs=fs)
    for path in ("/copy", "/repaired"):
        with kvengine.open(path, fs=fs, clock=clock, background="none") as copy:
            assert list(copy.workflows("W")) == wanted, path
            assert copy.workflow("W", "without").completed
