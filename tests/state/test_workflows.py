"""Workflows: state that ends, a retention after its completion."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

import kvengine
from kvengine.storage.clock import ManualClock

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
