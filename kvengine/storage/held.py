"""One object as of one moment, held without a snapshot: what a lazy session reads from.

Rows are immutable, and so are segments. So the rows that the memtables have of one object, and the
segments of the view, are its state, whatever commits, flushes and compactions do after. To hold
them registers nothing: no commit keeps an old state for them. A segment that is replaced meanwhile
is closed with its last reader, as for a read that began before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kvengine.storage import read
from kvengine.storage.clock import SECOND
from kvengine.storage.database import Database
from kvengine.storage.memtable import TOMBSTONES
from kvengine.storage.names import Name
from kvengine.storage.packed import entry_count, find, version_of
from kvengine.storage.read import Piece, collect
from kvengine.storage.reader import keys_of, load_part
from kvengine.storage.row import ENTRY_TTLS, EXPIRES, LARGE, MISSING
from kvengine.storage.row import TOMBSTONES as HAS_TOMBSTONES
from kvengine.storage.state import State
from kvengine.storage.version import View
from kvengine.store import StoredObject

_NOT_PLAIN = EXPIRES | ENTRY_TTLS | HAS_TOMBSTONES | LARGE
_EXPIRING = EXPIRES | ENTRY_TTLS


class HeldObject:
    """The rows of one object, and the time to apply to them, made by `hold`.

    ``name`` is that of the object, ``version`` 0 where it is absent, ``ends_at`` in seconds
    since the epoch, ``completed`` whether it is a completed workflow. The verbs are those of
    `Snapshot`, of this object.
    """

    __slots__ = (
        "_db",
        "_expiring",
        "_marks",
        "_now",
        "_older",
        "_pieces",
        "_rows",
        "_state",
        "_view",
        "completed",
        "ends_at",
        "name",
        "version",
    )

    _db: Database
    _view: View
    _rows: list[bytes]  # of the memtables, newest first
    _older: bool  # whether segments may have more
    _pieces: list[Piece] | None  # of all layers, once they are needed
    _now: int
    _expiring: bool
    _state: State | None
    _marks: State | None
    name: Name
    version: int
    ends_at: float | None
    completed: bool

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
        if self._pieces is None:
            for row in self._rows:
                entry = find(row, state_key)
                if entry is None or type(entry) is bytes:
                    return entry
                if entry is not MISSING:
                    break
        return read.entry_of(self._all(), state_key, self._now)

    def get_many(
        self,
        service: str,  # noqa: ARG002
        key: str,  # noqa: ARG002
        state_keys: Iterable[str],
        /,
    ) -> dict[str, bytes]:
        self._check_open()
        pieces = self._all()
        found: dict[str, bytes] = {}
        for state_key in state_keys:
            value = read.entry_of(pieces, state_key, self._now)
            if value is not None:
                found[state_key] = value
        return found

    def get_all(self, service: str, key: str, /) -> dict[str, bytes]:  # noqa: ARG002
        self._check_open()
        found = read.resolved(self._all())
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
        return load_part(self.name, self._all(), max_bytes, self._now)

    def state_keys(
        self,
        service: str,  # noqa: ARG002
        key: str,  # noqa: ARG002
        /,
        *,
        prefix: str = "",
        start: str = "",
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[str]:
        self._check_open()
        return keys_of(self._all(), prefix, start, reverse, limit, self._now)

    def expires_at(self, service: str, key: str, state_key: str, /) -> float | None:  # noqa: ARG002
        self._check_open()
        at = read.expiry_of(self._all(), state_key, self._now)
        return None if at is None else at / SECOND

    def _in_memory(self, service: str, key: str, /) -> bool:
        self._check_open()
        return self._pieces is not None or read.in_memory(self._view, (service, key), None)

    def close(self) -> None:
        """Do nothing: nothing was registered."""

    def _all(self) -> list[Piece]:
        """Return what each layer says of the object, newest first."""
        pieces = self._pieces
        if pieces is None:
            pieces = [Piece(row) for row in self._rows]
            if self._older:
                collect(self._view, self.name, None, None, pieces)
            self._pieces = pieces
        return pieces

    def _check_open(self) -> None:
        """Raise DatabaseClosed (or ForkedError) if the database may no longer be used."""
        view = self._db.view
        if type(view) is not View:
            view.check_open()


def hold(db: Database, name: Name, now: int | None = None) -> HeldObject:
    """Return an object as of now; ``now``: with its expiries as of that time.

    Where the newest row shows that the object lives, segments are not asked before they are needed.
    """
    view = db.view
    if type(view) is not View:
        view.check_open()
    held = HeldObject.__new__(HeldObject)
    held._db = db
    held._view = view
    held.name = name
    states = view.active.states
    held._marks, held._state = states.get(TOMBSTONES), states.get(name)
    rows: list[bytes] = []
    held._older = True
    for memtable in view.tables:
        if memtable.states:
            state, hides = memtable.find(name)
            while state is not None:
                rows.append(state.row)
                state = state.below
            if hides:
                held._older = False
                break
    held._rows = rows
    held._pieces = None
    if rows:
        newest = rows[0]
        if not newest[1] & _NOT_PLAIN and entry_count(newest):
            held._now = db.clock.now() if now is None else now
            held._expiring = False
            held.version = version_of(newest)
            held.ends_at = None
            held.completed = False
            return held
    pieces = held._all()
    if now is None:
        now = db.clock.now()  # last, as in every read
    held._now = now
    flags = 0
    for piece in pieces:
        flags |= piece.row[1]
    held._expiring = flags & _EXPIRING != 0
    found = read.summary(pieces, now)
    held.version = found.version if found is not None else 0
    held.completed = found is not None and found.completed_at is not None
    at = found.expires_at if found is not None else None
    held.ends_at = None if at is None else at / SECOND
    return held


Expected = Mapping[Name, int] | HeldObject | tuple[Name, int]
"""What a commit expects: versions of objects, what was held of one, or the version of one."""
