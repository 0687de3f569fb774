"""Turn write verbs into rows, which state in full what a commit says.

A row states its object's expiry in full, resolved against the commits before it; a write to an
expired object is ``cleared`` first. The WAL contains these rows, and replay applies them without
deciding anything. Pure, apart from the look-up of an object to which a layer below may give an
expiry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from kvengine.storage.batch import (
    Clear,
    ClearAll,
    ClearRange,
    Complete,
    Expire,
    Operation,
    Set,
    covers,
)
from kvengine.storage.names import Name
from kvengine.storage.row import (
    CLEARED,
    ENTRY_TTLS,
    EXPIRES,
    EXTENDS,
    TOMBSTONES,
    Entry,
    pack,
)
from kvengine.storage.state import Change
from kvengine.storage.times import MAX_TIME
from kvengine.storage.version import View


class Below(NamedTuple):
    """What the layers below a commit state of an object.

    ``expires_at`` and ``completed_at`` count even if no entry is live; ``live_keys(now)`` yields
    the state keys of the entries that live at a time, as the layers hold them.
    """

    expires_at: int | None
    completed_at: int | None
    live_keys: Callable[[int], Iterator[str]]


NOTHING = Below(None, None, lambda _: iter(()))


class _Delta:
    """What the operations of a commit so far say of an object.

    It has ``completed_at`` only if it has ``expires_at`` too.
    """

    __slots__ = (
        "below",
        "cleared",
        "completed_at",
        "entries",
        "entry_flags",
        "expires_at",
        "extends",
    )

    def __init__(self, below: Below, *, cleared: bool = False) -> None:
        self.below = below
        self.cleared = cleared
        self.extends = False
        self.expires_at = None if cleared else below.expires_at
        self.completed_at = None if cleared else below.completed_at
        self.entries: dict[str, Entry] = {}
        self.entry_flags = 0
        """The flags of a row that follow from its entries."""

    def write(self, state_key: str, entry: Entry, now: int) -> None:
        """Set or clear an entry. A write to an expired object starts a new, empty one."""
        if self.expires_at is not None and self.expires_at <= now:
            self._start_anew()
        self.entries[state_key] = entry
        if entry is None:
            self.entry_flags |= TOMBSTONES
        elif isinstance(entry, tuple):
            self.entry_flags |= ENTRY_TTLS

    def _start_anew(self) -> None:
        self.cleared = True
        self.expires_at = self.completed_at = None
        self.entries = {}

    def row(self, stamp: int) -> bytes:
        """Return the encoded row."""
        flags = self.entry_flags | CLEARED * self.cleared | EXTENDS * self.extends
        if self.expires_at is not None:
            flags |= EXPIRES
        return pack(flags, stamp, self.expires_at, self.entries, self.completed_at)

    def exists(self, now: int) -> bool:
        """Return whether it is completed, or an entry lives, set here or below."""
        if self.completed_at is not None:
            return True
        for entry in self.entries.values():
            if entry is not None and (not isinstance(entry, tuple) or entry[0] > now):
                return True
        if self.cleared:
            return False
        return any(state_key not in self.entries for state_key in self.below.live_keys(now))

    def expire(self, at: int | None, now: int) -> bool:
        """Give a live object an expiry. Return False, and change nothing, if it is absent."""
        before = self.expires_at
        if (before is not None and before <= now) or not self.exists(now):
            return False
        self._set_expiry(at)
        if at is None:
            self.completed_at = None
        return True

    def complete(self, completed_at: int, expires_at: int, now: int) -> bool:
        """Complete a workflow. Return False, and change nothing, if it is completed already."""
        if self.expires_at is not None and self.expires_at <= now:
            self._start_anew()
        if self.completed_at is not None:
            return False
        self._set_expiry(expires_at)
        self.completed_at = completed_at
        return True

    def _set_expiry(self, at: int | None) -> None:
        before = self.expires_at
        self.extends = self.extends or (before is not None and (at is None or at > before))
        self.expires_at = at


class Resolution:
    """The rows and range tombstones of one commit."""

    def __init__(self, now: int, view: View, look_up: Callable[[Name], Below]) -> None:
        """``view``: the layers below. ``look_up``: what they say of an object."""
        self._now = now
        self._view = view
        self._look_up = look_up
        self._deltas: dict[Name, _Delta] = {}
        self._ranges: list[ClearRange] = []

    def apply(self, operations: Iterable[Operation]) -> None:
        """Apply operations in their order."""
        now = self._now
        for operation in operations:
            if isinstance(operation, Set):
                entry: Entry = operation.value
                at = self._end(operation)
                if at is not None:
                    entry = (at, operation.value)
                self._delta(operation.name).write(operation.state_key, entry, now)
            elif isinstance(operation, Clear):
                self._delta(operation.name).write(operation.state_key, None, now)
            elif isinstance(operation, ClearAll) or (
                isinstance(operation, Complete) and not operation.retention
            ):
                self._deltas[operation.name] = _Delta(NOTHING, cleared=True)
            elif isinstance(operation, ClearRange):
                self._clear_range(operation)
            elif isinstance(operation, Complete):
                self._complete(operation)
            else:
                self._expire(operation)

    def changes(self, stamp: int) -> list[Change]:
        """Return the change to each object, with its encoded row."""
        return [Change(name, None, delta.row(stamp)) for name, delta in self._deltas.items()]

    def ranges(self) -> list[tuple[bytes, bytes]]:
        """Return the range tombstones."""
        return [(cleared.start, cleared.stop) for cleared in self._ranges]

    def _delta(self, name: Name, *, look: bool = False) -> _Delta:
        """Return the delta of an object.

        ``look``: what lies below is needed even if nothing expires.
        """
        delta = self._deltas.get(name)
        if delta is None:
            below = NOTHING
            if look or self._view.may_expire(name):
                below = self._below(name)
            delta = self._deltas[name] = _Delta(below)
        elif look and delta.below is NOTHING and not delta.cleared:
            delta.below = self._below(name)
        return delta

    def _below(self, name: Name) -> Below:
        if any(covers(cleared, name) for cleared in self._ranges):
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
        known = operation.name in self._deltas
        delta = self._delta(operation.name, look=True)
        if not delta.expire(self._end(operation), self._now) and not known:
            del self._deltas[operation.name]

    def _complete(self, operation: Complete) -> None:
        known = operation.name in self._deltas
        at = self._now if operation.completed_at is None else operation.completed_at
        end = min(at + operation.retention, MAX_TIME)
        if not self._delta(operation.name, look=True).complete(at, end, self._now) and not known:
            del self._deltas[operation.name]

    def _end(self, operation: Set | Expire) -> int | None:
        """Return when the operation lets something expire, None for never."""
        if operation.ttl is None:
            return operation.at
        return min(self._now + operation.ttl, MAX_TIME)
