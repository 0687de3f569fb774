"""Times as callers give them, checked and in microseconds."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from kvengine.storage.clock import SECOND

_LAST = 253_402_300_799
MAX_TIME = _LAST * SECOND
"""The last second of the year 9999, in microseconds: no expiry lies beyond."""

DAY: int = 86_400 * SECOND
"""How long completed workflows are kept, in microseconds, unless a retention is set."""

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
    """Return a ttl in microseconds: 0 if it is 0 or negative, else at least 1."""
    return _microseconds("ttl", value)


def retention_time(value: float | timedelta) -> int:
    """Return how long completed workflows are kept, in microseconds: 0 or more.

    Raise TypeError or ValueError unless it is a length of time of 0 or more, and finite.
    """
    found = _microseconds("retention", value)
    if (value.total_seconds() if isinstance(value, timedelta) else value) < 0:
        raise ValueError(f"retention must be zero or more, and finite, not {value!r}")
    return found


def check_agrees(service: str, stated: int, stored: int | None) -> None:
    """Raise ValueError if a stated retention is not the one that the database has stored."""
    if stored is not None and stored != stated:
        here, there = (str(timedelta(microseconds=kept)) for kept in (stated, stored))
        raise ValueError(
            f"retention of {service!r} is {here} here, but the database has stored {there}: leave"
            f" it out, or change what is stored by db.set_retention({service!r}, ...)"
        )


def instant(what: str, value: float | datetime) -> int:
    """Return a time, given in seconds since the epoch or as an aware datetime, in microseconds.

    A time before 1970 is refused: a caller who passes -1 probably means "never", and taken
    literally it would delete the entry.
    """
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise ValueError(
                f"{what} must be an aware datetime, for example datetime.now(UTC), not {value!r}"
            )
        if value < _EPOCH:
            raise ValueError(f"{what} must not be before 1970: {value!r}")
        return min((value - _EPOCH) // _MICROSECOND, MAX_TIME)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        kind = type(value).__name__
        raise TypeError(f"{what} must be seconds since the epoch or a datetime, not {kind}")
    if not 0 <= value < math.inf:
        raise ValueError(f"{what} must be seconds since the epoch, not {value!r}")
    return round(min(value, _LAST) * SECOND)


def _microseconds(what: str, value: float | timedelta) -> int:
    if isinstance(value, timedelta):
        return min(max(value // _MICROSECOND, 0), MAX_TIME)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{what} must be seconds or a timedelta, not {type(value).__name__}")
    if not -math.inf < value < math.inf:
        raise ValueError(f"{what} must be finite, not {value!r}")
    return max(round(min(value, _LAST) * SECOND), 1) if value > 0 else 0
