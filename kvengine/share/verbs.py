"""What a tool may ask of the owner, and how each is answered. One `Caller` for each connection."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import count, islice
from typing import Any, Protocol

from kvengine.errors import KVEngineError
from kvengine.share import wire
from kvengine.store import Estimate, Limits, Reads, SegmentStats, Snapshot, Store, StoredObject

READS = frozenset(
    {"get", "get_many", "get_all", "exists", "load", "load_many", "state_keys", "expires_at"}
    | {"version", "services", "count"}
)
WALKS = frozenset({"object_keys", "scan"})
FIGURES = frozenset({"estimate", "segments", "stats"})

_MOST_OPEN = 64
"""Snapshots, and walks, that one connection may keep open."""

_PAGE_ITEMS = 1000
_PAGE_BYTES = 1024 * 1024


class Served(Store, Protocol):
    """What the owner serves: a Store with the verbs of the embedded engine."""

    def estimate(self, service: str, *, prefix: str = "") -> Estimate: ...

    def segments(self) -> tuple[SegmentStats, ...]: ...

    def flush(self) -> None: ...

    def compact(self, service: str | None = None) -> None: ...

    def checkpoint(self, path: str) -> None: ...


class Caller:
    """Answers the requests of one tool; holds its snapshots and its walks."""

    def __init__(self, store: Callable[[], Served]) -> None:
        """``store``: the store served, asked for at each request, so that none is kept alive."""
        self._store = store
        self._numbers = count(1)
        self._snapshots: dict[int, Snapshot] = {}
        self._walks: dict[int, Iterator[Any]] = {}

    def answer(self, verb: str, arguments: dict[str, Any]) -> Any:
        """The result of a verb, as MessagePack takes it. Raises what the verb raises."""
        store = self._store()
        if verb in READS:
            return getattr(self._reads(store, arguments), verb)(**arguments)
        if verb in FIGURES:
            return getattr(store, verb)(**arguments)
        if verb in WALKS:
            walk = getattr(self._reads(store, arguments), verb)(**arguments)
            self._check_room(self._walks)
            number = next(self._numbers)
            self._walks[number] = walk
            return self._page(number)
        special = _SPECIAL.get(verb)
        if special is None:
            raise KVEngineError(f"the owner knows no verb {verb!r}; is it of another release?")
        return special(self, store, **arguments)

    def close(self) -> None:
        """Let go of everything that the connection held open."""
        for walk in self._walks.values():
            _end(walk)
        self._walks.clear()
        for snapshot in self._snapshots.values():
            snapshot.close()
        self._snapshots.clear()

    def _reads(self, store: Served, arguments: dict[str, Any]) -> Reads:
        """The store, or the snapshot that ``at`` names."""
        number = arguments.pop("at", None)
        if number is None:
            return store
        try:
            return self._snapshots[number]
        except KeyError:
            raise KVEngineError("this snapshot is closed") from None

    def _page(self, number: int) -> tuple[int | None, list[Any]]:
        """The next items of a walk, and its number, None where they are the last."""
        walk = self._walks[number]
        items: list[Any] = []
        size = 0
        for item in islice(walk, _PAGE_ITEMS):
            items.append(item)
            size += _size(item)
            if size >= _PAGE_BYTES:
                return number, items
        if len(items) == _PAGE_ITEMS:
            return number, items
        del self._walks[number]
        return None, items

    def _next(self, store: Served, *, walk: int) -> tuple[int | None, list[Any]]:
        del store
        if walk not in self._walks:
            raise KVEngineError("this walk has ended")
        return self._page(walk)

    def _end(self, store: Served, *, walk: int) -> None:
        del store
        if walk in self._walks:
            _end(self._walks.pop(walk))

    def _snapshot(self, store: Served) -> int:
        self._check_room(self._snapshots)
        number = next(self._numbers)
        self._snapshots[number] = store.snapshot()
        return number

    def _release(self, store: Served, *, at: int) -> None:
        del store
        if at in self._snapshots:
            self._snapshots.pop(at).close()

    def _check_room(self, held: dict[int, Any]) -> None:
        if len(held) >= _MOST_OPEN:
            raise KVEngineError(f"a connection may keep {_MOST_OPEN} of these open; close some")

    def _write(
        self, store: Served, *, operations: list[Any], expect: list[Any] | None, durability: Any
    ) -> int:
        batch = wire.replay(operations)
        return store.write(batch, expect=wire.expected(expect), durability=durability)

    def _pop(self, store: Served, *, service: str, key: str, state_key: str) -> bytes | None:
        return store.pop(service, key, state_key)

    def _limits(self, store: Served) -> Limits:
        return store.limits

    def _expire(
        self, store: Served, *, service: str, key: str, at: float | None, ttl: float | None
    ) -> bool:
        return store.expire(service, key, at=at, ttl=ttl)

    def _flush(self, store: Served) -> None:
        store.flush()

    def _compact(self, store: Served, *, service: str | None) -> None:
        store.compact(service)

    def _checkpoint(self, store: Served, *, path: bytes) -> None:
        store.checkpoint(os.fsdecode(path))


_SPECIAL: dict[str, Callable[..., Any]] = {
    "next": Caller._next,
    "end": Caller._end,
    "snapshot": Caller._snapshot,
    "release": Caller._release,
    "write": Caller._write,
    "pop": Caller._pop,
    "limits": Caller._limits,
    "expire": Caller._expire,
    "flush": Caller._flush,
    "compact": Caller._compact,
    "checkpoint": Caller._checkpoint,
}


def _size(item: object) -> int:
    if isinstance(item, StoredObject):
        return sum(len(name) + len(value) for name, value in item.entries.items())
    return len(item) if isinstance(item, str) else 0


def _end(walk: Iterator[Any]) -> None:
    close = getattr(walk, "close", None)
    if close is not None:
        close()
