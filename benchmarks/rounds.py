"""Two sides of a comparison that take turns, so that what else the machine does troubles both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

Call = Callable[[int], object]
"""Does something once; its argument is the number of the call."""


class Compared(NamedTuple):
    """Medians over the rounds: of the peer, of kvengine, and of peer / kvengine in each round."""

    theirs: float
    ours: float
    ratio: float


def compared(theirs: Callable[[], float], ours: Callable[[], float], rounds: int) -> Compared:
    """Measure both sides by turns, and return the medians."""
    pairs = [(theirs(), ours()) for _ in range(rounds)]
    peer, own = (statistics.median(column) for column in zip(*pairs, strict=True))
    return Compared(peer, own, statistics.median(other / mine for other, mine in pairs))


def timed(call: Call, calls: int) -> float:
    """Return microseconds of a call."""
    began = time.perf_counter()
    for number in range(calls):
        call(number)
    return (time.perf_counter() - began) / calls * 1e6
