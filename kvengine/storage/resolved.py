"""An object as all layers together state it, before time is applied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class Resolved:
    """An object as all layers together state it, before time is applied.

    ``entries`` are values in key order, without tombstones. ``ttls`` is the expiry of those that
    have their own. ``soonest`` is the first instant at which any part of it expires, None if
    nothing does. It is empty only if it has ``completed_at``. ``size``: what the memo counts for
    it, 0 if it was never there. Readers share one that was there, so nobody may change it.
    """

    __slots__ = ("completed_at", "entries", "expires_at", "size", "soonest", "ttls", "version")

    def __init__(
        self,
        version: int,
        expires_at: int | None,
        entries: dict[str, bytes],
        ttls: dict[str, int] | None,
        soonest: int | None,
        completed_at: int | None = None,
    ) -> None:
        self.version: int = version
        self.expires_at: int | None = expires_at
        self.entries: dict[str, bytes] = entries
        self.ttls: dict[str, int] | None = ttls
        self.soonest: int | None = soonest
        self.completed_at: int | None = completed_at
        self.size: int = 0

    def at(self, now: int) -> Resolved | None:
        """Return what is live at ``now``, None if the object does not exist then."""
        if self.soonest is None or self.soonest > now:
            return self
        if self.expires_at is not None and self.expires_at <= now:
            return None
        ttls = self.ttls or {}
        gone = {name for name, at in ttls.items() if at <= now}
        entries = {name: value for name, value in self.entries.items() if name not in gone}
        left = {name: at for name, at in ttls.items() if name not in gone}
        return with_ttls(self.version, self.expires_at, entries, left, self.completed_at)


def plain_object(version: int, values: dict[str, bytes]) -> Resolved | None:
    """Return an object of which nothing expires, from its values in key order; None without any."""
    if not values:
        return None
    found = Resolved.__new__(Resolved)  # compiled, `__init__` costs more than all of this
    found.version = version
    found.entries = values
    found.expires_at = found.ttls = found.soonest = found.completed_at = None
    found.size = 0
    return found


def with_ttls(
    version: int,
    expires_at: int | None,
    values: dict[str, bytes],
    ttls: Mapping[str, int],
    completed_at: int | None = None,
) -> Resolved | None:
    """Return an object of these values, some with an expiry of their own.

    None without values, if it is no completed workflow.
    """
    if not values and completed_at is None:
        return None
    ends: Iterable[int] = ttls.values() if expires_at is None else (expires_at, *ttls.values())
    soonest = min(ends, default=None)
    return Resolved(version, expires_at, values, dict(ttls) or None, soonest, completed_at)
