"""The read verbs, over whatever moment is read; `MomentReader` reads one that is held."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TypeVar

from kvengine.arguments import check_limit
from kvengine.storage import read
from kvengine.storage import walk as listing
from kvengine.storage.clock import SECOND
from kvengine.storage.database import Database
from kvengine.storage.in_memory import in_memory
from kvengine.storage.moment import Moment
from kvengine.storage.names import (
    Name,
    are_plain,
    check_name,
    key_range,
    prefix_range,
    service_range,
)
from kvengine.storage.row import Resolved
from kvengine.storage.version import View
from kvengine.storage.walk import stored
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

    def _hold(self) -> tuple[Moment, bool]:
        """A moment to walk, and whether it is to be closed after the walk."""
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
            return None if found is None else stored(service, key, found)
        return self._load_part(_checked(service, key), max_bytes)

    def _load_part(self, name: Name, max_bytes: int) -> StoredObject | None:
        view, stamp = self._moment()
        layers = read.look_up(view, self._db.cache, name, stamp)
        if not layers.pieces and layers.base is None:
            return None
        if not layers.pieces:
            found = layers.base.at(self._now()) if layers.base is not None else None
            parts: Iterator[Resolved] = iter([found] if found else [])
        else:
            parts = read.windows(layers, "", self._now())
        entries: dict[str, bytes] = {}
        ttls: dict[str, int] = {}
        size, complete = 0, True
        head: Resolved | None = None
        for part in parts:
            for state_key, value in part.entries.items():
                head = part
                size += len(state_key.encode()) + len(value)
                if size > max_bytes:
                    complete = False
                    break
                entries[state_key] = value
                if part.ttls and state_key in part.ttls:
                    ttls[state_key] = part.ttls[state_key]
            if not complete:
                break
        if head is None:
            return None
        whole = Resolved(head.version, head.expires_at, entries, ttls, None)
        return stored(*name, whole, complete)

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
            for state_key in part.entries:
                if state_key.startswith(prefix):
                    yield state_key
                elif state_key > prefix:
                    return

    def _head(self, service: str, key: str) -> read.Head | Resolved | None:
        name = _checked(service, key)
        view, stamp = self._moment()
        cache = self._db.cache
        layers = read.look_up(view, cache, name, stamp)
        return read.head(layers, view, cache, name, self._now())

    def expires_at(self, service: str, key: str) -> float | None:
        found = self._head(service, key)
        at = found.expires_at if found is not None else None
        return None if at is None else at / SECOND

    def version(self, service: str, key: str) -> int:
        found = self._head(service, key)
        return found.version if found is not None else 0

    def in_memory(self, service: str, key: str) -> bool:
        """Whether the verbs on this object would answer without touching a file."""
        name = _checked(service, key)
        view, stamp = self._moment()
        return in_memory(view, self._db.cache, name, stamp)

    def services(self, *, start: str = "", limit: int | None = None) -> list[str]:
        low = service_range(check_name("start", start))[0]
        check_limit(limit)
        moment, ours = self._hold()
        try:
            return list(islice(listing.services(moment.view, moment.stamp, moment.now, low), limit))
        finally:
            if ours:
                moment.close()

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
        moment, ours = self._hold()
        walk = listing.live_names(
            moment.view, moment.stamp, moment.now, (low, high), reverse=reverse
        )
        cut = len(service_range(service)[0])
        return islice(_held(moment, ours, (name[cut:].decode() for name in walk)), limit)

    def scan(self, service: str | None = None, *, prefix: str = "") -> Iterator[StoredObject]:
        check_name("prefix", prefix)
        if service is None and prefix:
            raise ValueError("prefix is of the object key: name a service too")
        within = listing.EVERYTHING
        if service is not None:
            within = prefix_range(check_name("service", service), prefix)
        moment, ours = self._hold()
        walk = listing.scan(moment.view, moment.stamp, moment.now, within)
        return _held(moment, ours, chain.from_iterable(walk))


class MomentReader(Reader):
    """Reads one moment that somebody holds."""

    def __init__(self, moment: Moment) -> None:
        super().__init__(moment.db)
        self._held = moment

    def _moment(self) -> tuple[View, int | None]:
        self._held.check_open()
        return self._held.view, self._held.stamp

    def _now(self) -> int:
        return self._held.now

    def _hold(self) -> tuple[Moment, bool]:
        self._held.check_open()
        return self._held, False


def _checked(service: str, key: str) -> Name:
    if are_plain(service, key):
        return service, key
    return check_name("service", service), check_name("key", key)


def _held(moment: Moment, ours: bool, found: Iterator[_T]) -> Iterator[_T]:
    db = moment.db
    try:
        for one in found:
            if db.gone or not moment.token:
                moment.check_open()
            yield one
    finally:
        if ours:
            moment.close()
