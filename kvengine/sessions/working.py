"""What a session knows of its object, and what it has changed: pure, without I/O.

Reads see the session's own writes over the object as of one moment. Whatever
runs a session, with threads or with asyncio, asks here first, fetches what
`missing` says is not known, and tells what it found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kvengine.batch import Clear, ClearAll, Expire, Operation, Set
from kvengine.clock import SECOND
from kvengine.names import Name


class Working:
    """The working state of one session.

    ``known`` maps a state key to what a read sees, None for absent; where
    ``complete`` is True every live entry is in it. ``version`` is that of the
    moment the session began with, or of its own last commit. ``expires_at`` in
    seconds since the epoch.
    """

    __slots__ = (
        "_changes",
        "_cleared",
        "_expire",
        "_keys",
        "_new",
        "complete",
        "expires_at",
        "known",
        "name",
        "version",
    )

    def __init__(
        self,
        name: Name,
        version: int,
        expires_at: float | None,
        known: dict[str, bytes | None],
        complete: bool,
    ) -> None:
        self.name = name
        self.version = version
        self.expires_at = expires_at
        self.known = known
        self.complete = complete
        self._changes: dict[str, Set | Clear] = {}
        self._new: set[str] = set()
        self._cleared = False
        self._expire: Expire | None = None
        self._keys: list[str] | None = None

    # --- reading

    def missing(self, state_key: str) -> bool:
        """Whether the entry must be fetched before it can be read."""
        return not self.complete and state_key not in self.known

    def learn(self, found: Mapping[str, bytes], asked: Iterable[str]) -> None:
        """What the moment holds of the state keys ``asked`` for. Own writes stay."""
        for state_key in asked:
            self.known.setdefault(state_key, found.get(state_key))

    def learn_all(self, found: Mapping[str, bytes]) -> None:
        """Every entry of the moment."""
        self.known = {**found, **self.known}
        self.complete = True

    @property
    def keys_missing(self) -> bool:
        """Whether the state keys must be fetched before they can be listed."""
        return not self.complete and self._keys is None

    def learn_keys(self, found: list[str]) -> None:
        """The state keys of the moment."""
        self._keys = found

    def state_keys(self, prefix: str = "", start: str = "", limit: int | None = None) -> list[str]:
        """State keys of live entries in order from ``start`` on, own writes among them."""
        keys = {name for name, value in self.known.items() if value is not None}
        if not self.complete:
            keys.update(name for name in self._keys or () if name not in self.known)
        if prefix or start:
            keys = {name for name in keys if name >= start and name.startswith(prefix)}
        return sorted(keys)[:limit]

    def entries(self) -> dict[str, bytes]:
        """All live entries in key order; of a complete state."""
        return {
            name: value for name in sorted(self.known) if (value := self.known[name]) is not None
        }

    # --- writing

    def write(self, state_key: str, value: bytes, ttl: int | None = None) -> None:
        """Set an entry; ``ttl`` in microseconds from the commit."""
        if self._absent(state_key) and state_key not in self._changes:
            self._new.add(state_key)
        self.known[state_key] = value
        self._changes[state_key] = Set(self.name, state_key, value, ttl)

    def erase(self, state_key: str) -> None:
        """Clear an entry. One that is known to be absent, or is new here, leaves no trace."""
        if self._absent(state_key):
            return
        self.known[state_key] = None
        if state_key in self._new:
            del self._changes[state_key]
            self._new.discard(state_key)
        else:
            self._changes[state_key] = Clear(self.name, state_key)

    def _absent(self, state_key: str) -> bool:
        return self.known.get(state_key) is None and not self.missing(state_key)

    def erase_all(self) -> None:
        """Clear every entry, and the expiry: also of an absent object, which may have one left."""
        self.known = {}
        self.complete = True
        self.expires_at = None
        self._changes.clear()
        self._new.clear()
        self._expire = None
        self._cleared = True

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
        return bool(self._changes) or self._cleared or self._expire is not None

    def operations(self) -> list[Operation]:
        """What to commit, in order."""
        operations: list[Operation] = [*self._changes.values()]
        if self._cleared:
            operations.insert(0, ClearAll(self.name))
        if self._expire is not None:
            operations.append(self._expire)
        return operations

    @property
    def survival_unknown(self) -> bool:
        """Whether the state keys are needed to tell if the object exists after the commit."""
        return self.keys_missing and not any(value is not None for value in self.known.values())

    def committed(self, stamp: int) -> None:
        """The changes are in, as the commit with this stamp.

        An object without entries is absent, and has version 0.
        """
        if self._expire is not None:
            at, ttl = self._expire.at, self._expire.ttl
            at = stamp + ttl if ttl is not None else at
            self.expires_at = None if at is None else at / SECOND
            self._expire = None
        self.version = stamp if self.state_keys() else 0
        if not self.version:
            self.expires_at = None
        self._changes = {}
        self._new = set()
        self._cleared = False
