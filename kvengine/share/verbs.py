"""How the owner answers each request: one function for each, which gets who asks and what.

What they return is what MessagePack takes. They raise what the verbs of the store raise.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import timedelta
from functools import partial
from typing import Any, Protocol

from kvengine.attempts import Attempts
from kvengine.errors import KVEngineError, OutcomeUnknown, SessionLost, VersionConflict
from kvengine.objects.sessions.host import Host
from kvengine.options import Durability, Options
from kvengine.share import requests, results, wire
from kvengine.share.holdings import Holdings
from kvengine.share.operations import replay
from kvengine.share.requests import Begun
from kvengine.storage import feed
from kvengine.storage.batch import Batch, object_name
from kvengine.storage.batch import Expire as ExpireOperation
from kvengine.storage.commit import Committer
from kvengine.storage.database import Database
from kvengine.storage.held import hold
from kvengine.storage.names import Name, check_name
from kvengine.storage.state import Commit
from kvengine.store import Estimate, Reads, SegmentStats, Store, StoredObject


class Served(Store, Protocol):
    """What the owner serves: the embedded engine."""

    _host: Host
    _db: Database
    _committer: Committer

    @property
    def options(self) -> Options: ...

    def estimate(self, service: str, *, prefix: str = "") -> Estimate: ...

    def segments(self) -> tuple[SegmentStats, ...]: ...

    def retentions(self) -> dict[str, timedelta]: ...

    def flush(self) -> None: ...

    def compact(self, service: str | None = None) -> None: ...

    def checkpoint(self, path: str) -> None: ...

    def _may_wait(self, durability: Durability | None = None) -> bool: ...

    def _may_begin(self) -> bool: ...

    def _finish_write(self, commit: Commit) -> int: ...


def answer(store: Served, client: Holdings, request: requests.Request) -> Any:
    """Return the result of a request. Raises what the verb raises."""
    return _VERBS[type(request)](store, client, request)


def release_of(
    client: Holdings, request: requests.Request, result: Any
) -> Callable[[], object] | None:
    """Return a function that gives back the snapshot or walk that a result names, or None.

    For an answer that never arrives: the client would not know what to close.
    """
    kind = type(request)
    if kind is requests.OpenSnapshot:
        return partial(client.release, result[0])
    if kind is requests.Next or _VERBS[kind] is _walk:
        return partial(client.end_walk, result[0])
    return None


def _reads(store: Served, client: Holdings, at: int | None) -> Reads:
    """Return the store, or the snapshot that ``at`` names."""
    return store if at is None else client.snapshot(at)


def _get(store: Served, client: Holdings, asked: requests.Get) -> bytes | None:
    reads = _reads(store, client, asked.at)
    return reads.get(asked.service, asked.key, asked.state_key)


def _get_all(store: Served, client: Holdings, asked: requests.GetAll) -> dict[str, bytes]:
    return _reads(store, client, asked.at).get_all(asked.service, asked.key)


def _load(store: Served, client: Holdings, asked: requests.Load) -> StoredObject | None:
    reads = _reads(store, client, asked.at)
    return reads.load(asked.service, asked.key, max_bytes=asked.max_bytes)


def _read(store: Served, client: Holdings, asked: Any) -> Any:
    """Answer any read verb: its arguments have the names of the fields."""
    arguments = {name: getattr(asked, name) for name in asked.__struct_fields__ if name != "at"}
    tag = type(asked).__struct_config__.tag
    return getattr(_reads(store, client, asked.at), tag)(**arguments)


def _walk(store: Served, client: Holdings, asked: Any) -> tuple[int | None, list[Any]]:
    return client.begin_walk(_read(store, client, asked))


def _write(store: Served, _: Holdings, asked: requests.Write) -> int:
    return _commit_once(store, asked, replay(asked.operations), wire.expected(asked.expect))


def _commit_once(
    store: Served, asked: requests.Writing, batch: Batch, expect: Mapping[Name, int] | None = None
) -> int:
    """Commit a batch, at most once if the request has a token; return the stamp."""
    committer = store._committer
    if not asked.token:  # of this process: no answer is ever lost
        return committer.write(batch, expect, asked.durability)
    committer.write_once(batch, expect, asked.durability, asked.token, asked.since)
    return batch.stamp or 0


def _commit(store: Served, client: Holdings, asked: requests.Commit) -> int:
    name = asked.service, asked.key
    batch = replay(asked.operations)
    begin_commit(store, client, asked)
    leaves = False
    try:
        stamp = _commit_once(store, asked, batch, {name: asked.version})
        leaves = asked.leaves
    finally:
        client.end_commit(name, leaves)
    return stamp


def may_be_made(store: Served, asked: requests.Writing) -> bool:
    """Return whether a commit may have been made by a request whose answer was lost."""
    tokens = store._db.tokens
    return asked.since is not None and (
        asked.since < tokens.since or tokens.find(asked.token) is not None
    )


def begin_commit(store: Served, client: Holdings, asked: requests.Commit) -> None:
    """Keep the object of a session until its commit has ended, whatever becomes of the client.

    Raise SessionLost unless the client has the object, or had it and may have committed.
    """
    name = asked.service, asked.key
    if not (client.begin_commit(name) or may_be_made(store, asked)):
        raise SessionLost(
            f"this session no longer has the object {name!r}: nothing was written; read it again"
        )


def _begin(store: Served, client: Holdings, asked: requests.Begin) -> Begun:
    name = object_name(asked.service, asked.key)  # what is no name is claimed by nobody
    granted = asked.reads or client.claim(name)
    if not granted:
        return Begun(False, 0, None, {})
    now = store._db.clock.now()
    if asked.max_bytes is None:
        return Begun(True, now, store.load(*name), {})
    held = hold(store._db, name, now)
    found = held.load(*name, max_bytes=asked.max_bytes)
    more = held.get_many(*name, asked.state_keys) if found is not None and found.partial else {}
    return Begun(True, now, found, more)


def _late(store: Served, _: Holdings, asked: requests.Late) -> Any:
    name = asked.service, asked.key
    if asked.verb not in results.LATE:
        raise KVEngineError(f"no session reads by {asked.verb!r}")
    held = hold(store._db, name, asked.now)
    if held.version != asked.version:
        raise VersionConflict(*name, asked.version, held.version)
    arguments = () if asked.argument is None else (asked.argument,)
    return getattr(held, asked.verb)(*name, *arguments, **asked.options)


def _pop(store: Served, _: Holdings, asked: requests.Pop) -> bytes | None:
    if may_be_made(store, asked):
        raise OutcomeUnknown(
            f"the answer to a pop of {asked.state_key!r} was lost: the entry may be cleared, and"
            " then its value is gone with the answer"
        )
    name = asked.service, asked.key
    for attempt in Attempts():
        found = store.load(*name)
        value = None if found is None else found.entries.get(asked.state_key)
        if found is None or value is None:
            check_name("state_key", asked.state_key)
            return None
        batch = Batch()
        batch.clear(*name, asked.state_key)
        with attempt:
            _commit_once(store, asked, batch, {name: found.version})
            return value
    raise AssertionError("there is always another attempt")


def _expire(store: Served, _: Holdings, asked: requests.Expire) -> bool:
    name = object_name(asked.service, asked.key)
    operation = ExpireOperation(name, asked.at, asked.ttl)
    batch = Batch()
    batch.operations.append(operation)
    token = asked.token or os.urandom(16)  # only a commit with a token tells if it wrote anything
    written = store._committer.write_once(batch, None, asked.durability, token, asked.since)
    return written is not None


def _watch(store: Served, client: Holdings, asked: requests.Watch) -> None:
    begin = partial(feed.begin, store._db, asked.service, asked.key, asked.prefix)
    client.watch(asked.watch, begin)


def options_of(options: Options) -> dict[str, Any]:
    """Return the options that all who share a directory must agree on."""
    return {name: getattr(options, name) for name in AGREED}


NOT_AGREED = frozenset(
    (
        *("durability", "create", "read_only", "lock_timeout", "live_access", "clock"),
        *("serde", "serdes", "retention"),
    )
)
"""Options that are each process's own; retentions are stored with the database."""

