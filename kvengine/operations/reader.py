"""The read verbs, over the live view (`LiveReader`) or one moment (`MomentReader`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TypeVar

from kvengine.clock import SECOND
from kvengine.errors import DatabaseClosed
from kvengine.names import (
    Name,
    are_plain,
    check_name,
    key_range,
    prefix_range,
    service_range,
)
from kvengine.operations import listing, read
from kvengine.operations.database import Database
from kvengine.operations.version import View
from kvengine.rows import Resolved
from kvengine.store import StoredObject

_T = TypeVar("_T")


class Reader:
    """Read verbs over whatever moment a subclass chooses."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def _moment(self) -> tuple[View, int | None]:
        """The view to read and the stamp to read it at; None for all that is published."""
        raise NotImplementedError

    def _now(self) -> int:
        """The time to apply; asked for after the view."""
        raise NotImplementedError

    def _hold(self) -> MomentReader:
        """One moment to walk: this one, or a snapshot of now."""
        raise NotImplementedError

    def _live(self, service: str, key: str) -> Resolved | None:
        name = _checked(service, key)
        view, stamp = self._moment()
        found = read.resolved(view, self._db.cache, name, stamp)
        if found is None or found.soonest is None:
            return found
        return found.at(self._now())

    def get(self, service: str, key: str, state_key: str) -> bytes | None:
        name = (service, key)
        if not are_plain(service, key, state_key):
            name = _checked(service, key)
            state_key = check_name("state_key", state_key)
        view, stamp = self._moment()
        layers = read.look_up(view, self._db.cache, name, stamp)
        if layers.heavy:
            return read.entry(layers, state_key, self._now())
        found = read.combine(layers, view, self._db.cache, name)
        if found is not None and found.soonest is not None:
            found = found.at(self._now())
        return found.entries.get(state_key) if found is not None else None

    def get_many(self, service: str, key: str, state_keys: Iterable[str]) -> dict[str, bytes]:
        if isinstance(state_keys, str):
            raise TypeError("state_keys must be an iterable of str, not one str")
        wanted = [check_name("state_key", name) for name in state_keys]
        name = _checked(service, key)
        view, stamp = self._moment()
        layers = read.look_up(view, self._db.cache, name, stamp)
        out: dict[str, bytes] = {}
        if layers.heavy:
            now = self._now()
            for state_key in wanted:
                value = read.entry(layers, state_key, now)
                if value is not None:
                    out[state_key] = value
            return out
        found = read.combine(layers, view, self._db.cache, name)
        found = found.at(self._now()) if found is not None else None
        entries = found.entries if found is not None else {}
        return {state_key: entries[state_key] for state_key in wanted if state_key in entries}

    def get_all(self, service: str, key: str) -> dict[str, bytes]:
        found = self._live(service, key)
        return found.entries.copy() if found is not None else {}

    def load(self, service: str, key: str, *, max_bytes: int | None = None) -> StoredObject | None:
        check_limit(max_bytes, "max_bytes")
        if max_bytes is None:
            found = self._live(service, key)
            if found is None:
                return None
            at = found.expires_at
            expires_at = None if at is None else at / SECOND
            return StoredObject(service, key, found.version, expires_at, found.entries.copy())
        return self._load_part(_checked(service, key), max_bytes)

    def _load_part(self, name: Name, max_bytes: int) -> StoredObject | None:
        view, stamp = self._moment()
        layers = read.look_up(view, self._db.cache, name, stamp)
        if not layers.pieces and layers.base is None:
            return None
        if not layers.pieces:
            found = layers.base.at(self._now()) if layers.base is not None else None
            parts: Iterator[dict[str, bytes]] = iter([found.entries] if found else [])
            head = layers.base
        else:
            parts = read.windows(layers, "", self._now())
            row = layers.pieces[0].row
            head = Resolved(row.version, row.expires_at, {}, None, None)
        entries: dict[str, bytes] = {}
        size, complete, exists = 0, True, False
        for part in parts:
            for state_key, value in part.items():
                exists = True
                size += len(state_key.encode()) + len(value)
                if size > max_bytes:
                    complete = False
                    break
                entries[state_key] = value
            if not complete:
                break
        if not exists or head is None:
            return None
        at = head.expires_at
        expires_at = None if at is None else at / SECOND
        return StoredObject(*name, head.version, expires_at, entries, complete)

    def state_keys(
        self, service: str, key: str, *, prefix: str = "", start: str = "", limit: int | None = None
    ) -> list[str]:
        check_name("prefix", prefix)
        check_name("start", start)
        check_limit(limit)
        name = _checked(service, key)
        view, stamp = self._moment()
        layers = read.look_up(view, self._db.cache, name, stamp)
        if layers.heavy:
            return list(islice(self._walk_keys(layers, prefix, max(prefix, start)), limit))
        found = read.combine(layers, view, self._db.cache, name)
        if found is not None:
            found = found.at(self._now())
        if found is None:
            return []
        if not prefix and not start:
            return list(found.entries)[:limit]
        return [k for k in found.entries if k >= start and k.startswith(prefix)][:limit]

    def _walk_keys(self, layers: read.Layers, prefix: str, start: str) -> Iterator[str]:
        for part in read.windows(layers, start, self._now()):
            for state_key in part:
                if state_key.startswith(prefix):
                    yield state_key
                elif state_key > prefix:
                    return

    def expires_at(self, service: str, key: str) -> float | None:
        found = self._live(service, key)
        at = found.expires_at if found is not None else None
        return None if at is None else at / SECOND

    def version(self, service: str, key: str) -> int:
        found = self._live(service, key)
        return found.version if found is not None else 0

    def services(self) -> list[str]:
        moment = self._hold()
        try:
            return list(listing.services(moment.view, moment.stamp, moment.now))
        finally:
            moment.let_go(self)

    def object_keys(
        self,
        service: str,
        *,
        prefix: str = "",
        start: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[str]:
        check_name("service", service)
        check_name("prefix", prefix)
        check_limit(limit)
        low, high = prefix_range(service, prefix)
        if start is not None:
            edge = key_range(service, check_name("start", start), None)[0]
            low, high = (low, min(high, edge + b"\0")) if reverse else (max(low, edge), high)
        moment = self._hold()
        walk = listing.live_names(
            moment.view, moment.stamp, moment.now, (low, high), reverse=reverse
        )
        cut = len(service_range(service)[0])
        return islice(_held(moment, self, (name[cut:].decode() for name in walk)), limit)

    def scan(self, service: str | None = None, *, prefix: str = "") -> Iterator[StoredObject]:
        check_name("prefix", prefix)
        if service is None and prefix:
            raise ValueError("prefix is of the object key: name a service too")
        within = listing.EVERYTHING
        if service is not None:
            within = prefix_range(check_name("service", service), prefix)
        moment = self._hold()
        walk = listing.scan(moment.view, moment.stamp, moment.now, within)
        return _held(moment, self, chain.from_iterable(walk))


class LiveReader(Reader):
    """Reads what is published now."""

    def _moment(self) -> tuple[View, int | None]:
        return self._db.view, None

    def _now(self) -> int:
        return self._db.clock.now()

    def _hold(self) -> MomentReader:
        return hold(self._db)

    def get(self, service: str, key: str, state_key: str) -> bytes | None:
        found = self.hot((service, key))
        if found is None:
            return super().get(service, key, state_key)
        try:
            value = found.entries.get(state_key)
        except TypeError:  # unhashable: no str
            value = None
        if value is None:
            check_name("state_key", state_key)
        return value

    def get_all(self, service: str, key: str) -> dict[str, bytes]:
        found = self.hot((service, key))
        return found.entries.copy() if found is not None else super().get_all(service, key)

    def _live(self, service: str, key: str) -> Resolved | None:
        found = self.hot((service, key))
        return found if found is not None else super()._live(service, key)

    def state_keys(
        self, service: str, key: str, *, prefix: str = "", start: str = "", limit: int | None = None
    ) -> list[str]:
        if not prefix and not start and limit is None:
            found = self.hot((service, key))
            if found is not None:
                return list(found.entries)
        return super().state_keys(service, key, prefix=prefix, start=start, limit=limit)

    def hot(self, name: Name) -> Resolved | None:
        """An object as it is now, if somebody has worked it out and kept it.

        Two dict look-ups for an object in use. A memtable with range tombstones
        takes the long way.
        """
        view = self._db.view
        if view.active.has_tombstones:
            return None
        try:
            state = view.active.states.get(name)
        except TypeError:  # unhashable: the long way says which name is no str
            return None
        if state is None:
            for memtable in view.frozen:
                if memtable.has_tombstones:
                    return None
                state = memtable.states.get(name)
                if state is not None:
                    break
        found = state.full if state is not None else self._db.cache.young.get(name)
        if found is None or found.soonest is None or found.soonest > self._now():
            return found
        return None


class MomentReader(Reader):
    """Reads one moment: layers, stamp and now, taken in this order under the commit lock."""

    def __init__(self, db: Database, view: View, stamp: int, now: int) -> None:
        super().__init__(db)
        self.view = view
        self.stamp = stamp
        self.now = now
        self.token = db.snapshots.open(stamp, view.version.files)

    def _moment(self) -> tuple[View, int | None]:
        self.check_open()
        return self.view, self.stamp

    def _now(self) -> int:
        return self.now

    def _hold(self) -> MomentReader:
        self.check_open()
        return self

    def check_open(self) -> None:
        """DatabaseClosed (or ForkedError) where the moment may no longer be read."""
        self._db.view.generation  # noqa: B018 - a gone view raises its own error
        if not self.token:
            raise DatabaseClosed("this snapshot is closed")

    @property
    def db(self) -> Database:
        return self._db

    @property
    def is_open(self) -> bool:
        return self.token != 0

    def let_go(self, reader: Reader) -> None:
        """Close, unless ``reader`` is the moment itself and so still in use."""
        if reader is not self:
            self.close()

    def close(self) -> bool:
        """Let go of states and files. False where it was closed before."""
        token, self.token = self.token, 0
        return self._db.snapshots.close(token) if token else False

    def __del__(self) -> None:
        token = getattr(self, "token", 0)
        if token:
            self._db.snapshots.forget(token)


def hold(db: Database) -> MomentReader:
    """A moment to read: the layers, the last published stamp, then now. O(1)."""
    with db.commit_lock:
        view = db.view
        view.generation  # noqa: B018 - a gone view raises its own error
        return MomentReader(db, view, db.published, db.clock.now())


def check_limit(limit: int | None, what: str = "limit") -> None:
    """TypeError or ValueError for a limit that counts nothing."""
    if limit is None:
        return
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise TypeError(f"{what} must be int or None, not {type(limit).__name__}")
    if limit < 0:
        raise ValueError(f"{what} must not be negative, not {limit}")


def _checked(service: str, key: str) -> Name:
    if are_plain(service, key):
        return service, key
    return check_name("service", service), check_name("key", key)


def _held(moment: MomentReader, owner: Reader, found: Iterator[_T]) -> Iterator[_T]:
    db = moment.db
    try:
        for one in found:
            if db.gone or not moment.token:
                moment.check_open()
            yield one
    finally:
        moment.let_go(owner)
