"""Write verbs to rows: what a commit says, in full, at the moment it is made.

A row states its object's expiry in full, resolved against the commits before
it; a write to an expired object is ``cleared`` first. What comes out is what
the WAL holds and replay applies without deciding anything. Pure, but for the
look-up of an object that a layer below may give an expiry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kvengine.storage.batch import (
    MAX_TIME,
    Clear,
    ClearAll,
    ClearRange,
    Expire,
    Operation,
    Set,
    covers,
)
from kvengine.storage.names import Name
from kvengine.storage.row import Resolved, Row, overlay_row, resolve

LookUp = Callable[[Name], "Stated"]


class Stated:
    """What the layers below a commit state of an object.

    ``expires_at`` holds even where no entry is live; ``found`` is the object.
    """

    __slots__ = ("expires_at", "found")

    def __init__(self, expires_at: int | None, found: Resolved | None) -> None:
        self.expires_at = expires_at
        self.found = found


NOTHING = Stated(None, None)


class _Delta:
    """What a commit has said of an object so far."""

    __slots__ = ("below", "cleared", "entries", "expires_at", "extends", "ttls")

    def __init__(self, below: Stated, *, cleared: bool = False) -> None:
        self.below = below
        self.cleared = cleared
        self.extends = False
        self.expires_at = None if cleared else below.expires_at
        self.entries: dict[str, bytes | None] = {}
        self.ttls: dict[str, int] = {}

    def revive(self, now: int) -> None:
        """A write to an expired object starts a new, empty one."""
        if self.expires_at is not None and self.expires_at <= now:
            self.cleared = True
            self.expires_at = None
            self.entries = {}
            self.ttls = {}

    def row(self, stamp: int) -> Row:
        ttls = self.ttls or None
        return Row(stamp, self.entries, self.cleared, self.extends, self.expires_at, ttls)

    def exists(self, now: int) -> bool:
        row = self.row(1)
        base = self.below.found
        if base is not None and not self.cleared:
            row = overlay_row(row, Row(1, dict(base.entries), ttls=base.ttls))
        found = resolve((row,))
        return found is not None and found.at(now) is not None

    def expire(self, at: int | None, now: int) -> bool:
        """Give a live object an expiry; False, and nothing said, where it is absent."""
        before = self.expires_at
        if (before is not None and before <= now) or not self.exists(now):
            return False
        self.extends = self.extends or (before is not None and (at is None or at > before))
        self.expires_at = at
        return True


class Resolution:
    """The rows and range tombstones of one commit; whether its last `expire` found an object."""

    def __init__(self, now: int, look_up: LookUp, expiring: bool) -> None:
        """``expiring``: some layer below states an expiry, so that writes must look it up."""
        self._now = now
        self._look_up = look_up
        self._expiring = expiring
        self._deltas: dict[Name, _Delta] = {}
        self._ranges: list[ClearRange] = []
        self.expired_object = False

    def apply(self, operations: Iterable[Operation]) -> None:
        now = self._now
        for operation in operations:
            if isinstance(operation, Set):
                delta = self._delta(operation.name)
                delta.revive(now)
                delta.entries[operation.state_key] = operation.value
                delta.ttls.pop(operation.state_key, None)
                if operation.ttl is not None:
                    delta.ttls[operation.state_key] = min(now + operation.ttl, MAX_TIME)
            elif isinstance(operation, Clear):
                delta = self._delta(operation.name)
                delta.revive(now)
                delta.entries[operation.state_key] = None
                delta.ttls.pop(operation.state_key, None)
            elif isinstance(operation, ClearAll):
                self._deltas[operation.name] = _Delta(NOTHING, cleared=True)
            elif isinstance(operation, ClearRange):
                self._clear_range(operation)
            else:
                self._expire(operation)

    def rows(self, stamp: int) -> list[tuple[Name, Row]]:
        return [(name, delta.row(stamp)) for name, delta in self._deltas.items()]

    def ranges(self) -> list[tuple[bytes, bytes]]:
        return [(one.start, one.stop) for one in self._ranges]

    def _delta(self, name: Name, *, look: bool = False) -> _Delta:
        """The delta of an object; ``look``: what lies below matters even without expiries."""
        delta = self._deltas.get(name)
        if delta is None:
            delta = _Delta(self._below(name) if self._expiring or look else NOTHING)
            self._deltas[name] = delta
        elif look and delta.below is NOTHING and not delta.cleared:
            delta.below = self._below(name)
        return delta

    def _below(self, name: Name) -> Stated:
        for one in self._ranges:
            if covers(one, name):
                return NOTHING
        return self._look_up(name)

    def _clear_range(self, operation: ClearRange) -> None:
        if operation.start >= operation.stop:
            return
        self._deltas = {
            name: delta for name, delta in self._deltas.items() if not covers(operation, name)
        }
        self._ranges.append(operation)

    def _expire(self, operation: Expire) -> None:
        at = operation.at if operation.ttl is None else min(self._now + operation.ttl, MAX_TIME)
        known = operation.name in self._deltas
        delta = self._delta(operation.name, look=True)
        self.expired_object = delta.expire(at, self._now)
        if not self.expired_object and not known:
            del self._deltas[operation.name]
