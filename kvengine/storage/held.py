"""One object as of one moment, held without a snapshot: what a lazy session reads from.

Rows are immutable bytes, so the rows of one object that all layers have are its state, whatever
commits, flushes and compactions do after. To hold them registers nothing: no commit keeps an old
state for them, and no file lives longer. What lies in chunks is not here: see `hold`.
"""

from __future__ import annotations

from collections.abc import Iterable

from kvengine.storage import read
from kvengine.storage.clock import SECOND
from kvengine.storage.database import Database
from kvengine.storage.memtable import TOMBSTONES
from kvengine.storage.names import Name
from kvengine.storage.reader import keys_of, load_part
from kvengine.storage.row import ENTRY_TTLS, EXPIRES, LARGE
from kvengine.storage.state import State
from kvengine.storage.version import View
from kvengine.store import StoredObject

_EXPIRING = EXPIRES | ENTRY_TTLS


class HeldObject:
    """The rows of one object, and the time to apply to them. Its verbs are those of `Snapshot`.

    ``name`` is that of the object, ``version`` 0 where it is absent, ``expires_at`` in seconds
    since the epoch.
    """

    __slots__ = (
        "_db",
        "_expiring",
        "_marks",
        "_now",
        "_pieces",
        "_state",
        "_view",
        "expires_at",
        "name",
        "version",
    )

    _db: Database
    _view: View
    name: Name
    _pieces: list[read.Piece]
    _now: int
    _expiring: bool
    _state: State | None
    _marks: State | None
    version: int
    expires_at: float | None

    def is_current(self) -> bool:
        """Return whether the object has this version still. Call under the commit lock.

        False where that would have to be looked up.
        """
        db, view = self._db, self._view
        if self._expiring or db.view is not view or db.unpublished:
            return False
        states = view.active.states
        return states.get(self.name) is self._state and states.get(TOMBSTONES) is self._marks

    def get(self, service: str, key: str, state_key: str, /) -> bytes | None:  # noqa: ARG002
        self._check_open()
        return read.entry_of(self._pieces, state_key, self._now)

    def get_many(
        self,
        service: str,  # noqa: ARG002
        key: str,  # noqa: ARG002
        state_keys: Iterable[str],
        /,
    ) -> dict[str, bytes]:
        self._check_open()
        found: dict[str, bytes] = {}
        for state_key in state_keys:
            value = read.entry_of(self._pieces, state_key, self._now)
            if value is not None:
                found[state_key] = value
        return found

    def get_all(self, service: str, key: str, /) -> dict[str, bytes]:  # noqa: ARG002
        self._check_open()
        found = read.resolved(self._pieces)
        live = found.at(self._now) if found is not None else None
        return live.entries if live is not None else {}

    def load(
        self,
        service: str,  # noqa: ARG002
        key: str,  # noqa: ARG002
        /,
        *,
        max_bytes: int,
    ) -> StoredObject | None:
        self._check_open()
        return load_part(self.name, self._pieces, max_bytes, self._now)

    def state_keys(
        self,
        service: str,  # noqa: ARG002
        key: str,  # noqa: ARG002
        /,
        *,
        prefix: str = "",
        start: str = "",
        limit: int | None = None,
    ) -> list[str]:
        self._check_open()
        return keys_of(self._pieces, prefix, start, limit, self._now)

    def in_memory(self, service: str, key: str, /) -> bool:  # noqa: ARG002
        self._check_open()
        return True

    def close(self) -> None:
        """Do nothing: nothing was registered."""

    def _check_open(self) -> None:
        """Raise DatabaseClosed (or ForkedError) if the database may no longer be used."""
        view = self._db.view
        if type(view) is not View:
            view.check_open()


def hold(db: Database, name: Name) -> HeldObject | None:
    """Return an object as of now; None if it lies in chunks, for which files must be kept."""
    view = db.view
    if type(view) is not View:
        view.check_open()
    states = view.active.states
    marks, state = states.get(TOMBSTONES), states.get(name)
    pieces = read.collect(view, name)
    now = db.clock.now()  # last, as in every read
    flags = 0
    for piece in pieces:
        flags |= piece.row[1]
    if flags & LARGE:
        return None
    held = HeldObject()
    held._db = db
    held._view = view
    held.name = name
    held._pieces = pieces
    held._now = now
    held._expiring = flags & _EXPIRING != 0
    held._state = state
    held._marks = marks
    found = read.summary(pieces, now)
    held.version = found.version if found is not None else 0
    at = found.expires_at if found is not None else None
    held.expires_at = None if at is None else at / SECOND
    return held
