"""Times as callers give them, checked and in microseconds."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from kvengine.storage.clock import SECOND

MAX_TIME = 253_402_300_799 * SECOND
"""The last second of the year 9999, in microseconds: no expiry lies beyond."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def duration(what: str, value: float | timedelta) -> int:
    """Return a length of time, given in seconds or as a timedelta, in microseconds.

    Raise TypeError or ValueError unless it is above zero and finite.
    """
    found = _microseconds(what, value)
    if not found:
        raise ValueError(f"{what} must be above zero and finite, not {value!r}")
    return found


def time_to_live(value: float | timedelta) -> int:
    """Return a ttl in microseconds: 0 for one that is over, at least 1 for any other."""
    return _microseconds("ttl", value)


def instant(what: str, value: float | datetime) -> int:
    """Return a time, given in seconds since the epoch or as an aware datetime, in microseconds."""
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise ValueError(
                f"{what} must be an aware datetime, so that it names one instant: give it a time"
                f" zone, as in datetime.now(UTC), not {value!r}"
            )
        return min(max((value - _EPOCH) // _MICROSECOND, 0), MAX_TIME)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        kind = type(value).__name__
        raise TypeError(f"{what} must be seconds since the epoch or a datetime, not {kind}")
    if not 0 <= value < math.inf:
        raise ValueError(f"{what} must be seconds since the epoch, not {value!r}")
    return min(round(value * SECOND), MAX_TIME)


def _microseconds(what: str, value: float | timedelta) -> int:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{what} must be seconds or a timedelta, not {type(value).__name__}")
    if not -math.inf < value < math.inf:
        raise ValueError(f"{what} must be finite, not {value!r}")
    return min(max(int(value * SECOND), 1), MAX_TIME) if value > 0 else 0
