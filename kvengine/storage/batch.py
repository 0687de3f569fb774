"""Writes, checked and collected: the operations of one atomic commit."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Literal, Protocol, Self

import msgspec

from kvengine.errors import KVEngineError, ValueTooLarge
from kvengine.storage.names import (
    Name,
    are_ascii_names,
    check_name,
    encode_object,
    key_range,
    service_range,
)
from kvengine.storage.times import instant, time_to_live


class Set(msgspec.Struct, frozen=True, gc=False):
    """Set an entry, with an expiry: after a time (microseconds), at a time, or never."""

    name: Name
    state_key: str
    value: bytes
    ttl: int | None = None
    at: int | None = None


class Clear(msgspec.Struct, frozen=True, gc=False):
    """Clear an entry."""

    name: Name
    state_key: str


class ClearAll(msgspec.Struct, frozen=True, gc=False):
    """Clear every entry of an object."""

    name: Name


class ClearRange(msgspec.Struct, frozen=True, gc=False):
    """Clear the objects in ``[start, stop)``, encoded."""

    start: bytes
    stop: bytes


class Expire(msgspec.Struct, frozen=True, gc=False):
    """Give an object an expiry: at a time, after a time (microseconds), or never."""

    name: Name
    at: int | None
    ttl: int | None


class Complete(msgspec.Struct, frozen=True, gc=False):
    """Complete a workflow, with or without state: it expires ``retention`` microseconds after.

    ``completed_at``: when that was, None for the time of the commit. A workflow that is completed
    already stays as it is. With a retention of 0 it is cleared.
    """

    name: Name
    retention: int
    completed_at: int | None = None


Operation = Set | Clear | ClearAll | ClearRange | Expire | Complete

Entries = dict[str, bytes | None]
"""What a commit assigns to entries of an object, None for one that it clears."""


def check_value(value: bytes, limit: int | None = None) -> bytes:
    """Return ``value`` as ``bytes``.

    Raise TypeError if it is not bytes-like, ValueTooLarge if it is longer than ``limit``.
    """
    if value.__class__ is not bytes:
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise TypeError(f"value must be bytes, not {type(value).__name__}")
        value = bytes(value)
    if limit is not None and len(value) > limit:
        raise ValueTooLarge(f"value is {len(value):,} bytes, over max_value_size {limit:,}")
    return value


def set_operation(
    service: str,
    key: str,
    state_key: str,
    value: bytes,
    ttl: float | timedelta | None,
    expires_at: float | datetime | None,
    limit: int | None,
) -> Set | Clear:
    """Return the operation that sets an entry, or clears it if its ttl is over."""
    if not are_ascii_names(service, key, state_key):
        service, key = object_name(service, key)
        state_key = check_name("state_key", state_key)
    if value.__class__ is not bytes or limit is None or len(value) > limit:
        value = check_value(value, limit)
    if ttl is None:
        at = None if expires_at is None else instant("expires_at", expires_at)
        return Set((service, key), state_key, value, None, at)
    if expires_at is not None:
        raise ValueError("set takes ttl= or expires_at=, not both")
    lifetime = time_to_live(ttl)
    if not lifetime:
        return Clear((service, key), state_key)
    return Set((service, key), state_key, value, lifetime)


def clear_operation(service: str, key: str, state_key: str) -> Clear:
    return Clear(object_name(service, key), check_name("state_key", state_key))


def clear_range_operation(service: str, start: str, stop: str | None) -> ClearRange:
    check_name("service", service)
    check_name("start", start)
    if stop is not None:
        check_name("stop", stop)
    return ClearRange(*key_range(service, start, stop))


def clear_service_operation(service: str) -> ClearRange:
    return ClearRange(*service_range(check_name("service", service)))


def expire_operation(
    service: str, key: str, at: float | datetime | None, ttl: float | timedelta | None
) -> Expire:
    name = object_name(service, key)
    if at is not None and ttl is not None:
        raise ValueError("expire takes at= or ttl=, not both")
    if ttl is not None:
        return Expire(name, None, time_to_live(ttl))
    return Expire(name, None if at is None else instant("at", at), None)


def check_write(batch: Batch, expect: Mapping[Name, int] | None, durability: str | None) -> None:
    """Raise TypeError or ValueError for arguments of `Store.write` that make no sense."""
    if not isinstance(batch, Batch):
        raise TypeError(f"batch must be a kvengine.Batch, not {type(batch).__name__}")
    if expect is not None:
        check_expect(expect)
    if durability is not None and durability not in ("sync", "os"):
        raise ValueError(f"durability must be 'sync' or 'os', not {durability!r}")


def check_expect(expect: Mapping[Name, int]) -> None:
    """Raise TypeError unless ``expect`` is a mapping of objects to versions."""
    if expect.__class__ is dict or isinstance(expect, Mapping):
        for name, version in expect.items():
            if not isinstance(name, tuple) or len(name) != 2 or version.__class__ is not int:
                break
        else:
            return
    raise TypeError("expect must map (service, key) to a version, which is an int")


def object_name(service: str, key: str) -> Name:
    """Return the checked name of an object."""
    return check_name("service", service), check_name("key", key)


class _Writer(Protocol):
    def write(self, batch: Batch, /) -> int: ...


class Batch:
    """Write verbs in order, committed as one: all or nothing, across objects too.

    ``with db.batch() as batch`` commits it when the block ends, and writes
    nothing if the block raises. A ``Batch()`` made by itself is passed to
    ``db.write(batch)``. A batch is written once. The verbs are the Store's and
    return None; a wrong argument raises at once.
    """

    __slots__ = (
        "_changes",
        "_engine",
        "_entries",
        "_key",
        "_limit",
        "_merged",
        "_operations",
        "_service",
        "_state",
        "_store",
        "stamp",
    )

    def __init__(self) -> None:
        self.stamp: int | None = None
        """The commit's stamp, once written."""
        self._changes: dict[Name, Entries | None] | None = {}
        """What the verbs come to, None for an object that is cleared.

        None as a whole once a verb was more than that: then `operations` counts.
        """
        self._operations: list[Operation] | None = None
        self._merged = 0
        """How many verbs were called that are not among ``_operations``."""
        self._state: Literal["open", "written", "abandoned"] = "open"
        self._store: _Writer | None = None
        self._engine: object = None
        self._limit = -1
        """The longest value in bytes, -1 if the store will look."""
        self._service = self._key = ""
        self._entries: Entries | None = None
        """The changes to the object of ``_service`` and ``_key``, that of the last verb."""

    def set(
        self,
        service: str,
        key: str,
        state_key: str,
        value: bytes,
        *,
        ttl: float | timedelta | None = None,
        expires_at: float | datetime | None = None,
    ) -> None:
        if (
            ttl is None
            and expires_at is None
            and self._changes is not None
            and self._state == "open"
            and type(value) is bytes
            and (len(value) <= self._limit or self._limit < 0)
            and are_ascii_names(service, key, state_key)
        ):
            entries = self._entries
            if entries is None or key is not self._key or service is not self._service:
                entries = self._entries_of((service, key))
            if entries is not None:
                entries[state_key] = value
                self._merged += 1
                return
        limit = self._limit if self._limit >= 0 else None
        self._add(set_operation(service, key, state_key, value, ttl, expires_at, limit))

    def clear(self, service: str, key: str, state_key: str) -> None:
        self._add(clear_operation(service, key, state_key))

    def clear_all(self, service: str, key: str) -> None:
        self._add(ClearAll(object_name(service, key)))

    def clear_service(self, service: str) -> None:
        self._add(clear_service_operation(service))

    def clear_range(self, service: str, start: str, stop: str | None) -> None:
        self._add(clear_range_operation(service, start, stop))

    def expire(
        self,
        service: str,
        key: str,
        *,
        at: float | datetime | None = None,
        ttl: float | timedelta | None = None,
    ) -> None:
        self._add(expire_operation(service, key, at, ttl))

    def _add(self, operation: Operation) -> None:
        self.check_open()
        if self._changes is not None and self._change(operation):
            self._merged += 1
        else:
            self.operations.append(operation)

    def _change(self, operation: Operation) -> bool:
        """Add an operation to the changes. Return False if it cannot be one of them."""
        assert self._changes is not None
        if isinstance(operation, ClearAll):
            self._changes[operation.name] = self._entries = None
            return True
        if isinstance(operation, Clear):
            value = None
        elif isinstance(operation, Set) and operation.ttl is None and operation.at is None:
            value = operation.value
        else:
            return False
        entries = self._entries_of(operation.name)
        if entries is None:
            return False
        entries[operation.state_key] = value
        return True

    def _assign(self, service: str, key: str, entries: Entries) -> None:
        """Set entries of one object, and clear those that are None. ``entries`` is kept."""
        if (
            entries
            and self._changes is not None
            and self._state == "open"
            and (service, key) not in self._changes
            and self._are_plain(service, key, entries)
        ):
            self._changes[service, key] = entries
            self._merged += len(entries)
            return
        for state_key, value in entries.items():
            if value is None:
                self.clear(service, key, state_key)
            else:
                self.set(service, key, state_key, value)

    def _are_plain(self, service: str, key: str, entries: Entries) -> bool:
        """Return whether `set` and `clear` would take all entries as they are."""
        for state_key, value in entries.items():
            if not are_ascii_names(service, key, state_key):
                return False
            if value is not None and (
                type(value) is not bytes or not (len(value) <= self._limit or self._limit < 0)
            ):
                return False
        return True

    def _entries_of(self, name: Name) -> Entries | None:
        """Return the changes to entries of an object, None if it is cleared as a whole."""
        assert self._changes is not None
        entries = self._changes.get(name)
        if entries is None:
            if name in self._changes:
                return None
            entries = self._changes[name] = {}
        self._entries = None  # an interrupt between the two must not let another object have them
        self._service, self._key = name
        self._entries = entries
        return entries

    @property
    def operations(self) -> list[Operation]:
        """The operations in order, to which more may be added."""
        if self._operations is None:
            assert self._changes is not None
            self._operations = list(operations_of(self._changes.items()))
            self._merged -= len(self._operations)
            self._changes = self._entries = None
        return self._operations

    @operations.setter
    def operations(self, operations: list[Operation]) -> None:
        self._operations = operations
        self._changes = self._entries = None

    def check_open(self) -> None:
        """Raise KVEngineError if this batch was written or abandoned."""
        if self._state != "open":
            raise KVEngineError(f"this batch was {self._state}; make a new one")

    def check_values(self, limit: int) -> None:
        """Raise ValueTooLarge for a value over ``limit``, if the batch had no limit of its own."""
        if self._limit >= 0:
            return
        if self._changes is None:
            for operation in self.operations:
                if isinstance(operation, Set):
                    check_value(operation.value, limit)
            return
        for entries in self._changes.values():
            if entries is not None:
                for value in entries.values():
                    if value is not None:
                        check_value(value, limit)

    def close(self, stamp: int | None = None) -> None:
        """Mark this batch as written, with ``stamp`` if it is known. The store calls this."""
        self.stamp = stamp
        self._state = "written"

    def _reopen(self) -> None:
        """Take `close` back, since nothing was written. The store calls this."""
        self._state = "open"

    def __len__(self) -> int:
        return self._merged + len(self._operations or ())

    def __enter__(self) -> Self:
        self.check_open()
        if self._store is None:
            raise KVEngineError("a Batch() of its own goes to db.write(); use db.batch() in a with")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._state = "abandoned"
        elif self._state == "open" and self._store is not None:
            self._store.write(self)


def batch_of(
    store: _Writer | None = None, limit: int | None = None, engine: object = None
) -> Batch:
    """Return a batch that ``store`` commits, each of its values at most ``limit`` bytes long.

    It keeps ``engine``, so that this is not closed as forgotten before the batch is written.
    """
    batch = Batch()
    batch._store = store
    batch._engine = engine
    if limit is not None:
        batch._limit = min(limit, sys.maxsize)
    return batch


def operations_of(changes: Iterable[tuple[Name, Entries | None]]) -> Iterator[Operation]:
    """Yield the operations that changes to objects stand for."""
    for name, entries in changes:
        if entries is None:
            yield ClearAll(name)
            continue
        for state_key, value in entries.items():
            if value is None:
                yield Clear(name, state_key)
            else:
                yield Set(name, state_key, value)


def covers(operation: ClearRange, name: Name) -> bool:
    """Return whether the object lies in the range."""
    return operation.start <= encode_object(*name) < operation.stop
