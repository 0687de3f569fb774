"""Power cuts at every kind of I/O point (P1 to P3)."""

from __future__ import annotations

import logging

import pytest

from tests.crash.power import Life


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Torn tails are what this is about; each is reported, thousands of them here."""
    caplog.set_level(logging.ERROR, "kvengine")


@pytest.mark.parametrize("seed", range(40))
def test_what_a_power_cut_leaves_is_a_prefix_with_every_synced_commit(seed: int) -> None:
    """Wherever power is lost, the directory opens, sound, to a prefix of the commits.

    It holds every commit that returned under "sync", everything before a flush,
    a checkpoint or a clean close, and it goes on working; the next cut takes
    nothing of it either.
    """
    Life(seed).run(40)
