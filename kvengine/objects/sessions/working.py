"""What a session knows of its object, and what it has changed: pure, without I/O.

Reads see the session's own changes over the object as of one moment. Whatever
runs a session, with threads or with asyncio, asks here first, fetches what
`missing` says is not known, and tells what it found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kvengine.storage.batch import Clear, ClearAll, Expire, Operation, Set
from kvengine.storage.names import Name


class Working:
    """The working state of one session, made by `begin`.

    ``base`` maps a state key to what the moment holds, None for nothing; where
    ``complete`` is True every live entry is in it. ``changes`` are the session's
    own, None for a cleared entry; ``ttls`` theirs, in microseconds from the
    commit. ``version`` is that of the moment, or of the session's last commit;
    ``expires_at`` in seconds since the epoch.
    """

    __slots__ = (
        "_expire",
        "_keys",
        "_some_keys",
        "base",
        "changes",
        "cleared",
        "complete",
        "expires_at",
        "ttls",
        "version",
    )

    version: int
    expires_at: float | None
    base: dict[str, bytes | None]
    complete: bool
    changes: dict[str, bytes | None]
    ttls: dict[str, int] | None
    cleared: bool
    _expire: Expire | None
    _keys: list[str] | None
    _some_keys: list[str] | None

    # --- reading

    def peek(self, state_key: str) -> bytes | None:
        """What a read sees, where it is not `missing`."""
        return self.changes[state_key] if state_key in self.changes else self.base.get(state_key)

    def missing(self, state_key: str) -> bool:
        """Whether the entry must be fetched before it can be read."""
        return not self.complete and state_key not in self.changes and state_key not in self.base

    def learn(self, found: Mapping[str, bytes], asked: Iterable[str]) -> None:
        """What the moment holds of the state keys ``asked`` for."""
        for state_key in asked:
            self.base.setdefault(state_key, found.get(state_key))

    def learn_all(self, found: Mapping[str, bytes]) -> None:
        """Every entry of the moment. What the session has committed since stays."""
        self.base = {**found, **self.base}
        self.complete = True

    @property
    def keys_missing(self) -> bool:
        """Whether the state keys must be fetched before they can be listed."""
        return not self.complete and self._keys is None

    def learn_keys(self, found: list[str]) -> None:
        """The state keys of the moment."""
        self._keys = found

    def learn_some_keys(self, found: list[str]) -> None:
        """The first state keys of the moment, ``enough(1)`` of them: whether any entry is left."""
        self._some_keys = found

    def enough(self, limit: int | None) -> int | None:
        """How many state keys of the moment to ask for, so that ``limit`` of them live."""
        if limit is None:
            return None
        gone = [
            name for known in (self.base, self.changes) for name in known if known[name] is None
        ]
        return limit + len(gone)

    def state_keys(
        self,
        prefix: str = "",
        start: str = "",
        limit: int | None = None,
        found: list[str] | None = None,
    ) -> list[str]:
        """State keys of live entries in order from ``start`` on, own changes among them.

        ``found``: those of the moment, as far as they are asked for, where not all were learned.
        """
        known = {**self.base, **self.changes}
        keys = {name for name, value in known.items() if value is not None}
        if not self.complete:
            keys.update(name for name in found or self._keys or () if name not in known)
        if prefix or start:
            keys = {name for name in keys if name >= start and name.startswith(prefix)}
        return sorted(keys)[:limit]

    def entries(self) -> dict[str, bytes]:
        """All live entries in key order; of a complete state."""
        known = {**self.base, **self.changes}
        return {name: value for name in sorted(known) if (value := known[name]) is not None}

    # --- writing

    def write(self, state_key: str, value: bytes, ttl: int | None = None) -> None:
        """Set an entry; ``ttl`` in microseconds from the commit."""
        self.changes[state_key] = value
        if ttl is not None:
            self.ttls = {**(self.ttls or {}), state_key: ttl}
        elif self.ttls:
            self.ttls.pop(state_key, None)

    def erase(self, state_key: str) -> None:
        """Clear an entry. One that is known to be absent leaves no trace."""
        if self.ttls:
            self.ttls.pop(state_key, None)
        if self.base.get(state_key) is None and (self.complete or state_key in self.base):
            self.changes.pop(state_key, None)
        else:
            self.changes[state_key] = None

    def erase_all(self) -> None:
        """Clear every entry, and the expiry: also of an absent object, which may have one left."""
        self.base, self.changes, self.ttls = {}, {}, None
        self.complete = True
        self.expires_at = None
        self._expire = None
        self.cleared = True

    def expire(self, operation: Expire) -> None:
        """Let the object expire, or never expire, from the commit on."""
        self._expire = operation

    @property
    def expiring(self) -> bool:
        """Whether the object has an expiry, or will have one with the commit."""
        if self._expire is not None:
            return self._expire.at is not None or self._expire.ttl is not None
        return self.expires_at is not None

    # --- committing

    @property
    def changed(self) -> bool:
        """Whether there is anything to commit."""
        return True if self.changes else self.cleared or self._expire is not None

    def only_assigns(self) -> bool:
        """Whether the changes are entries set and cleared, and nothing else."""
        return not (self.cleared or self.ttls) and self._expire is None

    def operations(self, name: Name) -> list[Operation]:
        """What to commit, in order."""
        operations: list[Operation] = [ClearAll(name)] if self.cleared else []
        ttls = self.ttls or {}
        for state_key, value in self.changes.items():
            if value is None:
                operations.append(Clear(name, state_key))
            else:
                operations.append(Set(name, state_key, value, ttls.get(state_key)))
        if self._expire is not None:
            operations.append(self._expire)
        return operations

    @property
    def expiry_changes(self) -> bool:
        """Whether the commit gives the object another expiry, which only the store can tell."""
        return self._expire is not None

    @property
    def survival_unknown(self) -> bool:
        """Whether state keys are needed to tell if the object exists after the commit."""
        return self.keys_missing and not self._survives

    @property
    def _survives(self) -> bool:
        """Whether some entry is known to be left after the commit."""
        if any(value is not None for value in self.changes.values()):
            return True
        return bool(self.state_keys(limit=1, found=self._some_keys))

    def committed(self, stamp: int) -> None:
        """The changes are in, as the commit with this stamp.

        An object without entries is absent, and has version 0.
        """
        self.version = stamp if self._survives else 0
        self._expire = None
        if not self.version:
            self.expires_at = None
        self.base = {**self.base, **self.changes}
        self.changes, self.ttls, self.cleared = {}, None, False


def begin(
    version: int, expires_at: float | None, base: dict[str, bytes | None], complete: bool
) -> Working:
    """Return the working state of a session that has changed nothing yet."""
    working = Working.__new__(Working)
    working.version = version
    working.expires_at = expires_at
    working.base = base
    working.complete = complete
    working.changes = {}
    working.ttls = working._expire = working._keys = working._some_keys = None
    working.cleared = False
    return working
