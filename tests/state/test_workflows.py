"""Workflows: state that ends, a retention after its completion."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import kvengine
from kvengine.storage.clock import ManualClock
from tests.api.refusals import refuses

DAY = 86_400
Settle = Callable[[kvengine.Engine], kvengine.Engine]


@pytest.fixture
def flow(db: kvengine.Engine) -> kvengine.Workflow:
    """A workflow under way, kept for ten seconds once it is complete."""
    flow = db.workflow("W", "id", retention=10)
    flow.set("step", 1)
    return flow


def test_before_completion_it_never_expires(
    db: kvengine.Engine, clock: ManualClock, settle: Settle
) -> None:
    """However long it takes: its state is there, and it is not complete."""
    db.workflow("W", "id", retention=1).set("step", 1)
    db = settle(db)
    for _ in range(40):
        clock.advance(365 * DAY)
        flow = db.workflow("W", "id", retention=1)
        flow.set("late", 1)
    assert flow.get("step") == 1 and flow.expires_at() is None and not flow.completed


def test_completion_starts_the_retention(
    db: kvengine.Engine, clock: ManualClock, settle: Settle
) -> None:
    """From completion on the state is readable for the retention, and absent from that instant."""
    flow = db.workflow("W", "id", retention=timedelta(seconds=10))
    flow.set("step", 1)
    clock.advance(100)
    assert flow.complete() is True
    assert flow.completed and flow.expires_at() == clock.wall() / 1e6 + 10
    db = settle(db)
    flow = db.workflow("W", "id")
    clock.advance(9)
    clock.advance(0.999_999)
    assert flow.get("step") == 1 and flow.completed and flow.version() > 0
    clock.advance(0.000_001)
    assert flow.get("step") is None and "step" not in flow and flow.get_all() == {}
    assert (flow.version(), flow.expires_at(), flow.completed) == (0, None, False)
    assert flow.state_keys() == [] and list(db.object_keys("W")) == []


def test_the_same_id_can_start_again(
    flow: kvengine.Workflow, clock: ManualClock, db: kvengine.Engine, settle: Settle
) -> None:
    """After its retention an id is a new, empty workflow, which does not expire."""
    flow.complete()
    clock.advance(10)
    again = settle(db).workflow("W", "id", retention=10)
    again.set("other", 2)
    assert again.get_all() == {"other": 2}
    assert again.expires_at() is None and not again.completed
    clock.advance(100 * DAY)
    assert again.get_all() == {"other": 2}
    assert again.complete()
    clock.advance(10)
    assert again.version() == 0


def test_the_same_id_can_start_again_in_a_session(
    flow: kvengine.Workflow, clock: ManualClock
) -> None:
    """A session after the retention begins with nothing, and what it writes does not expire."""
    flow.complete()
    clock.advance(10)
    with flow.session() as state:
        assert state.get_all() == {} and state.version() == 0 and state.expires_at() is None
        state.set("other", 2)
    clock.advance(DAY)
    assert flow.get_all() == {"other": 2}


@pytest.mark.parametrize("retention", [0, 0.0, timedelta(0)])
def test_without_retention(db: kvengine.Engine, retention: Any) -> None:
    """A retention of zero: gone with the completion."""
    flow = db.workflow("W", "id", retention=retention)
    flow.set("step", 1)
    assert flow.retention == timedelta(0)
    assert flow.complete() is True
    assert (flow.version(), flow.expires_at(), flow.completed, flow.get_all()) == (
        0,
        None,
        False,
        {},
    )
    flow.set("step", 2)
    assert flow.get_all() == {"step": 2} and flow.expires_at() is None
    flow.complete()
    assert flow.complete() is False


def test_completing_what_is_absent_without_retention(db: kvengine.Engine) -> None:
    """There is no state to clear: complete() says so and writes nothing."""
    flow = db.workflow("W", "id", retention=0)
    assert flow.complete() is False
    assert db.stats().commits == 0 and not flow.completed
    flow.set("step", 1)
    assert flow.expires_at() is None


def test_completing_twice(flow: kvengine.Workflow, clock: ManualClock, db: kvengine.Engine) -> None:
    """The first completion counts: again changes nothing, through whatever handle or session."""
    flow.complete()
    expires_at, version = flow.expires_at(), flow.version()
    clock.advance(5)
    for other in (flow, db.workflow("W", "id", retention=1000), db.workflow("W", "id")):
        assert other.complete() is True
        with other.session() as state:
            state.complete()
        assert (flow.expires_at(), flow.version()) == (expires_at, version)
    clock.advance(5)
    assert flow.version() == 0


def test_writes_after_completion_keep_the_time(flow: kvengine.Workflow, clock: ManualClock) -> None:
    """State may still change during the retention, which goes on."""
    flow.complete()
    expires_at = flow.expires_at()
    clock.advance(5)
    flow.set("late", 1)
    with flow.session() as state:
        state.set("later", 2)
        state.clear("step")
    assert flow.get_all() == {"late": 1, "later": 2}
    assert flow.expires_at() == expires_at and flow.completed
    clock.advance(5)
    assert flow.get_all() == {}


def test_clear_all_ends_the_completion(flow: kvengine.Workflow, clock: ManualClock) -> None:
    """A completed workflow that is cleared may start again at once."""
    flow.complete()
    flow.clear_all()
    assert not flow.completed
    flow.set("step", 2)
    clock.advance(DAY)
    assert flow.get_all() == {"step": 2}


def test_the_retention_is_of_the_handle_that_completes(
    db: kvengine.Engine, clock: ManualClock
) -> None:
    """One day by default; seconds or a timedelta; the object itself stores none."""
    assert db.workflow("W", "id").retention == timedelta(days=1)
    assert db.workflow("W", "id", retention=0.25).retention == timedelta(milliseconds=250)
    db.workflow("W", "id", retention=5).set("step", 1)
    db.workflow("W", "id", retention=7).complete()
    assert db.workflow("W", "id", retention=5).expires_at() == clock.wall() / 1e6 + 7
    with pytest.raises(AttributeError):
        db.workflow("W", "id").retention = timedelta(1)  # type: ignore[misc]


BAD_RETENTIONS: dict[str, tuple[Any, type[Exception]]] = {
    "negative": (-1, ValueError),
    "a negative timedelta": (timedelta(seconds=-1), ValueError),
    "nan": (float("nan"), ValueError),
    "infinite": (float("inf"), ValueError),
    "True": (True, TypeError),
    "False": (False, TypeError),
    "text": ("1", TypeError),
}


@pytest.mark.parametrize("name", BAD_RETENTIONS)
def test_bad_retentions(db: kvengine.Engine, name: str) -> None:
    """What is no time to keep something is refused when the handle is made, naming it."""
    retention, error = BAD_RETENTIONS[name]
    with refuses(error, "retention"):
        db.workflow("W", "id", retention=retention)


@pytest.mark.parametrize("retention", [-1, float("nan")])
def test_a_bad_retention_is_told_what_is_good(db: kvengine.Engine, retention: float) -> None:
    """Zero is a retention, so the error does not rule it out."""
    with pytest.raises(ValueError, match="retention") as raised:
        db.workflow("W", "id", retention=retention)
    assert "above zero" not in str(raised.value)


def test_the_longest_and_the_shortest_retention(db: kvengine.Engine, clock: ManualClock) -> None:
    """A retention past the year 9999 ends with it; the least one is a microsecond."""
    long = db.workflow("W", "long", retention=timedelta.max)
    long.set("a", 1)
    assert long.complete() and long.expires_at() == 253_402_300_799
    short = db.workflow("W", "short", retention=1e-9)
    short.set("a", 1)
    assert short.complete()
    clock.advance(0.000_001)
    assert short.version() == 0


def test_a_virtual_object_has_no_completion(db: kvengine.Engine) -> None:
    """complete() is a workflow's, also in a session; the object of both is the same."""
    obj = db.object("W", "id")
    assert not hasattr(obj, "complete") and not hasattr(obj, "completed")
    with obj.session() as state:
        state.set("step", 1)
        with refuses(kvengine.SessionError, r"complete.*workflow"):
            state.complete()
    assert obj.get_all() == {"step": 1} and obj.expires_at() is None
    assert db.workflow("W", "id").complete() and obj.expires_at() is not None


@pytest.mark.parametrize("verb", ["complete", "completed"])
def test_a_closed_database(flow: kvengine.Workflow, db: kvengine.Engine, verb: str) -> None:
    """A workflow of a closed database says so."""
    db.close()
    with refuses(kvengine.DatabaseClosed, "is closed"):
        flow.complete() if verb == "complete" else flow.completed
