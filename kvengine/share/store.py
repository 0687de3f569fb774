"""The Store on a directory that several processes share."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import kvengine.store
from kvengine.closing import Closing, adopt_docstrings, public_names
from kvengine.engine import close_forgotten
from kvengine.errors import DatabaseClosed, OutcomeUnknown, ValueTooLarge
from kvengine.objects.sessions.host import Host
from kvengine.objects.verbs import ObjectVerbs
from kvengine.options import Durability
from kvengine.serdes.registry import Serdes
from kvengine.share import requests, results, wire
from kvengine.share.member import Member
from kvengine.share.operations import MOST_ITEMS, WireOperation, WireSet, operations, sent
from kvengine.share.reads import Held, RemoteReads, RemoteSnapshot, RemoteWalk
from kvengine.share.requests import MOST_BYTES, Request
from kvengine.share.sessions import Sessions
from kvengine.storage.batch import (
    Batch,
    ClearAll,
    batch_of,
    check_write,
    clear_operation,
    clear_range_operation,
    clear_service_operation,
    expire_operation,
    object_name,
    set_operation,
)
from kvengine.storage.names import MAX_NAME, Name, are_ascii_names, check_name
from kvengine.storage.times import DAY, check_agrees, retention_time
from kvengine.store import Estimate, Limits, SegmentStats, Stats
from kvengine.watch import Watch

_FORM = 1024
"""Bytes of a request beside its names and values, if it has one operation."""


def reopen(batch: Batch, error: BaseException) -> None:
    """Let a batch be written again after a commit that failed, unless it may be made."""
    if not isinstance(error, OutcomeUnknown):
        batch._reopen()


class SharedStore(RemoteReads, ObjectVerbs, Closing):
    """The Store on a directory that several processes share. Thread-safe.

    Made by `kvengine.open(path, share=True)` and `kvengine.connect(path)`. One of the processes
    owns the directory and serves the others; when it ends, one that was opened with ``share=True``
    takes over by itself. A context manager; `close` is idempotent. A forked child may use it: it is
    a process of its own among those that share.
    """

    def __init__(
        self,
        member: Member,
        *,
        durability: Durability | None,
        serdes: Serdes,
        retention: Mapping[str, float | timedelta],
        closed: Callable[[], object],
    ) -> None:
        """``durability``: None for that of the owner. ``closed`` is called when this is closed."""
        self._member = member
        self._closed = closed
        self._is_closed = False
        self.durability: Durability | None = durability
        """That of commits which do not choose for themselves."""
        self._retentions: dict[str, int] = {}
        options = member.owner().joined.options
        room = MOST_BYTES - 3 * MAX_NAME - _FORM
        value, commit = (min(options[f"max_{what}_size"], room) for what in ("value", "commit"))
        self._limits = Limits(MAX_NAME, 3 * MAX_NAME, value, commit)
        self._host = Host(
            self,
            serdes,
            max_value_size=value,
            retention_of=self._retention_of,
            shared=Sessions(member, self),
        )
        member.add(self)
        self._agree(retention)
        self._forgotten = weakref.finalize(self, close_forgotten, f"a store of {self.path}", closed)
        self._forgotten.atexit = False  # at the end of the interpreter nothing is lost

    @property
    def path(self) -> str:
        """Return the absolute path of the directory."""
        return self._member.path

    @property
    def owner_pid(self) -> int:
        """Return the process that owns the directory now; it may be this one."""
        return self._member.owner().pid

    @property
    def has_owner(self) -> bool:
        """Return whether the owner that was asked last is still there, as far as is known."""
        return self._member.has_owner

    # --- reading: the verbs are those of `RemoteReads`

    def _ask(self, request: Request, decode: Callable[[Any], Any]) -> Any:
        self._check_open()
        return self._member.ask(request, decode)

    def _walk(self, request: Request, decode: Callable[[Any], Any]) -> Any:
        self._check_open()
        page, owner = self._member.ask_some(request, decode)
        return RemoteWalk(Held(self._member, owner, self._check_open), page, decode)

    def snapshot(self) -> RemoteSnapshot:
        return self._snapshot_to_come().begin()

    def _snapshot_to_come(self) -> RemoteSnapshot:
        """Return a snapshot that is taken when it is first used."""
        self._check_open()
        return RemoteSnapshot(self._member, self._check_open)

    # --- writing

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
        limit = self._limits.value
        if (
            ttl is None
            and expires_at is None
            and type(value) is bytes
            and len(value) <= limit
            and are_ascii_names(service, key, state_key)
        ):
            return self._commit(WireSet(service, key, state_key, value, None, None))
        return self._commit(
            sent(set_operation(service, key, state_key, value, ttl, expires_at, limit))
        )

    def clear(self, service: str, key: str, state_key: str) -> int:
        return self._commit(sent(clear_operation(service, key, state_key)))

    def pop(self, service: str, key: str, state_key: str) -> bytes | None:
        self._check_open()
        name = object_name(service, key)
        asked = requests.Pop(self.durability, b"", None, *name, check_name("state_key", state_key))
        found: bytes | None = self._member.write(asked, results.value)
        return found

    def clear_all(self, service: str, key: str) -> int:
        return self._commit(sent(ClearAll(object_name(service, key))))

    def clear_service(self, service: str) -> int:
        return self._commit(sent(clear_service_operation(service)))

    def clear_range(self, service: str, start: str, stop: str | None) -> int:
        return self._commit(sent(clear_range_operation(service, start, stop)))

    def expire(
        self,
        service: str,
        key: str,
        *,
        at: float | datetime | None = None,
        ttl: float | timedelta | None = None,
    ) -> bool:
        operation = expire_operation(service, key, at, ttl)
        self._check_open()
        times = operation.at, operation.ttl
        asked = requests.Expire(self.durability, b"", None, service, key, *times)
        return bool(self._member.write(asked, results.truth))

    def batch(self) -> Batch:
        self._check_open()
        return batch_of(self, self._limits.value)

    def write(
        self,
        batch: Batch,
        *,
        expect: Mapping[Name, int] | None = None,
        durability: Durability | None = None,
    ) -> int:
        asked = self._writes(batch, expect, durability)
        try:
            stamp = self._member.write(asked, results.number)
        except BaseException as error:
            reopen(batch, error)
            raise
        batch.close(stamp)
        return int(stamp)

    def _writes(
        self, batch: Batch, expect: Mapping[Name, int] | None, durability: Durability | None
    ) -> requests.Write:
        """Return the request that commits a batch, which is closed now."""
        check_write(batch, expect, durability)
        self._check_open()
        batch.check_open()
        batch.check_values(self._limits.value)
        if len(batch) > MOST_ITEMS:
            raise ValueTooLarge(
                f"the batch has {len(batch):,} operations; the owner takes {MOST_ITEMS:,} from"
                " another process, so that its own threads need not wait long"
            )
        chosen = durability or self.durability
        asked = requests.Write(chosen, b"", None, operations(batch), wire.expectations(expect))
        batch.close()  # what is being committed must not change
        return asked

    def _commit(self, operation: WireOperation) -> int:
        self._check_open()
        asked = requests.Write(self.durability, b"", None, [operation], None)
        return int(self._member.write(asked, results.number))

    # --- the whole

    @property
    def limits(self) -> Limits:
        return self._limits

    def watch(self, service: str, key: str | None = None, *, prefix: str = "") -> Watch:
        """Return the changes to come, as they become visible: an iterator that waits for each.

        It covers all objects of a service, those whose key starts with ``prefix``, or the one
        ``key``. It reports commits of all processes made after this call, in order, once for each
        object. Writers never wait for a watch: one that falls 10,000 changes behind drops them and
        reports a single change with ``gap=True``. It raises OwnerLost when the owner ends.
        """
        self._check_open()
        return Watch(self, partial(self._member.watch, service, key, prefix))

    def retention(self, service: str) -> timedelta:
        check_name("service", service)
        return self.retentions().get(service, timedelta(microseconds=DAY))

    def retentions(self) -> dict[str, timedelta]:
        found: dict[str, timedelta] = self._ask(requests.Retentions(), results.retentions)
        self._retentions = {service: retention_time(kept) for service, kept in found.items()}
        return found

    def set_retention(self, service: str, retention: float | timedelta) -> None:
        kept = retention_time(retention)
        asked = requests.SetRetention(check_name("service", service), timedelta(microseconds=kept))
        self._ask(asked, results.nothing)
        self._retentions[service] = kept

    def _retention_of(self, service: str) -> int | None:
        """Return the retention of a service as this store saw it last, None if none is set."""
        return self._retentions.get(service)

    def _agree(self, stated: Mapping[str, float | timedelta]) -> None:
        """Store the retentions that were stated. Raise ValueError if there are other ones."""
        self.retentions()
        for service, given in stated.items():
            stored = self._retentions.get(service)
            check_agrees(service, retention_time(given), stored)
            if stored is None:
                self.set_retention(service, given)

    # --- what only the embedded engine has, done by the owner

    def estimate(self, service: str, *, prefix: str = "") -> Estimate:
        """Estimate how many objects of a service have a prefix; see `kvengine.Engine.estimate`."""
        found: Estimate = self._ask(requests.Estimate(service, prefix), results.estimate)
        return found

    def segments(self) -> tuple[SegmentStats, ...]:
        """Return the segments, newest layer first."""
        found: tuple[SegmentStats, ...] = self._ask(requests.Segments(), results.segments)
        return found

    def stats(self) -> Stats:
        found: Stats = self._ask(requests.Stats(), results.stats)
        return found

    def refresh(self) -> bool:
        """Do nothing: every read is of now."""
        return False

    def flush(self) -> None:
        """Let the owner write its memtable to a segment; return when it is on disk."""
        self._ask(requests.Flush(), results.nothing)

    def compact(self, service: str | None = None) -> None:
        """Let the owner rewrite all segments, or those of a service, without what is dead."""
        self._ask(requests.Compact(service), results.nothing)

    def checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Let the owner copy the database as of now; see `kvengine.Engine.checkpoint`."""
        # As bytes: a path need not be text that MessagePack takes.
        self._ask(requests.Checkpoint(os.fsencode(os.path.abspath(path))), results.nothing)

    def _check_open(self) -> None:
        if self._is_closed:
            raise DatabaseClosed("this database is closed")

    def close(self) -> None:
        """Leave the others that share the directory. May be called again.

        The last store of a process that owns the directory makes everything durable and lets go of
        it: another process takes over.
        """
        self._is_closed = True
        if self._forgotten.detach() is not None:  # in the first of all calls, whatever threads call
            self._closed()

    def __dir__(self) -> list[str]:
        return public_names(self)

    def __repr__(self) -> str:
        return f"<kvengine.share.SharedStore {self.path!r}>"


adopt_docstrings(SharedStore, kvengine.store.Store)
