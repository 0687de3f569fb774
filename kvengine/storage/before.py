"""What a commit must know of the commits before it: expected versions, and its own rows.

All commits before it count, those logged and not yet visible too. Called under
the commit lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kvengine.errors import VersionConflict
from kvengine.storage import read
from kvengine.storage.batch import Operation, Set, object_name
from kvengine.storage.database import Database
from kvengine.storage.names import Name
from kvengine.storage.resolve import Resolution, Stated
from kvengine.storage.row import Resolved, Row


class Before:
    """The state that a commit meets."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def resolve(
        self, operations: Sequence[Operation], now: int, stamp: int
    ) -> tuple[list[tuple[Name, Row]], list[tuple[bytes, bytes]], bool]:
        """Rows, range tombstones, and whether the last `expire` found its object."""
        expiring = self._expiring()
        if not expiring and (plain := _plain(operations)) is not None:
            return [(name, Row(stamp, entries)) for name, entries in plain.items()], [], False
        resolution = Resolution(now, self._stated, expiring)
        resolution.apply(operations)
        return resolution.rows(stamp), resolution.ranges(), resolution.expired_object

    def _expiring(self) -> bool:
        """Whether any layer states an expiry; where none does, writes look nothing up."""
        view = self._db.view
        if view.active.expiring or view.version.expiring or self._db.cache.expiring:
            return True
        return bool(view.frozen) and any(memtable.expiring for memtable in view.frozen)

    def _stated(self, name: Name) -> Stated:
        """What every commit before this one states of an object."""
        db = self._db
        layers = self._layers(name)
        if not layers.pieces and layers.base is None:
            return Stated(None, None)
        head = layers.pieces[0].row if layers.pieces else layers.base
        found = read.combine(layers, db.view, db.cache, name)
        return Stated(head.expires_at if head is not None else None, found)

    def _layers(self, name: Name) -> read.Layers:
        """The layers of an object, commits that are logged and not yet visible included."""
        db = self._db
        if not db.staged:
            return read.look_up(db.view, db.cache, name)
        return read.look_up(db.view, db.cache, name, staged=db.staged)

    def check(self, expect: Mapping[Name, int], now: int) -> None:
        """VersionConflict where an object is not at the version expected of it."""
        for name, version in expect.items():
            checked = object_name(*name)
            found = self._known(checked, now) or self._head(checked, now)
            actual = found.version if found is not None else 0
            if actual != version:
                raise VersionConflict(*checked, version, actual)

    def _known(self, name: Name, now: int) -> Resolved | None:
        """A live object that somebody has worked out, as every commit before this one leaves it."""
        db = self._db
        view = db.view
        if view.active.has_tombstones:
            return None
        state = db.staged.get(name) or view.active.states.get(name)
        found = state.full if state is not None else read.remembered(view, db.cache, name)
        return found.at(now) if found is not None else None

    def _head(self, name: Name, now: int) -> read.Head | Resolved | None:
        return read.head(self._layers(name), self._db.view, self._db.cache, name, now)


def _plain(operations: Sequence[Operation]) -> dict[Name, dict[str, bytes | None]] | None:
    """The entries of a commit that only sets, without ttl; None for any other.

    Where no layer states an expiry these are its rows: nothing is looked up.
    """
    found: dict[Name, dict[str, bytes | None]] = {}
    for one in operations:
        if one.__class__ is not Set or one.ttl is not None:
            return None
        entries = found.get(one.name)
        if entries is None:
            found[one.name] = {one.state_key: one.value}
        else:
            entries[one.state_key] = one.value
    return found
