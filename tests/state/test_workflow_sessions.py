"""Completion and expiry, and what each does to a session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import kvengine
from kvengine.storage.clock import ManualClock
from tests.api.refusals import refuses

LOADINGS: list[dict[str, Any]] = [{}, {"preload": False}, {"preload": ["step"]}]


@pytest.fixture
def flow(db: kvengine.Engine) -> kvengine.Workflow:
    """A workflow under way, kept for ten seconds once it is complete."""
    flow = db.workflow("W", "id", retention=10)
    flow.set("step", 1)
    flow.set("name", "Ada")
    return flow


class Steps(kvengine.State):
    step: int = 0
    name: str = ""


Complete = Callable[[kvengine.Workflow], object]


def by_session(flow: kvengine.Workflow) -> None:
    with flow.session() as state:
        state.set("step", 2)
        state.complete()


def by_typed_session(flow: kvengine.Workflow) -> None:
    with flow.session(Steps) as state:
        state.step = 2
        state.complete()


def by_lazy_session(flow: kvengine.Workflow) -> None:
    with flow.session(preload=False) as state:
        state.complete()
        state.set("step", 2)


WAYS: dict[str, Complete] = {
    "session": by_session,
    "typed": by_typed_session,
    "lazy": by_lazy_session,
}


@pytest.mark.parametrize("way", WAYS)
def test_completed_in_a_session(
    flow: kvengine.Workflow, clock: ManualClock, db: kvengine.Engine, way: str
) -> None:
    """complete() is part of the session's one commit, before or after its writes."""
    before = db.stats().commits
    WAYS[way](flow)
    assert db.stats().commits == before + 1
    assert flow.get("step") == 2 and flow.expires_at() == clock.wall() / 1e6 + 10
    clock.advance(10)
    assert flow.version() == 0


@pytest.mark.parametrize("loading", LOADINGS)
def test_rolled_back(flow: kvengine.Workflow, loading: dict[str, Any]) -> None:
    """A block that raises completes nothing, and writes nothing."""
    before = flow.version()
    with pytest.raises(LookupError):
        with flow.session(**loading) as state:
            state.set("step", 2)
            state.complete()
            raise LookupError
    assert flow.version() == before and not flow.completed and flow.get("step") == 1


def test_the_retention_begins_with_the_commit(flow: kvengine.Workflow, clock: ManualClock) -> None:
    """Not with the call of complete(): until the commit the workflow is not complete."""
    with flow.session() as state:
        state.complete()
        clock.advance(5)
        assert not flow.completed and state.get("step") == 1
    assert flow.expires_at() == clock.wall() / 1e6 + 10


def test_a_new_workflow_completed_in_its_first_session(
    db: kvengine.Engine, clock: ManualClock
) -> None:
    """Begun and completed by one commit, with or without state."""
    flow = db.workflow("W", "new", retention=10)
    with flow.session() as state:
        state.complete()
    assert flow.version() > 0 and flow.completed
    flow.clear_all()
    with flow.session() as state:
        state.set("step", 1)
        state.complete()
        state.complete()
    assert flow.completed
    clock.advance(10)
    assert flow.version() == 0


@pytest.mark.parametrize("loading", LOADINGS)
def test_without_retention(db: kvengine.Engine, loading: dict[str, Any]) -> None:
    """With a retention of zero complete() clears the state with the commit."""
    flow = db.workflow("W", "id", retention=0)
    flow.set("step", 1)
    with flow.session(**loading) as state:
        state.set("step", 2)
        state.complete()
        assert state.get_all() == {} and state.get("step") is None
        assert flow.get("step") == 1
    assert flow.version() == 0
    with flow.session(**loading) as state:
        state.set("step", 1)
        state.complete()
    assert flow.version() == 0


def test_clear_all_after_complete(flow: kvengine.Workflow, clock: ManualClock) -> None:
    """In a session too a cleared workflow starts anew: what is set then does not expire."""
    with flow.session() as state:
        state.complete()
        state.clear_all()
        state.set("step", 3)
    assert flow.get_all() == {"step": 3} and not flow.completed
    flow.complete()
    with flow.session() as state:
        state.clear_all()
        state.set("step", 4)
        assert state.expires_at() is None
        state.complete()
    clock.advance(9)
    assert flow.get_all() == {"step": 4} and flow.completed


