"""Listings and scans: walking objects in order, as of one moment."""

from __future__ import annotations

from collections.abc import Iterator

from kvengine import names
from kvengine.clock import SECOND
from kvengine.names import Range, decode_object, service_range
from kvengine.operations.merge import Piece, Source, level_sources, memtable_blocks, merge
from kvengine.operations.version import View
from kvengine.rows import Resolved, resolve
from kvengine.store import StoredObject

EVERYTHING: Range = (b"", names.END)


def objects(
    view: View, stamp: int, now: int, within: Range, *, reverse: bool = False
) -> Iterator[tuple[bytes, Resolved]]:
    """Live objects in a range, in order, with all of their entries."""
    for name, pieces in merge(_sources(view, stamp, within, reverse), *within, reverse=reverse):
        found = resolve([piece.whole() for piece in pieces])
        live = found.at(now) if found is not None else None
        if live is not None:
            yield name, live


def live_names(
    view: View, stamp: int, now: int, within: Range, *, reverse: bool = False
) -> Iterator[bytes]:
    """Names of live objects in a range, in order."""
    for name, pieces in merge(_sources(view, stamp, within, reverse), *within, reverse=reverse):
        if _is_live(pieces, now):
            yield name


def _is_live(pieces: list[Piece], now: int) -> bool:
    newest = pieces[0].row
    if newest.expires_at is not None:
        if newest.expires_at <= now:
            return False
    elif not newest.ttls and any(value is not None for value in newest.entries.values()):
        return True
    found = resolve([piece.whole() for piece in pieces])
    return found is not None and found.at(now) is not None


def services(view: View, stamp: int, now: int) -> Iterator[str]:
    """Services with a live object: one seek for each service, dead ones included."""
    start = b""
    while True:
        for name, pieces in merge(
            _sources(view, stamp, (start, names.END), False), start, names.END
        ):
            service = decode_object(name)[0]
            if _is_live(pieces, now):
                yield service
                start = service_range(service)[1]
                break
        else:
            return


def stored(name: bytes, found: Resolved) -> StoredObject:
    """The public form of a live object."""
    service, key = decode_object(name)
    at = found.expires_at
    return StoredObject(
        service, key, found.version, None if at is None else at / SECOND, dict(found.entries)
    )


def _sources(view: View, stamp: int, within: Range, reverse: bool) -> list[Source]:
    start, stop = within
    memory = [
        Source(
            memtable_blocks(memtable, start, stop, stamp, reverse=reverse),
            memtable.tombstones(stamp),
        )
        for memtable in view.memtables()
        if memtable.states
    ]
    return memory + list(level_sources(view.version.levels, start, stop, reverse=reverse))
