"""What a Store is, as plain dicts: the oracle of random programs.

It knows no layers, no files and no clock: every answer takes ``now``. Times and
stamps are microseconds. Names sort by their UTF-8.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kvengine.store import StoredObject, StoredWorkflow

SECOND = 1_000_000

Name = tuple[str, str]
Operation = tuple[Any, ...]
"""A write verb and its arguments: ("set", service, key, state_key, value, ttl[, at]), ..."""


@dataclass
class Entry:
    """A value, and when it ends by its own ttl."""

    value: bytes
    ends: int | None = None


@dataclass
class Thing:
    """All that is known of one object; it may hold nothing live, and still an expiry."""

    expires_at: int | None = None
    completed_at: int | None = None
    version: int = 0
    entries: dict[str, Entry] = field(default_factory=dict)

    def expired(self, now: int) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def exists(self, now: int) -> bool:
        """Whether an entry lives, or it is a completed workflow."""
        completed = self.completed_at is not None and not self.expired(now)
        return completed or bool(self.live(now))

    def live(self, now: int) -> dict[str, bytes]:
        if self.expired(now):
            return {}
        return {
            name: entry.value
            for name, entry in sorted(self.entries.items(), key=lambda item: item[0].encode())
            if entry.ends is None or entry.ends > now
        }

    def touched_by_time(self, low: int, high: int) -> bool:
        """Whether anything of it ends in ``(low, high]``."""
        ends = [self.expires_at, *(entry.ends for entry in self.entries.values())]
        return any(at is not None and low < at <= high for at in ends)


class Conflict(Exception):
    """The first expectation that does not hold: service, key, expected, actual."""


class Reference:
    """Write verbs by `commit`; read verbs named as the Store's, each at a given time."""

    def __init__(self) -> None:
        self.things: dict[Name, Thing] = {}
        self.last_stamp: int = 0

    def copy(self) -> Reference:
        return copy.deepcopy(self)

    # --- writing

    def commit(
        self,
        operations: Sequence[Operation],
        now: int,
        expect: Mapping[Name, int] | None = None,
        stamp: int | None = None,
    ) -> tuple[int, bool]:
        """Return the stamp, and whether the last expire found its object. Conflict, or all of it.

        ``stamp``: the one that a store gave; None to choose as the embedded engine does.
        """
        for (service, key), version in (expect or {}).items():
            actual = self.version(service, key, now)
            if actual != version:
                raise Conflict(service, key, version, actual)
        if stamp is None:
            stamp = max(now, self.last_stamp + 1)
        wrote = found = False
        for verb, *arguments in operations:
            done = getattr(self, "_" + str(verb))(*arguments, now=now, stamp=stamp)
            wrote = wrote or done
            if verb == "expire":
                found = done
        if wrote:
            self.last_stamp = stamp
        return self.last_stamp, found

    def _set(
        self,
        service: str,
        key: str,
        state_key: str,
        value: bytes,
        ttl: float | None,
        at: float | None = None,
        *,
        now: int,
        stamp: int,
    ) -> bool:
        ends = None if at is None else int(at * SECOND)
        if ttl is not None:
            ends = now + int(ttl * SECOND)
        self._written(service, key, now, stamp).entries[state_key] = Entry(value, ends)
        return True

    def _clear(self, service: str, key: str, state_key: str, *, now: int, stamp: int) -> bool:
        self._written(service, key, now, stamp).entries.pop(state_key, None)
        return True

    def _clear_all(self, service: str, key: str, *, now: int, stamp: int) -> bool:
        self.things.pop((service, key), None)
        return True

    def _clear_service(self, service: str, *, now: int, stamp: int) -> bool:
        self.things = {name: one for name, one in self.things.items() if name[0] != service}
        return True

    def _clear_range(
        self, service: str, start: str, stop: str | None, *, now: int, stamp: int
    ) -> bool:
        if stop is not None and start.encode() >= stop.encode():
            return False
        for name in [name for name in self.things if name[0] == service]:
            key = name[1].encode()
            if start.encode() <= key and (stop is None or key < stop.encode()):
                del self.things[name]
        return True

    def _expire(
        self,
        service: str,
        key: str,
        at: float | None,
        ttl: float | None,
        *,
        now: int,
        stamp: int,
    ) -> bool:
        thing = self.things.get((service, key))
        if thing is None or not thing.exists(now):
            return False
        thing.version = stamp
        if at is None and ttl is None:
            thing.completed_at = None
        if ttl is not None:
            thing.expires_at = now + int(ttl * SECOND)
        else:
            thing.expires_at = None if at is None else int(at * SECOND)
        return True

    def _complete(self, service: str, key: str, retention: int, *, now: int, stamp: int) -> bool:
        if not retention:
            return self._clear_all(service, key, now=now, stamp=stamp)
        thing = self.things.get((service, key))
        if thing is not None and thing.completed_at is not None and not thing.expired(now):
            return False
        thing = self._written(service, key, now, stamp)
        thing.completed_at, thing.expires_at = now, now + retention
        return True

    def _written(self, service: str, key: str, now: int, stamp: int) -> Thing:
        """The object that a write touches: a new one where the old has expired."""
        thing = self.things.get((service, key))
        if thing is None or thing.expired(now):
            thing = self.things[service, key] = Thing()
        thing.version = stamp
        return thing

    # --- reading

    def get_all(self, service: str, key: str, now: int) -> dict[str, bytes]:
        thing = self.things.get((service, key))
        return thing.live(now) if thing is not None else {}

    def get(self, service: str, key: str, state_key: str, now: int) -> bytes | None:
        return self.get_all(service, key, now).get(state_key)

    def get_many(
        self, service: str, key: str, state_keys: Iterable[str], now: int
    ) -> dict[str, bytes]:
        entries = self.get_all(service, key, now)
        return {name: entries[name] for name in state_keys if name in entries}

    def version(self, service: str, key: str, now: int) -> int:
        thing = self.things.get((service, key))
        return thing.version if thing is not None and thing.exists(now) else 0

    def expires_at(self, service: str, key: str, now: int) -> float | None:
        found = self.load(service, key, now)
        return found.expires_at if found is not None else None

    def load(
        self, service: str, key: str, now: int, max_bytes: int | None = None
    ) -> StoredObject | None:
        thing = self.things.get((service, key))
        entries = thing.live(now) if thing is not None else {}
        if thing is None or not thing.exists(now):
            return None
        kept: dict[str, bytes] = {}
        size = 0
        for name, value in entries.items():
            size += len(name.encode()) + len(value)
            if max_bytes is not None and size > max_bytes:
                break
            kept[name] = value
        at = None if thing.expires_at is None else thing.expires_at / SECOND
        ends = {name: thing.entries[name].ends for name in kept}
        expiries = {name: end / SECOND for name, end in ends.items() if end is not None}
        partial = len(kept) < len(entries)
        done = None if thing.completed_at is None else thing.completed_at / SECOND
        return StoredObject(service, key, thing.version, at, kept, expiries or None, partial, done)

    def state_keys(
        self,
        service: str,
        key: str,
        prefix: str,
        start: str,
        reverse: bool,
        limit: int | None,
        now: int,
    ) -> list[str]:
        names = [name for name in self.get_all(service, key, now) if name.startswith(prefix)]
        return _walked(names, start or None, None, reverse)[:limit]

    def workflows(self, service: str, completed: bool | None, now: int) -> list[StoredWorkflow]:
        return [
            StoredWorkflow(one.service, one.key, one.version, one.completed_at, one.expires_at)
            for one in self.scan(service, "", now)
            if completed is None or completed is (one.completed_at is not None)
        ]

    def services(self, now: int) -> list[str]:
        found = {service for (service, _), thing in self.things.items() if thing.exists(now)}
        return sorted(found, key=str.encode)

    def object_keys(
        self,
        service: str,
        prefix: str,
        start: str | None,
        stop: str | None,
        reverse: bool,
        limit: int | None,
        now: int,
    ) -> list[str]:
        keys = [one.key for one in self.scan(service, prefix, now)]
        return _walked(keys, start, stop, reverse)[:limit]

    def scan(self, service: str | None, prefix: str, now: int) -> Iterator[StoredObject]:
        for name in sorted(self.things, key=lambda one: (one[0].encode(), one[1].encode())):
            if (service is None or name[0] == service) and name[1].startswith(prefix):
                found = self.load(*name, now)
                if found is not None:
                    yield found


def _walked(names: list[str], start: str | None, stop: str | None, reverse: bool) -> list[str]:
    """Those of ordered names from ``start`` to before ``stop``, in the direction of the walk."""
    taken = []
    for name in reversed(names) if reverse else names:
        at = name.encode()
        if start is not None and (at > start.encode() if reverse else at < start.encode()):
            continue
        if stop is not None and (at <= stop.encode() if reverse else at >= stop.encode()):
            break
        taken.append(name)
    return taken
