"""Reading one object: overlay the layers newest to oldest, then apply now.

How a `get` travels: the active memtable; the frozen ones; the cache of what
the segments say; the segments, by range, filter, index and block. It stops at
a row that is cleared, or below a layer whose tombstone covers the object. The
clock is read last: data that a compaction drops had expired by then.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

from kvengine.storage import range_tombstones as tombstones
from kvengine.storage.cache import ObjectCache, footprint
from kvengine.storage.memtable import State, States
from kvengine.storage.merge import Piece
from kvengine.storage.names import Name, encode_object
from kvengine.storage.row import Chunk, Resolved, Row, extend, overlay_rows, resolve
from kvengine.storage.segment.block import ChunkEntries
from kvengine.storage.version import View

HEAVY = 1024
"""Entries past which an object is not resolved as a whole to read one of them."""


class Layers(NamedTuple):
    """What the layers say of one object: its newest state, if any, and pieces newest first.

    ``base``: what lies below the pieces, where somebody had worked it out: what all
    segments say, by the cache, or, without pieces, the whole object, by its state.
    """

    state: State | None
    pieces: list[Piece]
    base: Resolved | None

    @property
    def heavy(self) -> bool:
        """Whether the object is too large to be resolved for one of its entries."""
        entries = 0
        for row, _ in self.pieces:
            if row.chunks is not None:
                return True
            entries += len(row.entries)
        return entries > HEAVY


class Head(NamedTuple):
    """What an object that lives states of itself apart from its entries."""

    version: int
    expires_at: int | None


def look_up(
    view: View,
    cache: ObjectCache,
    name: Name,
    stamp: int | None = None,
    staged: States | None = None,
) -> Layers:
    """Collect what each layer says, newest first, down to where nothing older shows.

    ``staged``: states of commits not yet visible, for a commit that follows them.

    What a state remembers of the whole object is for reads of now alone: it may have
    been worked out from segments whose expired data a snapshot still sees.

    The cache speaks for the segments of its own generation only; that is checked
    after it has answered, since a flush bumps the generation before the cache changes.
    """
    pieces: list[Piece] = []
    newest: State | None = None
    for memtable in (view.active, *view.frozen):
        if not memtable.states and not staged:
            continue
        if staged and memtable is view.active:
            state, hides = memtable.find_staged(name, staged)
        else:
            state, hides = memtable.find(name, stamp)
        if state is not None:
            if newest is None:
                newest = state
                if state.full is not None and stamp is None:
                    return Layers(state, [], state.full)
            pieces += [Piece(row, None) for row in state.rows]
        if hides:
            return Layers(newest, pieces, None)
    base = cache.get(name)
    if base is not None and view.generation == cache.generation:
        return Layers(newest, pieces, base)
    pieces += segment_pieces(view, name)
    return Layers(newest, pieces, None)


def segment_pieces(view: View, name: Name) -> list[Piece]:
    """What the segments say of an object, newest first."""
    encoded = encode_object(*name)
    pieces: list[Piece] = []
    for segment in view.version.holding(encoded):
        row = segment.find(encoded)
        if row is not None:
            pieces.append(Piece(row, segment))
            if row.cleared:
                break
        if segment.tombstones and tombstones.covering(segment.tombstones, encoded):
            break
    return pieces


def resolved(
    view: View, cache: ObjectCache, name: Name, stamp: int | None = None
) -> Resolved | None:
    """An object as all layers state it, before time is applied; remembered where it is small."""
    newest_state = view.active.states.get(name) if stamp is None else None
    if newest_state is not None and newest_state.full is not None:
        state, _ = view.active.find(name)
        if state is not None and state.full is not None:
            return state.full
    return combine(look_up(view, cache, name, stamp), view, cache, name)


def combine(layers: Layers, view: View, cache: ObjectCache, name: Name) -> Resolved | None:
    """The overlay of what `look_up` found, remembered on the state or in the cache."""
    state, pieces, base = layers
    if base is not None:
        if not pieces:
            return base
        found = extend(base, overlay_rows([row for row, _ in pieces]))
    else:
        found = resolve([piece.whole() for piece in pieces])
    if found is not None and not layers.heavy:
        if state is not None:
            if view.active.memo_bytes * 2 <= cache.capacity:
                view.active.memo_bytes += footprint(found)
                state.full = found
        else:
            cache.put(name, found, view.generation)
    return found


def remembered(view: View, cache: ObjectCache, name: Name) -> Resolved | None:
    """The whole object, where the active memtable says nothing of it and somebody worked it out."""
    for memtable in view.frozen:
        if memtable.has_tombstones:
            return None
        state = memtable.states.get(name)
        if state is not None:
            return state.full
    return cache.young.get(name)


def head(
    layers: Layers, view: View, cache: ObjectCache, name: Name, now: int
) -> Head | Resolved | None:
    """The version and expiry of an object that lives at ``now``.

    Of one too large to be resolved no more is read than shows that an entry lives.
    """
    if layers.state is not None and layers.state.full is not None:
        return layers.state.full.at(now)
    if layers.heavy:
        row = layers.pieces[0].row
        return Head(row.version, row.expires_at) if _lives(layers, now) else None
    found = combine(layers, view, cache, name)
    return found.at(now) if found is not None else None


def _lives(layers: Layers, now: int) -> bool:
    """Whether an entry of a large object is live at ``now``; read up to the first that is."""
    head = layers.pieces[0].row
    if head.expires_at is not None and head.expires_at <= now:
        return False
    newer: set[str] = set()
    for part in _parts(layers):
        ttls = part.ttls or {}
        for state_key, value in part.entries.items():
            if value is not None and state_key not in newer and ttls.get(state_key, now + 1) > now:
                return True
        newer.update(part.entries)
    return False


def _parts(layers: Layers) -> Iterator[Row | ChunkEntries | Resolved]:
    """Entries with their expiries, newest first; a large row's by the chunk."""
    for row, segment in layers.pieces:
        if segment is not None and row.chunks is not None:
            yield from map(segment.chunk, row.chunks)
        else:
            yield row
    if layers.base is not None:
        yield layers.base