def test_commit_in_the_middle(flow: kvengine.Workflow, clock: ManualClock) -> None:
    """After its own commit a session knows that the workflow is complete, and since when."""
    for number in range(50):
        flow.set("step", number)
    with flow.session() as state:
        state.complete()
        assert state.expires_at() is None
        state.commit()
        assert state.expires_at() == flow.expires_at() == clock.wall() / 1e6 + 10
        clock.advance(5)
        state.complete()
        state.set("step", 2)
    assert flow.expires_at() == clock.wall() / 1e6 + 5 and flow.get("step") == 2


@pytest.mark.parametrize("loading", LOADINGS)
def test_completed_from_outside(flow: kvengine.Workflow, loading: dict[str, Any]) -> None:
    """Completion during a session that writes is a VersionConflict: its writes come too late."""
    with pytest.raises(kvengine.VersionConflict) as raised:
        with flow.session(**loading) as state:
            state.set("step", 2)
            assert flow.complete()
            assert state.get("name") == "Ada" and state.expires_at() is None
    assert (raised.value.service, raised.value.key) == ("W", "id")
    assert raised.value.actual == flow.version() > raised.value.expected
    assert flow.get("step") == 1 and flow.completed


@pytest.mark.parametrize("loading", LOADINGS)
def test_completed_from_outside_and_inside(
    flow: kvengine.Workflow, clock: ManualClock, loading: dict[str, Any]
) -> None:
    """A session that completes what was completed meanwhile conflicts; the first time counts."""
    with pytest.raises(kvengine.VersionConflict):
        with flow.session(**loading) as state:
            flow.complete()
            expires_at = flow.expires_at()
            clock.advance(1)
            state.complete()
    assert flow.expires_at() == expires_at


@pytest.mark.parametrize("loading", LOADINGS)
def test_expired_in_a_session(
    flow: kvengine.Workflow, clock: ManualClock, loading: dict[str, Any]
) -> None:
    """A retention that ends during a session that writes is a VersionConflict, nothing written.

    The session still reads what there was when it began.
    """
    flow.complete()
    clock.advance(9)
    with pytest.raises(kvengine.VersionConflict) as raised:
        with flow.session(**loading) as state:
            state.set("step", 2)
            clock.advance(1)
            assert state.get("name") == "Ada" and flow.get("name") is None
    assert raised.value.actual == 0
    assert flow.get_all() == {}
    with flow.session(**loading) as state:
        state.set("step", 3)
    assert flow.get_all() == {"step": 3} and not flow.completed


@pytest.mark.parametrize("loading", [*LOADINGS, {"read_only": True}])
@pytest.mark.parametrize("event", ["completed", "expired"])
def test_a_session_that_only_read(
    flow: kvengine.Workflow, clock: ManualClock, loading: dict[str, Any], event: str
) -> None:
    """Whoever writes nothing ends in peace, whatever became of the workflow meanwhile."""
    if event == "expired":
        flow.complete()
    with flow.session(**loading) as state:
        flow.complete()
        clock.advance(10 if event == "expired" else 1)
        version = flow.version()
        assert state.get_all() == {"name": "Ada", "step": 1}
    assert flow.version() == version


def test_a_typed_session(flow: kvengine.Workflow, clock: ManualClock) -> None:
    """The same for typed state: read is fine, written is a conflict, also by a change in place."""
    flow.complete()
    with flow.session(Steps) as state:
        clock.advance(10)
        assert (state.step, state.name) == (1, "Ada")
    with pytest.raises(kvengine.VersionConflict):
        with flow.session(Steps) as state:
            assert state.step == 0
            flow.set("step", 5)
            state.step = 6
    assert flow.get_all() == {"step": 5}


def test_a_read_only_session_does_not_complete(flow: kvengine.Workflow) -> None:
    """complete() writes, so a read-only session refuses it at once."""
    with flow.session(read_only=True) as state:
        with refuses(kvengine.ReadOnly, "read-only"):
            state.complete()
    with flow.session(Steps, read_only=True) as typed:
        with refuses(kvengine.ReadOnly, "read-only"):
            typed.complete()
    assert not flow.completed


def test_complete_beside_a_session_does_not_wait(flow: kvengine.Workflow) -> None:
    """Verbs of the handle are commits of their own: they ask for no turn."""
    with flow.session():
        assert flow.complete()
    assert flow.completed
