"""What a session knows of its object, and what it has changed: pure, without I/O.

Reads see the session's own changes over the object as of one moment. Whatever
runs a session, with threads or with asyncio, asks here first, fetches what
`_missing` says is not known, and tells what it found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from kvengine.objects.state.cells import Cells
from kvengine.storage.batch import Clear, ClearAll, Complete, Expire, Operation, Set
from kvengine.storage.clock import SECOND
from kvengine.storage.names import Name

Ends: TypeAlias = "tuple[Expire | Complete, ...]"
"""What a session does to the expiry of its object, in order."""

Logged: TypeAlias = "tuple[dict[str, bytes | None], dict[str, bytes | None], Ends | None]"
"""Changes to commit, the dict that they were copied from, and the change of the expiry."""


Lifetime: TypeAlias = "tuple[int | None, int | None]"
"""When an entry expires: so many microseconds after the commit, or at a time, or neither."""

FOR_EVER: Lifetime = (None, None)


class Working(Cells):
    """The working state of one session, which `_begin` fills in.

    ``_base`` maps a state key to what the moment holds, None for nothing; where
    ``_complete`` is True every live entry is in it. ``_changes`` are the session's
    own, None for a cleared entry; ``_ttls`` theirs, see `Lifetime`. ``_version`` is
    that of the moment, or of the session's last commit; ``_expires_at`` in seconds since
    the epoch, ``_ends`` the same of entries by their own ttl, as far as it is known.
    ``_open``: from the load to the end.
    """

    __slots__ = (
        "_base",
        "_changes",
        "_cleared",
        "_complete",
        "_completed",
        "_ends",
        "_expire",
        "_expires_at",
        "_keys",
        "_open",
        "_some_keys",
        "_ttls",
        "_version",
    )

    _open: bool
    _version: int
    _expires_at: float | None
    _base: dict[str, bytes | None]
    _complete: bool
    _completed: bool
    _changes: dict[str, bytes | None]
    _ends: dict[str, float | None] | None
    _ttls: dict[str, Lifetime] | None
    _cleared: bool
    _expire: Ends | None
    _keys: list[str] | None
    _some_keys: list[str] | None

    def _begin(
        self,
        version: int,
        expires_at: float | None,
        base: dict[str, bytes | None],
        complete: bool,
        ends: dict[str, float | None] | None = None,
        completed: bool = False,
    ) -> None:
        """Begin with what was loaded, and no changes."""
        self._version = version
        self._expires_at = expires_at
        self._base = base
        self._complete = complete
        self._ends = ends
        self._completed = completed
        self._changes = {}
        self._ttls = self._expire = self._keys = self._some_keys = None
        self._cleared = False
        self._open = True

    # --- reading

    def _peek(self, state_key: str) -> bytes | None:
        """What a read sees, where it is not `_missing`."""
        return self._changes[state_key] if state_key in self._changes else self._base.get(state_key)

    def _missing(self, state_key: str) -> bool:
        """Whether the entry must be fetched before it can be read."""
        return not self._complete and state_key not in self._changes and state_key not in self._base

    def _learn(self, found: Mapping[str, bytes], asked: Iterable[str]) -> None:
        """What the moment holds of the state keys ``asked`` for."""
        for state_key in asked:
            self._base.setdefault(state_key, found.get(state_key))

    def _learn_all(self, found: Mapping[str, bytes]) -> None:
        """Every entry of the moment. What the session has committed since stays."""
        self._base = {**found, **self._base}
        self._complete = True

    @property
    def _keys_missing(self) -> bool:
        """Whether the state keys must be fetched before they can be listed."""
        return not self._complete and self._keys is None

    def _learn_end(self, state_key: str, at: float | None) -> None:
        """When the store says that an entry expires which this session has committed."""
        self._ends = {**(self._ends or {}), state_key: at}

    def _learn_keys(self, found: list[str]) -> None:
        """The state keys of the moment."""
        self._keys = found

    def _learn_some_keys(self, found: list[str]) -> None:
        """The first state keys of the moment, ``enough(1)`` of them: whether any entry is left."""
        self._some_keys = found

    def _enough(self, limit: int | None) -> int | None:
        """How many state keys of the moment to ask for, so that ``limit`` of them live."""
        if limit is None:
            return None
        gone = [
            name for known in (self._base, self._changes) for name in known if known[name] is None
        ]
        return limit + len(gone)

    def _live_keys(
        self,
        prefix: str = "",
        start: str = "",
        limit: int | None = None,
        found: list[str] | None = None,
        *,
        reverse: bool = False,
    ) -> list[str]:
        """State keys of live entries from ``start`` on, own changes among them.

        ``found``: those of the moment, as far as they are asked for, where not all were learned.
        """
        known = {**self._base, **self._changes}
        keys = {name for name, value in known.items() if value is not None}
        if not self._complete:
            keys.update(name for name in found or self._keys or () if name not in known)
        if prefix:
            keys = {name for name in keys if name.startswith(prefix)}
        if start:
            keys = {name for name in keys if (name <= start if reverse else name >= start)}
        return sorted(keys, reverse=reverse)[:limit]

    def _live_entries(self) -> dict[str, bytes]:
        """All live entries in key order; of a complete state."""
        known = {**self._base, **self._changes}
        return {name: value for name in sorted(known) if (value := known[name]) is not None}

    # --- writing

    def _lifetime(self, state_key: str, at: float | None) -> Lifetime:
        """Return how long an entry lives that keeps what it has; ``at``: what the moment says."""
        if state_key in self._changes:
            return (self._ttls or {}).get(state_key, FOR_EVER)
        return None, None if at is None else round(at * SECOND)

    def _put(
        self, state_key: str, value: bytes, ttl: int | None = None, at: int | None = None
    ) -> None:
        """Set an entry; ``ttl`` and ``at`` as of a `Lifetime`."""
        self._changes[state_key] = value
        if ttl is not None or at is not None:
            self._ttls = {**(self._ttls or {}), state_key: (ttl, at)}
        elif self._ttls:
            self._ttls.pop(state_key, None)

    def _drop(self, state_key: str) -> None:
        """Clear an entry. One that is known to be absent leaves no trace."""
        if self._ttls:
            self._ttls.pop(state_key, None)
        if self._base.get(state_key) is None and (self._complete or state_key in self._base):
            self._changes.pop(state_key, None)
        else:
            self._changes[state_key] = None

    def _drop_all(self) -> None:
        """Clear every entry, and the expiry: also of an absent object, which may have one left."""
        self._base, self._changes, self._ttls = {}, {}, None
        self._ends = None
        self._complete = True
        self._expires_at = None
        self._expire = None
        self._completed = False
        self._cleared = True

    def _give_end(self, operation: Expire | Complete, *, completed: bool) -> None:
        """Give the object an end, or none. ``completed``: whether it is then a completed one."""
        self._expire = (*(self._expire or ()), operation)
        self._completed = completed

    # --- committing

    @property
    def _dirty(self) -> bool:
        """Whether there is anything to commit."""
        return True if self._changes else self._cleared or self._expire is not None

    def _only_assigns(self) -> bool:
        """Whether the changes are entries set and cleared, and nothing else."""
        return not (self._cleared or self._ttls) and self._expire is None

    def _operations(self, name: Name, changes: dict[str, bytes | None]) -> list[Operation]:
        """What to commit, in order."""
        operations: list[Operation] = [ClearAll(name)] if self._cleared else []
        ttls = self._ttls or {}
        for state_key, value in changes.items():
            if value is None:
                operations.append(Clear(name, state_key))
            else:
                operations.append(Set(name, state_key, value, *ttls.get(state_key, FOR_EVER)))
        if self._expire is not None:
            operations += self._expire
        return operations

    @property
    def _survival_unknown(self) -> bool:
        """Whether state keys are needed to tell if the object exists after the commit."""
        return self._keys_missing and not self._survives

    @property
    def _survives(self) -> bool:
        """Whether the object is known to exist after the commit."""
        if self._completed or any(value is not None for value in self._changes.values()):
            return True
        return bool(self._live_keys(limit=1, found=self._some_keys))

    def _committed(self, stamp: int, logged: Logged) -> None:
        """What was `_logged` is in, as the commit with this stamp. What came after it stays.

        An object without entries is absent, and has version 0, if it is no completed workflow.
        """
        changes, held, expire = logged
        if self._changes is not held:  # cleared as a whole meanwhile, in another thread or task
            self._version = stamp
            return
        later = {
            name: value
            for name, value in held.items()
            if name not in changes or changes[name] is not value
        }
        ttls = {name: ttl for name, ttl in (self._ttls or {}).items() if name in later}
        self._changes = changes
        self._version = stamp if self._survives else 0
        if self._expire is expire:
            self._expire = None
        if not self._version:
            self._expires_at = None
        self._base = {**self._base, **changes}
        self._ends = {**(self._ends or {}), **dict.fromkeys(changes)}
        self._changes, self._ttls, self._cleared = later, ttls or None, False

    def _logged(self) -> Logged:
        """Return what a commit in the middle of the session takes: a copy that nobody changes."""
        return dict(self._changes), self._changes, self._expire
