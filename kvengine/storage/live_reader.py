"""The read verbs over what is published now, with the shortest way to an object in use."""

from __future__ import annotations

from kvengine.storage import read
from kvengine.storage.moment import Moment, hold
from kvengine.storage.names import Name, check_name
from kvengine.storage.reader import Reader
from kvengine.storage.row import Resolved
from kvengine.storage.version import View
from kvengine.storage.walk import stored
from kvengine.store import StoredObject


class LiveReader(Reader):
    """Reads what is published now."""

    def _moment(self) -> tuple[View, int | None]:
        return self._db.view, None

    def _now(self) -> int:
        return self._db.clock.now()

    def _hold(self) -> tuple[Moment, bool]:
        return hold(self._db), True

    def get(self, service: str, key: str, state_key: str) -> bytes | None:
        # The shortest way first: an object in use of which nothing expires.
        db = self._db
        view = db.view
        active = view.active
        if not (active.has_tombstones or view.frozen):
            name = (service, key)
            try:
                state = active.states.get(name)
                known = state.full if state is not None else db.cache.young.get(name)
                if known is not None and known.soonest is None:
                    value = known.entries.get(state_key)
                    if value is not None:
                        return value
            except TypeError:  # unhashable: what follows says which name is no str
                pass
        return self._get(service, key, state_key)

    def _get(self, service: str, key: str, state_key: str) -> bytes | None:
        found = self.hot((service, key))
        if found is None:
            return super().get(service, key, state_key)
        value: bytes | None
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

    def load(self, service: str, key: str, *, max_bytes: int | None = None) -> StoredObject | None:
        found = self.hot((service, key)) if max_bytes is None else None
        if found is None:
            return super().load(service, key, max_bytes=max_bytes)
        if found.soonest is not None:
            return stored(service, key, found)
        return StoredObject(service, key, found.version, None, found.entries.copy())

    def _live(self, service: str, key: str) -> Resolved | None:
        found = self.hot((service, key))
        return found if found is not None else super()._live(service, key)

    def in_memory(self, service: str, key: str) -> bool:
        return self.hot((service, key)) is not None or super().in_memory(service, key)

    def _head(self, service: str, key: str) -> read.Head | Resolved | None:
        found = self.hot((service, key))
        return found if found is not None else super()._head(service, key)

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
        if state is not None:
            found = state.full
        else:
            found = read.remembered(view, self._db.cache, name)
        if found is None or found.soonest is None or found.soonest > self._now():
            return found
        return None
