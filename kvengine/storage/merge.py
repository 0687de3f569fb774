"""Walking several layers at once, in the order of objects, a block at a time.

Each source gives blocks of objects in order. The merge goes from object to object, always to the
first among those at which the sources stand, and says where its rows lie; they are cut out or
decoded when they are asked for. What newer tombstones cover is left out: a layer's tombstones reach
strictly older layers. Listings, scans and compactions all walk with it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from kvengine.storage import range_tombstones
from kvengine.storage.fold import fold
from kvengine.storage.memtable import Memtable
from kvengine.storage.name_bytes import is_below
from kvengine.storage.names import Name, encode_object, least_name
from kvengine.storage.packed import values_of, version_of
from kvengine.storage.range_tombstones import Tombstones
from kvengine.storage.read import Piece
from kvengine.storage.row import CLEARED
from kvengine.storage.segment.block import RowBlock
from kvengine.storage.segment.reader import LiveSegment, SegmentReader

FIRST_WINDOW = 16
LARGEST_WINDOW = 256
_NO_ROWS: list[bytes] = []


class Block:
    """Encoded objects of one layer in order, their rows, and the segment they came from, if any.

    Those of a segment are not cut out until they are asked for (`block_in`). The objects with the
    numbers from ``low`` to before ``high`` belong to the walk.
    """

    __slots__ = ("_block", "_rows", "high", "low", "names", "segment")

    def __init__(
        self, names: list[bytes], rows: list[bytes], segment: SegmentReader | None
    ) -> None:
        self.names: list[bytes] = names
        self.low: int = 0
        self.high: int = len(names)
        self.segment: SegmentReader | None = segment
        self._rows = rows
        self._block: RowBlock | None = None

    def values(self, at: int) -> tuple[int, dict[str, bytes]] | None:
        """Return (version, entries) of object number ``at`` if it has only values, else None.

        The entries are in key order. For one walk, which asks for each object once.
        """
        try:
            if self._block is not None:
                return self._block.values(at)  # type: ignore[return-value]
            row = self._rows[at]
            entries = values_of(row)
            return None if entries is None else (version_of(row), entries)
        except ValueError as error:
            raise self._damaged(at, error) from None

    def piece(self, at: int) -> Piece:
        """Return what the layer says of object number ``at``."""
        if self._block is None:
            return Piece(self._rows[at], self.segment, self.names[at])
        try:
            return Piece(self._block.row(at), self.segment, self.names[at])
        except ValueError as error:
            raise self._damaged(at, error) from None

    def _damaged(self, at: int, error: ValueError) -> Exception:
        return error if self.segment is None else self.segment.damaged(self.names[at], error)


def block_in(segment: SegmentReader, rows: RowBlock) -> Block:
    """Return a block of a segment. Compiled, this costs less than a call of the class."""
    block = Block.__new__(Block)
    block.names = rows.all_names()
    block.low, block.high = 0, rows.count
    block.segment = segment
    block._rows = _NO_ROWS
    block._block = rows
    return block


class Place:
    """Where the newest row of an object lies in a walk: number ``at`` of a block.

    ``pieces``: what all layers say of it, newest first, if more than one says anything.
    """

    __slots__ = ("at", "block", "pieces")

    block: Block
    at: int
    pieces: list[Piece] | None

    def add_older(self, block: Block, at: int) -> None:
        """Add what an older layer says, unless a newer one has cleared the object."""
        if self.pieces is None:
            self.pieces = [self.block.piece(self.at)]
        if not self.pieces[-1].row[1] & CLEARED:
            self.pieces.append(block.piece(at))


def place_of(block: Block, at: int) -> Place:
    """Return the place of an object. Compiled, this costs less than a call of the class."""
    place = Place.__new__(Place)
    place.block = block
    place.at = at
    place.pieces = None
    return place


class Source(NamedTuple):
    """One layer to walk: its blocks, in the direction of the walk, and its tombstones."""

    blocks: Iterator[Block]
    tombstones: Tombstones


Window = Block | list[Place]
"""A part of a walk: a block if only one layer has anything there, else where each object lies."""


def segment_blocks(
    segments: Sequence[SegmentReader],
    start: bytes,
    stop: bytes,
    *,
    reverse: bool = False,
    keep: bool = False,
) -> Iterator[Block]:
    """Yield blocks of disjoint segments, in order, that may hold objects in ``[start, stop)``.

    ``keep``: blocks that are read for it stay in memory.
    """
    for segment in reversed(segments) if reverse else segments:
        found = (
            segment.blocks_before(stop, keep=keep)
            if reverse
            else segment.blocks_from(start, stop, keep=keep)
        )
        for block in found:
            yield block_in(segment, block)
            if reverse and block.names[0] < start:
                break


def memtable_blocks(
    memtable: Memtable,
    start: bytes,
    stop: bytes,
    stamp: int | None,
    *,
    reverse: bool = False,
    window: int = LARGEST_WINDOW,
) -> Iterator[Block]:
    """Yield blocks of a memtable as of a stamp, of ``window`` names at first, then of more."""
    low = least_name(start)
    edge = least_name(stop)
    while low is not None:
        names = memtable.names_before(edge, window) if reverse else memtable.names_from(low, window)
        if not names:
            return
        yield from _block_of(memtable, names[::-1] if reverse else names, stamp)
        last = names[-1]
        encoded = encode_object(*last)
        if encoded < start if reverse else encoded >= stop:
            return
        edge, low = last, (last[0], last[1] + "\0")
        window = min(window * 4, LARGEST_WINDOW)


def _block_of(memtable: Memtable, names: Sequence[Name], stamp: int | None) -> Iterator[Block]:
    encoded: list[bytes] = []
    rows: list[bytes] = []
    for name in names:
        state, _ = memtable.find(name, stamp)
        if state is not None:
            encoded.append(encode_object(*name))
            rows.append(state.row if state.below is None else fold(state.rows))
    if rows:
        yield Block(encoded, rows, None)


def level_sources(
    levels: Sequence[Sequence[LiveSegment]],
    start: bytes,
    stop: bytes,
    *,
    reverse: bool = False,
    keep: bool = False,
) -> Iterator[Source]:
    """Yield sources of all segments, newest first: each of level 0, each further level as one."""
    runs = chain([[segment] for segment in levels[0]], levels[1:])
    for run in runs:
        near = [s for s in run if s.meta.start < stop and start < s.meta.stop]
        if near:
            marks = tuple(chain.from_iterable(s.tombstones for s in near))
            yield Source(segment_blocks(near, start, stop, reverse=reverse, keep=keep), marks)


def merge(
    sources: Sequence[Source], start: bytes, stop: bytes, *, reverse: bool = False
) -> Iterator[tuple[bytes, list[Piece]]]:
    """Yield objects in ``[start, stop)`` in order, each with its pieces, newest first.

    ``sources``: newest first. No piece follows one that is cleared.
    """
    for window in windows(sources, start, stop, reverse=reverse):
        yield from objects(window, reverse=reverse)


def objects(window: Window, *, reverse: bool = False) -> Iterator[tuple[bytes, list[Piece]]]:
    """Yield the objects of a window in the walk's order, each with its pieces, newest first."""
    if isinstance(window, Block):
        numbers = range(window.low, window.high)
        for at in reversed(numbers) if reverse else numbers:
            piece = window.piece(at)
            yield piece.name, [piece]
    else:
        for place in window:
            pieces = place.pieces or [place.block.piece(place.at)]
            yield pieces[0].name, pieces


