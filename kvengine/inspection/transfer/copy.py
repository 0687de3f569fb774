"""Copy: objects from one database to another, as `export` and `import_` would, without the JSON."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing

from kvengine.errors import KVEngineError
from kvengine.inspection.transfer.walk import microseconds, moment, walk
from kvengine.inspection.transfer.writer import (
    BATCH_BYTES,
    BATCH_OBJECTS,
    Incoming,
    Mode,
    Target,
    Writer,
    Written,
)
from kvengine.options import Durability
from kvengine.real_time import wall
from kvengine.storage.names import Name
from kvengine.store import Reads, StoredObject


def copy(
    source: Reads,
    target: Target,
    *,
    service: str | None = None,
    prefix: str = "",
    after: Name | None = None,
    mode: Mode = "replace",
    dry_run: bool = False,
    batch_objects: int = BATCH_OBJECTS,
    batch_bytes: int = BATCH_BYTES,
    durability: Durability | None = None,
    now: Callable[[], float] = wall,
    progress: Callable[[Written], object] | None = None,
) -> Written:
    """Copy objects of one moment of ``source``, a store or a snapshot, in order.

    ``service``, ``prefix`` of the key: only those; ``after``: those behind it. ``mode``, and what
    an error leaves written: as for an import. KVEngineError where both are one directory,
    ObjectExists with mode "new", ValueError for an object that is too large for the target.
    """
    _check_apart(source, target)
    writer = Writer(
        target,
        mode,
        now=now,
        durability=durability,
        batch_objects=batch_objects,
        batch_bytes=batch_bytes,
        dry_run=dry_run,
        progress=progress,
    )
    with (
        moment(source) as held,
        closing(walk(held, service=service, prefix=prefix, after=after)) as objects,
    ):
        for found in objects:
            writer.add(incoming(found))
    writer.flush()
    return writer.written


def incoming(found: StoredObject) -> Incoming:
    """An object that was read as one to write."""
    at, done = found.expires_at, found.completed_at
    expiries = {name: microseconds(end) for name, end in (found.expiries or {}).items()}
    return Incoming(
        (found.service, found.key),
        None if at is None else microseconds(at),
        found.entries,
        expiries,
        completed_at=None if done is None else microseconds(done),
    )


def _check_apart(source: object, target: object) -> None:
    """Refuse a copy of a directory into itself, by whatever paths."""
    one, other = (getattr(store, "path", None) for store in (source, target))
    both = isinstance(one, str) and isinstance(other, str)
    if both and _is_same(str(one), str(other)):
        raise KVEngineError(f"source and target are one database ({other}); copy to another")


def _is_same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:  # of another file system than that of the machine
        return one == other
