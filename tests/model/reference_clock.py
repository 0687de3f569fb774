"""What now is, as the policy of docs/operations.md tells it: the oracle of the engine's clock."""

from __future__ import annotations

from kvengine.storage.clock import SECOND, ManualClock
from tests.model.events import EVENTS

MAX_STEP = 60
"""Seconds: a larger step of the wall clock is not believed."""


class ReferenceClock:
    """The policy of docs/architecture.md, "Time", told in its own words, for a `ManualClock`."""

    def __init__(self, source: ManualClock, now: int) -> None:
        self._source = source
        self._trusted = source.wall(), source.monotonic()
        self.now = now

    def observe(self) -> None:
        """What the engine sees when it looks at the clock."""
        wall, monotonic = self._source.wall(), self._source.monotonic()
        by_monotonic = self._trusted[0] + monotonic - self._trusted[1]
        if abs(wall - by_monotonic) <= MAX_STEP * SECOND:
            self._trusted = wall, monotonic
        else:
            EVENTS["clock step not believed"] += 1
            wall = by_monotonic
        if wall < self.now:
            EVENTS["now held against a wall clock that stepped back"] += 1
        self.now = max(self.now, wall)