def windows(
    sources: Sequence[Source], start: bytes, stop: bytes, *, reverse: bool = False
) -> Iterator[Window]:
    """Yield what `merge` yields, a window at a time."""
    cursors = []
    above: Tombstones = ()
    for source in sources:
        cursors.append(_Cursor(source.blocks, above, start, stop, reverse))
        above = range_tombstones.union(source.tombstones, above)
    while True:
        live = [cursor for cursor in cursors if cursor.fill()]
        if not live:
            return
        if len(live) == 1 and not live[0].hidden:
            yield live[0].take_all()
        else:
            yield _merged(live, reverse)


def _merged(cursors: list[_Cursor], reverse: bool) -> list[Place]:
    """Return what comes next in the order of objects, until the block of a cursor is used up.

    ``cursors``: of the newest layer first. Each stands at an object.
    """
    window: list[Place] = []
    used_up = False
    while not used_up:
        first = cursors[0]
        for cursor in cursors:
            if is_below(first.name, cursor.name) if reverse else is_below(cursor.name, first.name):
                first = cursor
        name = first.name
        place: Place | None = None
        for cursor in cursors:  # all that have this object, the newest first
            if cursor.name == name:
                if not cursor.hidden or not range_tombstones.covering(cursor.hidden, name):
                    if place is None:
                        place = place_of(cursor.block, cursor.at)
                        window.append(place)
                    else:
                        place.add_older(cursor.block, cursor.at)
                if not cursor.advance():
                    used_up = True
    return window


class _Cursor:
    """The current block of a source, and the object of it that comes next.

    ``hidden``: the range tombstones of newer layers.
    """

    __slots__ = ("_blocks", "_end", "_reverse", "_start", "_stop", "at", "block", "hidden", "name")

    def __init__(
        self,
        blocks: Iterator[Block],
        hidden: Tombstones,
        start: bytes,
        stop: bytes,
        reverse: bool,
    ) -> None:
        self._blocks = blocks
        self._start, self._stop, self._reverse = start, stop, reverse
        self._end = self.at = 0
        self.block = Block([], [], None)
        self.hidden = hidden
        self.name = b""

    def fill(self) -> bool:
        """Return whether there is more to come. Take the next block if this one is used up."""
        while self.at == self._end:
            block = next(self._blocks, None)
            if block is None:
                return False
            names = block.names
            low = 0 if self._start <= names[0] else bisect_left(names, self._start)
            high = len(names) if names[-1] < self._stop else bisect_left(names, self._stop)
            self.at, self._end = (high - 1, low - 1) if self._reverse else (low, high)
            self.block = block
            if low < high:
                self.name = names[self.at]
            else:
                self.at = self._end
        return True

    def advance(self) -> bool:
        """Go to the next object; return False if the block is used up."""
        self.at += -1 if self._reverse else 1
        if self.at == self._end:
            return False
        self.name = self.block.names[self.at]
        return True

    def take_all(self) -> Block:
        """Return the block, of which the rest belongs to the walk."""
        block, at, self.at = self.block, self.at, self._end
        if self._reverse:
            block.low, block.high = self._end + 1, at + 1
        else:
            block.low, block.high = at, self._end
        return block
