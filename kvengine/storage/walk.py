"""Listings and scans: walking objects in order, as of one moment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kvengine.storage import names
from kvengine.storage.clock import SECOND
from kvengine.storage.merge import (
    Block,
    Piece,
    Source,
    level_sources,
    memtable_blocks,
    windows,
)
from kvengine.storage.names import Range, decode_object, service_range
from kvengine.storage.row import Resolved, Row, resolve
from kvengine.storage.segment.block import EXISTS
from kvengine.storage.version import View
from kvengine.store import StoredObject

EVERYTHING: Range = (b"", names.END)


def scan(view: View, stamp: int, now: int, within: Range) -> Iterator[Sequence[StoredObject]]:
    """Live objects in a range, in order, with all of their entries, a window at a time."""
    form = _Form()
    for window in windows(_sources(view, stamp, within), *within):
        if not isinstance(window, Block):
            found = ((name, resolve([p.whole() for p in pieces])) for name, pieces in window)
        elif window.plain:
            yield form.plain(window)
            continue
        else:
            found = (
                (name, resolve((Piece(row, window.segment).whole(),)))
                for name, row in zip(window.names, window.rows, strict=True)
            )
        live = ((name, one.at(now)) for name, one in found if one is not None)
        yield [form.stored(name, one) for name, one in live if one is not None]


def live_names(
    view: View, stamp: int, now: int, within: Range, *, reverse: bool = False
) -> Iterator[bytes]:
    """Names of live objects in a range, in order."""
    sources = _sources(view, stamp, within, reverse=reverse, names_only=True)
    for window in windows(sources, *within, reverse=reverse):
        if not isinstance(window, Block):
            yield from (name for name, pieces in window if _is_live(name, pieces, now))
        elif window.plain:
            yield from window.names
        else:
            for name, row in zip(window.names, window.rows, strict=True):
                if _is_live(name, [Piece(row, window.segment)], now):
                    yield name


def services(view: View, stamp: int, now: int, start: bytes = b"") -> Iterator[str]:
    """Services with a live object, from an encoded object on: a seek for each, dead ones too."""
    while (name := next(live_names(view, stamp, now, (start, names.END)), None)) is not None:
        service = decode_object(name)[0]
        yield service
        start = service_range(service)[1]


def stored(service: str, key: str, found: Resolved, complete: bool = True) -> StoredObject:
    """The public form of a live object, with entries of its own."""
    at, ttls = found.expires_at, found.ttls
    expires_at = None if at is None else at / SECOND
    expiries = {name: end / SECOND for name, end in ttls.items()} if ttls else None
    entries = found.entries.copy()
    return StoredObject(service, key, found.version, expires_at, entries, complete, expiries)


def _is_live(name: bytes, pieces: list[Piece], now: int) -> bool:
    newest = pieces[0].row
    if newest is EXISTS:
        return True
    if newest.expires_at is not None and newest.expires_at <= now:
        return False
    found = resolve([_decoded(name, piece) for piece in pieces])
    return found is not None and found.at(now) is not None


def _decoded(name: bytes, piece: Piece) -> Row:
    """The whole row of a piece, also where the walk was of names only."""
    if piece.row is EXISTS and piece.segment is not None:
        row = piece.segment.find(name)
        return piece.row if row is None else row
    return piece.whole()


class _Form:
    """The public form of live objects, which come service by service."""

    def __init__(self) -> None:
        self._service = ""
        self._prefix = names.END
        self._cut = 0

    def stored(self, name: bytes, found: Resolved) -> StoredObject:
        self._look(name)
        return stored(self._service, name[self._cut :].decode(), found)

    def plain(self, block: Block) -> list[StoredObject]:
        """All of a plain block, whose rows belong to nobody else."""
        self._look(block.names[0])
        if not block.names[-1].startswith(self._prefix):
            found = ((name, resolve((row,))) for name, row in zip(*block[:2], strict=True))
            return [self.stored(name, one) for name, one in found if one is not None]
        service, cut = self._service, self._cut
        return [
            StoredObject(service, name[cut:].decode(), row.version, None, row.entries)  # type: ignore[arg-type]
            for name, row in zip(block.names, block.rows, strict=True)
        ]

    def _look(self, name: bytes) -> None:
        if not name.startswith(self._prefix):
            self._service = decode_object(name)[0]
            self._prefix = service_range(self._service)[0]
            self._cut = len(self._prefix)


def _sources(
    view: View, stamp: int, within: Range, *, reverse: bool = False, names_only: bool = False
) -> list[Source]:
    start, stop = within
    memory = [
        Source(
            memtable_blocks(memtable, start, stop, stamp, reverse=reverse),
            memtable.tombstones(stamp),
        )
        for memtable in view.memtables()
        if memtable.states
    ]
    levels = view.version.levels
    return memory + list(level_sources(levels, start, stop, reverse=reverse, names_only=names_only))
