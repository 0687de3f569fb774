"""What sessions ask of a store that other clients use too: turns, late reads, commits."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from kvengine.errors import KVEngineError
from kvengine.options import Durability
from kvengine.postgres.claims import Claims, Pauses, timed_out
from kvengine.postgres.held import FIRST_BYTES, Held, HeldReads
from kvengine.postgres.writes import Turn
from kvengine.real_time import monotonic
from kvengine.storage.batch import Batch
from kvengine.storage.names import Name
from kvengine.store import StoredObject

if TYPE_CHECKING:
    from kvengine.postgres.store import PostgresStore


class Sessions:
    """The turns of one open store among those of other clients (objects/sessions/host.py)."""

    def __init__(self, store: PostgresStore, claims: Claims) -> None:
        self.claims = claims
        self._store = store

    def load(self, name: Name, max_bytes: int) -> tuple[StoredObject | None, Held]:
        """Return the first entries of an object, and whom to ask for the others."""
        reads = HeldReads(self._store.schema, name)
        begin = partial(reads.begin, self._store.clock, max(max_bytes, FIRST_BYTES))
        return self._store.run(begin), Held(reads, self._store.run)

    def claim(self, name: Name, timeout: float | None) -> None:
        """Wait until this client has an object for a session; SessionTimeout past ``timeout``."""
        end = None if timeout is None else monotonic() + timeout
        pauses, place = Pauses(), None
        while True:
            place, holder = self._store.run(partial(self.claims.ask, name, place))
            if holder is None:
                return
            left = None if end is None else end - monotonic()
            if left is not None and left <= 0:
                raise timed_out(name, timeout or 0, holder)
            pause = pauses.following()
            time.sleep(pause if left is None else min(pause, left))

    def leave(self, name: Name) -> None:
        """Give an object back, if it is not given back yet. If that fails, the keeper does it."""
        place = self.claims.forget(name)
        if place is not None:
            with suppress(KVEngineError):
                self._store.run(partial(self.claims.leave, name, place))

    def commit(
        self, batch: Batch, name: Name, version: int, durability: Durability | None, leaves: bool
    ) -> int:
        """Commit what a session wrote, if it still has its turn; ``leaves``: and give that back."""
        place = self.claims.place(name)
        turn = None if place is None else Turn(place, leaves)
        stamp = self._store.write_in_turn(batch, {name: version}, durability, turn)
        if leaves:
            self.claims.forget(name)
        return stamp
