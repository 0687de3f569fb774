"""How each request of a tool is answered. One `Caller` for each connection."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count, islice
from typing import Any, Protocol

from kvengine.errors import KVEngineError
from kvengine.share import requests, wire
from kvengine.share.operations import replay
from kvengine.share.requests import (
    MOST_BYTES,
    Checkpoint,
    Compact,
    Expire,
    Nothing,
    Pop,
    Read,
    Release,
    SetRetention,
    Walk,
    Write,
)
from kvengine.store import Estimate, Limits, Reads, SegmentStats, Snapshot, Store, StoredObject

_MOST_OPEN = 64
"""Snapshots, and walks, that one connection may keep open."""

_FORM = 1024
"""Bytes of a request beside its names and values, if it has one operation."""

_PAGE_ITEMS = 1000
_PAGE_BYTES = 1024 * 1024


class Served(Store, Protocol):
    """What the owner serves: a Store with the verbs of the embedded engine."""

    def estimate(self, service: str, *, prefix: str = "") -> Estimate: ...

    def segments(self) -> tuple[SegmentStats, ...]: ...

    def retentions(self) -> dict[str, timedelta]: ...

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

    def answer(self, data: bytes | bytearray) -> Any:
        """Return the result of a request, as MessagePack takes it. Raises what the verb raises."""
        verb, request = requests.decode(data)
        store = self._store()
        if isinstance(request, Read):
            result = getattr(self._reads(store, request), verb)(**requests.arguments(request))
            return self._begin(result) if verb in requests.WALKS else result
        if verb in requests.FIGURES:
            return getattr(store, verb)(**requests.arguments(request))
        return _SPECIAL[verb](self, store, request)

    def close(self) -> None:
        """Let go of everything that the connection held open."""
        for walk in self._walks.values():
            _end(walk)
        self._walks.clear()
        for snapshot in self._snapshots.values():
            snapshot.close()
        self._snapshots.clear()

    def _reads(self, store: Served, request: Read) -> Reads:
        """The store, or the snapshot that ``at`` names."""
        if request.at is None:
            return store
        try:
            return self._snapshots[request.at]
        except KeyError:
            raise KVEngineError("this snapshot is closed") from None

    def _begin(self, walk: Iterator[Any]) -> tuple[int | None, list[Any]]:
        self._check_room(self._walks)
        number = next(self._numbers)
        self._walks[number] = walk
        return self._page(number)

    def _page(self, number: int) -> tuple[int | None, list[Any]]:
        """The next items of a walk, and its number, None where they are the last."""
        walk = self._walks.pop(number)  # one that raises has ended
        items: list[Any] = []
        size = 0
        for item in islice(walk, _PAGE_ITEMS):
            items.append(item)
            size += _size(item)
            if size >= _PAGE_BYTES:
                break
        else:
            if len(items) < _PAGE_ITEMS:
                return None, items
        self._walks[number] = walk
        return number, items

    def _next(self, _: Served, request: Walk) -> tuple[int | None, list[Any]]:
        if request.walk not in self._walks:
            raise KVEngineError("this walk has ended")
        return self._page(request.walk)

    def _end(self, _: Served, request: Walk) -> None:
        if request.walk in self._walks:
            _end(self._walks.pop(request.walk))

    def _snapshot(self, store: Served, _: Nothing) -> int:
        self._check_room(self._snapshots)
        number = next(self._numbers)
        self._snapshots[number] = store.snapshot()
        return number

    def _release(self, _: Served, request: Release) -> None:
        if request.at in self._snapshots:
            self._snapshots.pop(request.at).close()

    def _check_room(self, held: dict[int, Any]) -> None:
        if len(held) >= _MOST_OPEN:
            raise KVEngineError(f"a connection may keep {_MOST_OPEN} of these open; close some")

    def _write(self, store: Served, request: Write) -> int:
        batch, expect = replay(request.operations), wire.expected(request.expect)
        return store.write(batch, expect=expect, durability=request.durability)

    def _pop(self, store: Served, request: Pop) -> bytes | None:
        return store.pop(request.service, request.key, request.state_key)

    def _limits(self, store: Served, _: Nothing) -> Limits:
        """What the owner takes from a tool: no more than one request holds."""
        found = store.limits
        room = MOST_BYTES - found.names - _FORM
        return found._replace(value=min(found.value, room), commit=min(found.commit, room))

    def _expire(self, store: Served, request: Expire) -> bool:
        return store.expire(request.service, request.key, at=request.at, ttl=request.ttl)

    def _set_retention(self, store: Served, request: SetRetention) -> None:
        store.set_retention(request.service, request.retention)

    def _flush(self, store: Served, _: Nothing) -> None:
        store.flush()

    def _compact(self, store: Served, request: Compact) -> None:
        store.compact(request.service)

    def _checkpoint(self, store: Served, request: Checkpoint) -> None:
        store.checkpoint(os.fsdecode(request.path))


_SPECIAL: dict[str, Callable[..., Any]] = {
    "next": Caller._next,
    "end": Caller._end,
    "snapshot": Caller._snapshot,
    "release": Caller._release,
    "write": Caller._write,
    "pop": Caller._pop,
    "limits": Caller._limits,
    "expire": Caller._expire,
    "set_retention": Caller._set_retention,
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
