"""Time as the engine believes it. The one module that decides what "now" is.

Sources of time are a seam (`Clock`); `SystemClock` is the machine's,
`ManualClock` is for tests. `EngineClock` turns readings into ``now``:

- ``now`` never runs backwards within one life of the engine: a wall clock that
  steps back is waited for.
- A step, either way, of more than ``max_clock_step`` against the monotonic
  clock is not believed: ``now`` goes on by the monotonic clock until the wall
  clock agrees again. One wrong reading must not expire everything.
- At open ``now`` starts at the last time the database knew, if the wall clock
  is behind that by at most ``max_clock_step``; one far ahead of the wall clock
  does not drag ``now`` along, or one wrong reading of years ago would freeze
  retention for years. The last time is that of the last commit or of the last
  version edit, not the largest ever, so that right readings count after a wrong one.

Stamps are a different thing: they only ever grow (see commit.py).
All times here are integers of microseconds since the epoch.
"""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from kvengine.storage.machine import time_ns

SECOND = 1_000_000
"""A second in microseconds."""

_MONOTONIC: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


_TRUSTED = 20_000
"""Microseconds. A wall clock that is less than this past a believed reading is taken as it is,
without asking the monotonic one.
"""


@runtime_checkable
class Clock(Protocol):
    """A source of time."""

    def wall(self) -> int:
        """Return microseconds since the epoch; may step."""
        ...

    def monotonic(self) -> int:
        """Return microseconds since some fixed instant.

        Never steps, and counts the time during which the machine slept if it can.
        """
        ...


class SystemClock:
    """The machine's clocks, whatever stands in for `time.time` (real_time.py).

    The monotonic one counts time asleep if the system offers that.
    """

    def wall(self) -> int:
        return time_ns() // 1000

    def monotonic(self) -> int:
        return time.clock_gettime_ns(_MONOTONIC) // 1000


class ManualClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: float | datetime = 1_700_000_000.0) -> None:
        """``now``: seconds since the epoch or an aware datetime; by default a day in 2023.

        Raise ValueError for a datetime without a time zone.
        """
        if isinstance(now, datetime):
            if now.utcoffset() is None:
                raise ValueError(f"now must be an aware datetime, not {now!r}: give it a time zone")
            now = now.timestamp()
        self._wall = round(now * SECOND)
        self._monotonic = 0

    def now(self) -> float:
        """Return what the wall clock shows, in seconds since the epoch."""
        return self._wall / SECOND

    def wall(self) -> int:
        """Return what the wall clock shows, in microseconds since the epoch."""
        return self._wall

    def monotonic(self) -> int:
        """Return the microseconds that have passed since the clock was made."""
        return self._monotonic

    def advance(self, seconds: float | timedelta) -> None:
        """Let time pass: both clocks move. Raise ValueError for a negative time."""
        passed = _microseconds(seconds)
        if passed < 0:
            raise ValueError(f"time does not run back: use step({seconds!r}) for the wall clock")
        self._wall += passed
        self._monotonic += passed

    def step(self, seconds: float | timedelta) -> None:
        """Set the wall clock forward or back, as an administrator or NTP does; no time passes.

        An open database does not believe a step of more than its ``max_clock_step``.
        """
        self._wall += _microseconds(seconds)


def _microseconds(value: float | timedelta) -> int:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    return round(seconds * SECOND)


class EngineClock:
    """``now`` for one life of an engine. Thread-safe."""

    __slots__ = (
        "_believed",
        "_believed_at",
        "_last",
        "_lock",
        "_max_step",
        "_of_machine",
        "_source",
        "_started_at",
        "_until",
        "last_trusted",
        "opened",
    )

    def __init__(self, source: Clock, max_step: int, *known: int, trusted: int = 0) -> None:
        """``max_step`` in microseconds; ``known``: the last times the database has seen.

        ``trusted``: the last of them that was not in doubt (see `in_doubt`), 0 for none.
        """
        self._source = source
        self._max_step = max_step
        self._of_machine = source.__class__ is SystemClock
        self._lock = threading.RLock()  # a signal handler may ask, inside of this
        self._believed = source.wall()
        self._believed_at = source.monotonic()
        self._started_at = self._believed_at
        near = [time for time in known if time - self._believed <= max_step]
        self._last = max(self._believed, max(near, default=0))
        self._until = self._believed + _TRUSTED
        self.opened: int = self._last
        self.last_trusted: int = trusted or self._last

    def now(self) -> int:
        """Return microseconds since the epoch, never less than any earlier answer.

        If the wall clock has just been believed and goes forward, its reading is
        the answer, and no lock is taken: CPython switches threads only after a call
        or a jump backward, so no other thread runs between the comparison with the
        last answer and the assignment of the new one.
        """
        # Every commit reads the machine's clock, so no Python frame lies in between.
        wall = time_ns() // 1000 if self._of_machine else self._source.wall()
        if self._last <= wall < self._until:
            self._last = wall
            return wall
        return self._judged()

    def _judged(self) -> int:
        """Return `now` if the monotonic clock must be asked, or the wall clock is behind."""
        with self._lock:
            wall = self._source.wall()
            if not 0 <= wall - self._believed < _TRUSTED:
                monotonic = self._source.monotonic()
                expected = self._believed + monotonic - self._believed_at
                if -self._max_step <= wall - expected <= self._max_step:
                    self._believed, self._believed_at = wall, monotonic
                    self._until = wall + _TRUSTED
                else:
                    wall = expected
            if self._last < wall:  # noqa: PLR1730 - no call of max in between, as in `now`
                self._last = wall
            return self._last

    def in_doubt(self, grace: int) -> bool:
        """Return whether the clock read at open may be wrong, and nobody had time to notice.

        It is in doubt if it was far ahead of the last trusted time, until the
        engine has been open for ``grace`` (microseconds). A time in doubt is not
        recorded as trusted, so several short lives under a wrong clock are all in doubt.
        """
        return self.opened - self.last_trusted > self._max_step and self.uptime() < grace

    def uptime(self) -> int:
        """Return microseconds since the engine was opened."""
        return self._source.monotonic() - self._started_at
