"""The engine against the reference, on programs of every verb."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from kvengine import compiled
from kvengine.storage import memo, memtable, walk
from tests.model import program
from tests.model.events import EVENTS, REQUIRED, watch
from tests.model.machine import StoreMachine

SEEDS = range(80) if compiled.form == "compiled" else range(11, 59)
"""Plain Python runs fewer: from the first that finds each planted bug to those that meet the rarest
event."""
STEPS = 650
SHRINK_SECONDS = float(os.environ.get("KVENGINE_SHRINK_SECONDS", "40"))


@pytest.fixture(autouse=True)
def _watched(monkeypatch: pytest.MonkeyPatch) -> None:
    watch(monkeypatch)


@pytest.mark.parametrize("seed", range(4))
def test_programs_read_as_the_reference(seed: int) -> None:
    """No program of any verbs ever reads other than a plain dict would (a short run)."""
    program.check(10_000 + seed, 300, seconds=SHRINK_SECONDS)


@pytest.mark.parametrize("seed", range(3))
def test_programs_read_alike_where_everything_is_remembered(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same where shortcuts come at once: the memo keeps an object from its first read on, one
    dead object makes a span, and chains are folded at the third commit.

    Programs are too short, and their objects too few, to meet these by themselves.
    """
    monkeypatch.setattr(memo, "ADMISSION", 1)
    monkeypatch.setattr(walk, "_NOTABLE", 1)
    monkeypatch.setattr(memtable, "FRESH_ROWS", 2)
    program.check(20_000 + seed, 300, seconds=SHRINK_SECONDS)


@pytest.mark.slow
def test_many_programs_and_their_hard_events() -> None:
    """30,000 steps and more without a difference, and every hard event was among them."""
    EVENTS.clear()
    for seed in SEEDS:
        program.check(seed, STEPS, seconds=SHRINK_SECONDS)
    missing = [name for name in REQUIRED if not EVENTS[name]]
    assert not missing, f"the programs never met: {missing}; they met {dict(EVENTS)}"


TestStateMachine = StoreMachine.TestCase
TestStateMachine.settings = settings(
    max_examples=60,
    stateful_step_count=60,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