AGREED: tuple[str, ...] = tuple(
    each.name for each in fields(Options) if each.name not in NOT_AGREED
)


_VERBS: dict[type, Callable[[Served, Holdings, Any], Any]] = {
    requests.Get: _get,
    requests.GetMany: _read,
    requests.GetAll: _get_all,
    requests.Exists: _read,
    requests.Version: _read,
    requests.ExpiresAt: _read,
    requests.Load: _load,
    requests.LoadMany: _read,
    requests.StateKeys: _read,
    requests.Services: _read,
    requests.Count: _read,
    requests.ObjectKeys: _walk,
    requests.Scan: _walk,
    requests.Workflows: _walk,
    requests.Next: lambda _, client, asked: client.page(asked.walk),
    requests.End: lambda _, client, asked: client.end_walk(asked.walk),
    requests.OpenSnapshot: lambda store, client, _: client.add_snapshot(store.snapshot),
    requests.Release: lambda _, client, asked: client.release(asked.at),
    requests.Write: _write,
    requests.Commit: _commit,
    requests.Pop: _pop,
    requests.Expire: _expire,
    requests.SetRetention: lambda store, _, asked: store.set_retention(
        asked.service, asked.retention
    ),
    requests.Retentions: lambda store, *_: store.retentions(),
    requests.Begin: _begin,
    requests.Leave: lambda _, client, asked: client.leave((asked.service, asked.key)),
    requests.Holder: lambda store, _, asked: store._host.turns.holder((asked.service, asked.key)),
    requests.Late: _late,
    requests.Watch: _watch,
    requests.Unwatch: lambda _, client, asked: client.unwatch(asked.watch),
    requests.Estimate: lambda store, _, asked: store.estimate(asked.service, prefix=asked.prefix),
    requests.Segments: lambda store, *_: store.segments(),
    requests.Stats: lambda store, *_: store.stats(),
    requests.Flush: lambda store, *_: store.flush(),
    requests.Compact: lambda store, _, asked: store.compact(asked.service),
    requests.Checkpoint: lambda store, _, asked: store.checkpoint(os.fsdecode(asked.path)),
}

UPKEEP = (requests.Flush, requests.Compact, requests.Checkpoint)
"""Requests that rewrite files: they may take minutes."""

SLOW: frozenset[type] = frozenset(
    (
        requests.LoadMany,
        requests.Services,
        requests.Count,
        requests.ObjectKeys,
        requests.Scan,
        requests.Workflows,
        requests.Next,
        requests.End,
        requests.OpenSnapshot,
        requests.Release,
        requests.Pop,
        requests.Expire,
        requests.SetRetention,
        requests.Estimate,
        requests.Segments,
        requests.Stats,
        *UPKEEP,
    )
)
"""Requests that may take longer than others can wait: they walk, write files, or sync."""
