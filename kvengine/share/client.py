"""A tool's side: the owner's store, read and edited through its socket."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from kvengine.closing import Closing
from kvengine.errors import KVEngineError, ValueTooLarge
from kvengine.options import Durability
from kvengine.share import wire
from kvengine.share.link import Link
from kvengine.share.operations import operations
from kvengine.share.reads import LiveSnapshot, RemoteReads
from kvengine.share.requests import MOST_ITEMS
from kvengine.share.transport import BadFrame, at_path, receive
from kvengine.storage import filenames
from kvengine.storage.batch import Batch, batch_of, expire_operation
from kvengine.storage.names import Name
from kvengine.storage.times import retention_time
from kvengine.store import Estimate, Limits, SegmentStats, Stats

_GREETING = 3.0


class OwnerSilent(KVEngineError):
    """The owner has its socket and does not serve us: it is stopped, hangs, serves as
    many tools as it can, or is of another user."""


def connect(directory: str) -> LiveStore | None:
    """The store of the process that owns ``directory``; None where no owner serves a socket.

    OwnerSilent where it does not serve this process, KVEngineError where it is of another release.
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
        raise OwnerSilent(f"{directory} belongs to another user: {error.strerror}") from None
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
    if hello.refused:
        connection.close()
        raise OwnerSilent(
            f"process {hello.pid} owns {directory} and turns tools away: {hello.refused}"
        )
    return LiveStore(directory, connection, hello)


class LiveStore(RemoteReads, Closing):
    """The owner's store. Thread-safe. Each write verb is the owner's commit, as durable as its."""

    def __init__(self, directory: str, connection: socket.socket, hello: wire.Hello) -> None:
        self.path = directory
        self.pid: int = hello.pid
        """The owner's process."""
        owner = f"process {hello.pid}, the owner of {directory},"
        self._link = Link(connection, owner, hello.most)

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
        expires_at: float | datetime | None = None,
    ) -> int:
        batch = Batch()
        batch.set(service, key, state_key, value, ttl=ttl, expires_at=expires_at)
        return self.write(batch)

    def clear(self, service: str, key: str, state_key: str) -> int:
        batch = Batch()
        batch.clear(service, key, state_key)
        return self.write(batch)

    def pop(self, service: str, key: str, state_key: str) -> bytes | None:
        arguments = {"service": service, "key": key, "state_key": state_key}
        found: bytes | None = self._link.ask("pop", bytes | None, arguments, write=True)
        return found

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
        at: float | datetime | None = None,
        ttl: float | timedelta | None = None,
    ) -> bool:
        expire_operation(service, key, at, ttl)  # errors in arguments show here
        if isinstance(at, datetime):
            at = at.timestamp()
        if isinstance(ttl, timedelta):
            ttl = ttl.total_seconds()
        arguments = {"service": service, "key": key, "at": at, "ttl": ttl}
        return bool(self._link.ask("expire", bool, arguments, write=True))

    def batch(self) -> Batch:
        """Writes that commit as one when the ``with`` block ends."""
        return batch_of(self)

    def write(
        self,
        batch: Batch,
        *,
        expect: Mapping[Name, int] | None = None,
        durability: Durability | None = None,
    ) -> int:
        """Commit a batch in the owner; ``expect`` as for a Store. KVEngineError in doubt.

        ValueTooLarge for more than the owner takes at once: 16 MiB, 100,000 operations.

        A connection that breaks off before the answer leaves it open whether the
        batch was written; the error says so.
        """
        batch.check_open()
        if len(batch) > MOST_ITEMS:
            raise ValueTooLarge(
                f"the batch has {len(batch):,} operations; the owner takes {MOST_ITEMS:,} from"
                " another process, so that its own threads need not wait long"
            )
        arguments = {
            "operations": operations(batch),
            "expect": wire.expectations(expect),
            "durability": durability,
        }
        stamp: int = self._link.ask("write", int, arguments, write=True)
        batch.close(stamp)
        return stamp

    @property
    def limits(self) -> Limits:
        """The largest names, values and commits that the owner takes from another process."""
        found: Limits = self._link.ask("limits", Limits, {})
        return found

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

    def retentions(self) -> dict[str, timedelta]:
        """The retentions that are stored with the database, by service."""
        found: dict[str, timedelta] = self._ask("retentions", dict[str, timedelta])
        return found

    def set_retention(self, service: str, retention: float | timedelta) -> None:
        """Store how long workflows of a service are kept once they are complete."""
        kept = timedelta(microseconds=retention_time(retention))
        arguments = {"service": service, "retention": kept}
        self._link.ask("set_retention", None, arguments, write=True)

    def flush(self) -> None:
        self._link.ask("flush", None, {}, patience=None)

    def compact(self, service: str | None = None) -> None:
        self._link.ask("compact", None, {"service": service}, patience=None)

    def checkpoint(self, path: str | os.PathLike[str]) -> None:
        # As bytes: a path need not be text that MessagePack takes.
        arguments = {"path": os.fsencode(os.path.abspath(path))}
        self._link.ask("checkpoint", None, arguments, patience=None)

    def refresh(self) -> bool:
        """Every read is of now: nothing to do."""
        return False

    def close(self) -> None:
        """Leave the owner. May be called again."""
        self._link.close()