def entry(layers: Layers, state_key: str, now: int) -> bytes | None:
    """One entry of an object too large to resolve as a whole, at ``now``."""
    head = layers.pieces[0].row
    if head.expires_at is not None and head.expires_at <= now:
        return None
    for row, segment in layers.pieces:
        entries, ttls = row.entries, row.ttls
        if segment is not None and row.chunks is not None:
            chunk = segment.chunk_of(row, state_key)
            if chunk is None:
                continue
            entries, ttls = chunk.entries, chunk.ttls
        if state_key in entries:
            if ttls and ttls.get(state_key, now + 1) <= now:
                return None
            return entries[state_key]
    if layers.base is not None:
        at = (layers.base.ttls or {}).get(state_key)
        return layers.base.entries.get(state_key) if at is None or at > now else None
    return None


def windows(layers: Layers, start: str, now: int) -> Iterator[Resolved]:
    """Live entries of a large object in key order from ``start`` on, about a chunk at a time.

    A part may be empty, which a Resolved is not elsewhere; ``soonest`` says nothing here.
    """
    head = layers.pieces[0].row
    if head.expires_at is not None and head.expires_at <= now:
        return
    pieces = layers.pieces
    if layers.base is not None:
        base = layers.base
        pieces = [*pieces, Piece(Row(base.version, dict(base.entries), ttls=base.ttls), None)]
    spans = [_Span(piece) for piece in pieces]
    bounds = sorted({c.first for p in pieces for c in p.row.chunks or () if c.first > start})
    for low, high in zip([start, *bounds], [*bounds, None], strict=True):
        row = overlay_rows([span.part(head, low, high) for span in spans])
        ttls = row.ttls or {}
        entries = {
            name: value
            for name in sorted(row.entries)
            if (value := row.entries[name]) is not None and ttls.get(name, now + 1) > now
        }
        left = {name: at for name, at in ttls.items() if name in entries}
        yield Resolved(head.version, head.expires_at, entries, left or None, None)


class _Span:
    """A piece of a large object, read by ranges of state keys."""

    def __init__(self, piece: Piece) -> None:
        self._row = piece.row
        if piece.segment is not None:
            self._read = piece.segment.chunk
        self._names = sorted(self._row.entries)

    def part(self, head: Row, low: str, high: str | None) -> Row:
        """Its entries in ``[low, high)``, as a row that clears nothing."""
        entries: dict[str, bytes | None] = {}
        ttls: dict[str, int] = {}
        names = self._names
        end = len(names) if high is None else bisect_left(names, high)
        for name in names[bisect_left(names, low) : end]:
            entries[name] = self._row.entries[name]
        ttls.update(self._row.ttls or {})
        for chunk, following in self._chunks():
            if (high is None or chunk.first < high) and (following is None or following > low):
                found = self._read(chunk)
                ttls.update(found.ttls or {})
                for name, value in found.entries.items():
                    if name >= low and (high is None or name < high):
                        entries[name] = value
        kept = {name: at for name, at in ttls.items() if name in entries}
        return Row(head.version, entries, ttls=kept or None)

    def _chunks(self) -> Iterator[tuple[Chunk, str | None]]:
        """Each chunk with the state key at which the next one begins."""
        chunks = self._row.chunks or []
        return zip(chunks, [*(chunk.first for chunk in chunks[1:]), None], strict=False)
