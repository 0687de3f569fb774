"""`now` never runs backwards, whoever else asks meanwhile.

CPython switches threads where it looks for signals (test_interrupts.py), so
another thread is let in at each such point, one by one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count
from types import FrameType

import pytest

from kvengine.storage.clock import SECOND, EngineClock, ManualClock
from tests.durability.tripwire import Tripwire


class Switch(Tripwire):
    """Lets another thread run at the n-th point, until it is done or waits for a lock."""

    def __init__(self, n: int, other: Callable[[], object]) -> None:
        super().__init__(n, AssertionError)
        self._other = other
        self.thread: threading.Thread | None = None

    def _point(self, frame: FrameType) -> None:
        self.passed += 1
        if self.passed == self._n:
            self.tripped = f"line {frame.f_lineno} of {frame.f_code.co_qualname}"
            self.thread = threading.Thread(target=self._other)
            self.thread.start()
            self.thread.join(0.05)


@pytest.mark.plain
@pytest.mark.parametrize("passed", [0.001, 1.0, 100.0], ids=["trusted", "believed", "a step"])
def test_now_never_runs_backwards_between_threads(passed: float) -> None:
    """Another thread asks in the midst of it, the wall clock steps back, and who asks next
    hears nothing less than either of the two did."""
    for n in count(1):
        source = ManualClock()
        clock = EngineClock(source, 60 * SECOND)
        answers = [clock.now()]

        def other(
            source: ManualClock = source,
            clock: EngineClock = clock,
            answers: list[int] = answers,
        ) -> None:
            source.advance(0.005)
            answers.append(clock.now())
            source.step(-0.003)

        switch = Switch(n, other)
        if passed < 60:
            source.advance(passed)
        else:
            source.step(passed)
        switch.run(lambda clock=clock, answers=answers: answers.append(clock.now()))  # type: ignore[misc]
        if switch.thread is None:
            break
        switch.thread.join()
        assert clock.now() >= max(answers), f"another thread came at {switch.tripped}"
    assert n > 3
