"""The time that counts for one client: that of the server's clock, but for steps of it.

Expiry is decided by the clock of the primary, so that all clients agree. The policy is that of the
embedded engine (storage/clock.py): where the clock steps back a little, time stands still, and a
step of more than a minute against this machine's monotonic clock is not believed by a client that
is connected. So what has expired for a client stays expired, also after a failover to a server
whose clock is behind, and one wrong reading far in the future wipes nothing.

The server applies the policy (``believed`` in the schema): each statement carries what this client
has seen and what it expects, and brings back the time that was used.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

from kvengine.storage.clock import SECOND, SystemClock

MAX_STEP = 60 * SECOND
"""Microseconds. The function ``believed`` knows it too."""

_PROMPT = SECOND
"""An answer that took longer, since it waited for a lock, does not tell when its time was taken."""

_FIXED = -1


class Bounds(NamedTuple):
    """What a statement carries: the time seen last, and about what it should be now.

    ``sent``: the monotonic clock, in microseconds, when this was taken.
    """

    floor: int | None
    estimate: int | None
    sent: int


class Moment:
    """A time that stands still: ``now`` counts, whatever the server's clock shows."""

    def __init__(self, now: int) -> None:
        self._bounds = Bounds(now, _FIXED, 0)

    def bounds(self) -> Bounds:
        return self._bounds

    def saw(self, now: int, sent: int) -> None:
        pass


class ServerClock:
    """What a client knows of its server's time. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._monotonic = SystemClock().monotonic
        self._floor: int | None = None
        self._offset: int | None = None
        """What the time is ahead of the monotonic clock, in microseconds, once that is known."""

    def bounds(self) -> Bounds:
        """Return what the next statement carries."""
        sent = self._monotonic()
        with self._lock:
            if self._floor is None:
                return Bounds(None, None, sent)
            if self._offset is None:
                return Bounds(self._floor, None, sent)
            return Bounds(self._floor, max(self._floor, sent + self._offset), sent)

    def saw(self, now: int, sent: int) -> None:
        """Note the time that a statement brought back."""
        with self._lock:
            if self._floor is None or now > self._floor:
                self._floor = now
                if self._monotonic() - sent < _PROMPT:
                    self._offset = now - sent
