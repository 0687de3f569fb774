"""A tool's side: the owner's store, read and edited through its socket."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from kvengine.batch import Batch, expire_operation
from kvengine.errors import DatabaseClosed, KVEngineError
from kvengine.files import filenames
from kvengine.live import wire
from kvengine.live.transport import BadFrame, at_path, receive, send
from kvengine.names import Name
from kvengine.options import Durability
from kvengine.store import Estimate, SegmentStats, Stats, StoredObject

_T = TypeVar("_T")

_GREETING = 3.0
_PATIENCE = 120.0
"""Seconds for an answer. Verbs that may take any time wait for ever."""

_MOST = 2**32 - 1
_parts = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_Keys = tuple[int | None, list[str]]
_Objects = tuple[int | None, list[StoredObject]]


class OwnerSilent(KVEngineError):
    """The owner has its socket and does not answer: it is stopped, or hangs."""


def connect(directory: str) -> LiveStore | None:
    """The store of the process that owns ``directory``; None where no owner serves a socket.

    OwnerSilent where it does not answer, KVEngineError where it is of another release.
    """
    try:
        if not stat.S_ISSOCK(os.lstat(f"{directory}/{filenames.LIVE}").st_mode):
            return None
    except OSError:
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_GREETING)
        with at_path(directory) as place:
            connection.connect(place)
        greeting = receive(connection, 65536, _GREETING)
        if greeting is None:
            raise ConnectionResetError
        hello = msgspec.msgpack.decode(greeting, type=wire.Hello)
    except TimeoutError:
        connection.close()
        raise OwnerSilent(f"the owner of {directory} does not answer on its socket") from None
    except PermissionError as error:
        connection.close()
        raise KVEngineError(f"{directory} belongs to another user: {error.strerror}") from None
    except (OSError, BadFrame, msgspec.MsgspecError):
        connection.close()
        return None  # left behind by an owner that was killed, or it is closing
    except BaseException:
        connection.close()
        raise
    if hello.protocol != wire.PROTOCOL:
        connection.close()
        raise KVEngineError(
            f"process {hello.pid} owns {directory} with kvengine {hello.version}, whose live"
            f" access has protocol {hello.protocol}, not {wire.PROTOCOL}: use that release here"
        )
    return LiveStore(directory, connection, hello)


class _RemoteReads:
    """The read verbs, asked of the owner: of now, or of a snapshot that it holds."""

    _link: _Link
    _at: int | None = None

    def _ask(self, verb: str, kind: type[_T] | Any, **arguments: Any) -> Any:
        if self._at is not None:
            arguments["at"] = self._at
        return self._link.ask(verb, kind, arguments)

    def get(self, service: str, key: str, state_key: str) -> bytes | None:
        found: bytes | None = self._ask(
            "get", bytes | None, service=service, key=key, state_key=state_key
        )
        return found

    def get_many(self, service: str, key: str, state_keys: Iterable[str]) -> dict[str, bytes]:
        if isinstance(state_keys, str):
            raise TypeError("state_keys must be an iterable of str, not one str")
        found: dict[str, bytes] = self._ask(
            "get_many", dict[str, bytes], service=service, key=key, state_keys=list(state_keys)
        )
        return found

    def get_all(self, service: str, key: str) -> dict[str, bytes]:
        found: dict[str, bytes] = self._ask("get_all", dict[str, bytes], service=service, key=key)
        return found

    def load(self, service: str, key: str, *, max_bytes: int | None = None) -> StoredObject | None:
        found: StoredObject | None = self._ask(
            "load", StoredObject | None, service=service, key=key, max_bytes=max_bytes
        )
        return found

    def state_keys(
        self, service: str, key: str, *, prefix: str = "", start: str = "", limit: int | None = None
    ) -> list[str]:
        found: list[str] = self._ask(
            "state_keys",
            list[str],
            service=service,
            key=key,
            prefix=prefix,
            start=start,
            limit=limit,
        )
        return found

    def expires_at(self, service: str, key: str) -> float | None:
        found: float | None = self._ask("expires_at", float | None, service=service, key=key)
        return found

    def version(self, service: str, key: str) -> int:
        found: int = self._ask("version", int, service=service, key=key)
        return found

    def in_memory(self, service: str, key: str) -> bool:
        """False: every verb waits for the owner."""
        del service, key
        return False

    def services(self, *, start: str = "", limit: int | None = None) -> list[str]:
        found: list[str] = self._ask("services", list[str], start=start, limit=limit)
        return found

    def object_keys(
        self,
        service: str,
        *,
        prefix: str = "",
        start: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[str]:
        arguments = {"service": service, "prefix": prefix, "start": start}
        page = self._ask("object_keys", _Keys, **arguments, reverse=reverse, limit=limit)
        return self._link.walk(page, _Keys)

    def scan(self, service: str | None = None, *, prefix: str = "") -> Iterator[StoredObject]:
        page = self._ask("scan", _Objects, service=service, prefix=prefix)
        return self._link.walk(page, _Objects)


class LiveSnapshot(_RemoteReads):
    """Every read verb as of one moment, held by the owner. A context manager."""

    def __init__(self, link: _Link, at: int) -> None:
        self._link = link
        self._at = at

    def close(self) -> None:
        """Let the owner forget it. May be called again."""
        at, self._at = self._at, -1
        if at != -1 and not self._link.closed:
            self._link.ask("release", None, {"at": at})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class LiveStore(_RemoteReads):
    """The owner's store. Thread-safe. Each write verb is the owner's commit, as durable as its."""

    def __init__(self, directory: str, connection: socket.socket, hello: wire.Hello) -> None:
        self.path = directory
        self.pid = hello.pid
        """The owner's process."""
        self._link = _Link(connection, f"process {hello.pid}, the owner of {directory},")

    @property
    def closed(self) -> bool:
        """Whether this side has closed, or the owner has gone."""
        return self._link.closed

    def set(
        self,
        service: str,
        key: str,
        state_key: str,
        value: bytes,
        *,
        ttl: float | timedelta | None = None,
    ) -> int:
        batch = Batch()
        batch.set(service, key, state_key, value, ttl=ttl)
        return self.write(batch)

    def clear(self, service: str, key: str, state_key: str) -> int:
        batch = Batch()
        batch.clear(service, key, state_key)
        return self.write(batch)

    def clear_all(self, service: str, key: str) -> int:
        batch = Batch()
        batch.clear_all(service, key)
        return self.write(batch)

    def clear_service(self, service: str) -> int:
        batch = Batch()
        batch.clear_service(service)
        return self.write(batch)

    def clear_range(self, service: str, start: str, stop: str | None) -> int:
        batch = Batch()
        batch.clear_range(service, start, stop)
        return self.write(batch)

    def expire(
        self,
        service: str,
        key: str,
        *,
        at: float | None = None,
        ttl: float | timedelta | None = None,
    ) -> bool:
        expire_operation(service, key, at, ttl)  # errors in arguments show here
        if isinstance(ttl, timedelta):
            ttl = ttl.total_seconds()
        arguments = {"service": service, "key": key, "at": at, "ttl": ttl}
        return bool(self._link.ask("expire", bool, arguments, write=True))

    def batch(self) -> Batch:
        """Writes that commit as one when the ``with`` block ends."""
        return Batch(_commit=self.write)

    def write(
        self,
        batch: Batch,
        *,
        expect: Mapping[Name, int] | None = None,
        durability: Durability | None = None,
    ) -> int:
        """Commit a batch in the owner; ``expect`` as for a Store. KVEngineError in doubt.

        A connection that breaks off before the answer leaves it open whether the
        batch was written; the error says so.
        """
        batch.check_open()
        arguments = {
            "operations": wire.operations(batch),
            "expect": wire.expectations(expect),
            "durability": durability,
        }
        stamp: int = self._link.ask("write", int, arguments, write=True)
        batch.close(stamp)
        return stamp

    def snapshot(self) -> LiveSnapshot:
        """All read verbs as of now."""
        return LiveSnapshot(self._link, self._link.ask("snapshot", int, {}))

    def estimate(self, service: str, *, prefix: str = "") -> Estimate:
        """About how many objects a service holds, and bytes."""
        found: Estimate = self._ask("estimate", Estimate, service=service, prefix=prefix)
        return found

    def segments(self) -> tuple[SegmentStats, ...]:
        """The owner's segments, newest layer first."""
        found: tuple[SegmentStats, ...] = self._ask("segments", tuple[SegmentStats, ...])
        return found

    def stats(self) -> Stats:
        found: Stats = self._ask("stats", Stats)
        return found

    def flush(self) -> None:
        self._link.ask("flush", None, {}, patience=None)

    def compact(self, service: str | None = None) -> None:
        self._link.ask("compact", None, {"service": service}, patience=None)

    def checkpoint(self, path: str | os.PathLike[str]) -> None:
        arguments = {"path": os.path.abspath(path)}
        self._link.ask("checkpoint", None, arguments, patience=None)

    def refresh(self) -> bool:
        """Every read is of now: nothing to do."""
        return False

    def close(self) -> None:
        """Leave the owner. May be called again."""
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Link:
    """A connection: one request at a time, from any thread."""

    def __init__(self, connection: socket.socket, owner: str) -> None:
        self._connection = connection
        self._owner = owner
        self._lock = threading.Lock()
        self.closed = False

    def ask(
        self,
        verb: str,
        kind: Any,
        arguments: dict[str, Any],
        *,
        write: bool = False,
        patience: float | None = _PATIENCE,
    ) -> Any:
        """The answer to a request, as a ``kind``; raises what the owner's verb raised."""
        data = wire.frame((verb, arguments))
        with self._lock:
            if self.closed:
                raise DatabaseClosed(f"{self._owner} is no longer connected")
            answer = None
            try:
                send(self._connection, data)
                answer = receive(self._connection, _MOST, patience)
            except (OSError, BadFrame):
                pass
            finally:
                if answer is None:  # an interrupt, too: what comes next would be the answer to this
                    self.close()
        if answer is None:
            doubt = "; whether it was written is not known: read it again" if write else ""
            raise DatabaseClosed(f"{self._owner} closed before it answered{doubt}")
        done, *rest = _parts(answer)
        if wire.decode(done) is not True:
            name, args = map(wire.decode, rest)
            raise wire.raised(name, args)
        return msgspec.msgpack.decode(rest[0], type=kind)

    def walk(self, page: tuple[int | None, list[_T]], kind: Any) -> Iterator[_T]:
        """The items of a walk that the owner holds, page by page."""
        number, items = page
        try:
            while True:
                yield from items
                if number is None:
                    return
                following, number = number, None
                number, items = self.ask("next", kind, {"walk": following})
        finally:
            if number is not None and not self.closed:
                self.ask("end", None, {"walk": number})

    def close(self) -> None:
        self.closed = True
        self._connection.close()
