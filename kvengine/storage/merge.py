"""Walking several layers at once, in the order of objects, a block at a time.

Each source gives blocks of (names, rows). The merge takes from every source all rows up to a bound
that no block reaches beyond, so most of the work is slicing lists and one sort of runs that are
sorted already, at C speed. What newer tombstones cover is left out: a layer's tombstones reach
strictly older layers. Listings, scans and compactions all walk with it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from kvengine.storage import range_tombstones
from kvengine.storage.memtable import Memtable
from kvengine.storage.names import Name, encode_object, least_name
from kvengine.storage.range_tombstones import Tombstones
from kvengine.storage.read import Piece
from kvengine.storage.row import CLEARED, Row, decode_many, fold
from kvengine.storage.segment.reader import LiveSegment, SegmentReader

FIRST_WINDOW = 16
_LARGEST_WINDOW = 256


class Block(NamedTuple):
    """Encoded objects in order, their encoded rows, and the segment they came from, if any."""

    names: Sequence[bytes]
    rows: Sequence[bytes]
    segment: SegmentReader | None

    def decode(self) -> list[Row]:
        """Return the rows decoded; CorruptionError where a segment's are damaged."""
        try:
            return decode_many(self.rows)
        except ValueError as error:
            if self.segment is None:
                raise
            raise self.segment.damaged(self.names[0], error) from None


class Source(NamedTuple):
    """One layer to walk: its blocks, in the direction of the walk, and its tombstones."""

    blocks: Iterator[Block]
    tombstones: Tombstones


Window = Block | list[tuple[bytes, list[Piece]]]
"""A part of a walk: a block where only one layer has anything to say, else objects and pieces."""


def segment_blocks(
    segments: Sequence[SegmentReader], start: bytes, stop: bytes, *, reverse: bool = False
) -> Iterator[Block]:
    """Yield blocks of disjoint segments, in order, that may hold objects in ``[start, stop)``."""
    for segment in reversed(segments) if reverse else segments:
        found = segment.blocks_before(stop) if reverse else segment.blocks_from(start, stop)
        for block in found:
            names = block.names
            yield Block(names, block.rows, segment)
            if reverse and names[0] < start:
                break


def memtable_blocks(
    memtable: Memtable,
    start: bytes,
    stop: bytes,
    stamp: int | None,
    *,
    reverse: bool = False,
    window: int = _LARGEST_WINDOW,
) -> Iterator[Block]:
    """Yield rows of a memtable as of a stamp, ``window`` names at first, then more at a time."""
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
        window = min(window * 4, _LARGEST_WINDOW)


def _block_of(memtable: Memtable, names: Sequence[Name], stamp: int | None) -> Iterator[Block]:
    encoded: list[bytes] = []
    rows: list[bytes] = []
    for name in names:
        state, _ = memtable.find(name, stamp)
        if state is not None:
            encoded.append(encode_object(*name))
            rows.append(fold(state.rows))
    if rows:
        yield Block(encoded, rows, None)


def level_sources(
    levels: Sequence[Sequence[LiveSegment]], start: bytes, stop: bytes, *, reverse: bool = False
) -> Iterator[Source]:
    """Yield sources of all segments, newest first: each of level 0, each further level as one."""
    runs = chain([[segment] for segment in levels[0]], levels[1:])
    for run in runs:
        near = [s for s in run if s.meta.start < stop and start < s.meta.stop]
        if near:
            marks = tuple(chain.from_iterable(s.tombstones for s in near))
            yield Source(segment_blocks(near, start, stop, reverse=reverse), marks)


def merge(
    sources: Sequence[Source], start: bytes, stop: bytes, *, reverse: bool = False
) -> Iterator[tuple[bytes, list[Piece]]]:
    """Yield objects in ``[start, stop)`` in order, each with its pieces, newest first.

    ``sources`` newest first. No piece stands behind one that is cleared.
    """
    for window in windows(sources, start, stop, reverse=reverse):
        if isinstance(window, Block):
            names, rows, segment = window
            for name, row in zip(names, rows, strict=True):
                yield name, [Piece(row, segment, name)]
        else:
            yield from window


def windows(
    sources: Sequence[Source], start: bytes, stop: bytes, *, reverse: bool = False
) -> Iterator[Window]:
    """Yield the same as `merge` by the window."""
    cursors = [_Cursor(source.blocks, start, stop, reverse) for source in sources]
    hidden: list[Tombstones] = []
    above: Tombstones = ()
    for source in sources:
        hidden.append(above)
        above = range_tombstones.union(source.tombstones, above)
    while True:
        live = [(cursor, hidden[i]) for i, cursor in enumerate(cursors) if cursor.fill()]
        if not live:
            return
        if len(live) == 1 and not live[0][1]:
            yield live[0][0].take_all()
            continue
        ends = [cursor.edge for cursor, _ in live]
        bound = max(ends) if reverse else min(ends)
        window: dict[bytes, list[Piece]] = {}
        for cursor, covers in live:
            for name, piece in cursor.take(bound):
                pieces = window.get(name)
                if covers and range_tombstones.covering(covers, name):
                    continue
                if pieces is None:
                    window[name] = [piece]
                elif not pieces[-1].row[1] & CLEARED:
                    pieces.append(piece)
        yield [(name, window[name]) for name in sorted(window, reverse=reverse)]


class _Cursor:
    """A source's current block and what of it is still to come."""

    def __init__(self, blocks: Iterator[Block], start: bytes, stop: bytes, reverse: bool) -> None:
        self._blocks = blocks
        self._start, self._stop, self._reverse = start, stop, reverse
        self._names: Sequence[bytes] = ()
        self._rows: Sequence[bytes] = ()
        self._segment: SegmentReader | None = None
        self._low = self._high = 0

    def fill(self) -> bool:
        """Return whether there is anything to come; take the next block where this is used up."""
        while self._low >= self._high:
            block = next(self._blocks, None)
            if block is None:
                return False
            self._names, self._rows, self._segment = block
            self._low = bisect_left(self._names, self._start)
            self._high = bisect_left(self._names, self._stop)
        return True

    @property
    def edge(self) -> bytes:
        """The last object of the current block, in the direction of the walk."""
        return self._names[self._low] if self._reverse else self._names[self._high - 1]

    def take(self, bound: bytes) -> Iterator[tuple[bytes, Piece]]:
        """Yield what lies at or before ``bound`` in the direction of the walk."""
        if self._reverse:
            low = bisect_left(self._names, bound, self._low, self._high)
            span, self._high = range(low, self._high), low
        else:
            high = bisect_right(self._names, bound, self._low, self._high)
            span, self._low = range(self._low, high), high
        names, rows, segment = self._names, self._rows, self._segment
        return ((names[i], Piece(rows[i], segment, names[i])) for i in span)

    def take_all(self) -> Block:
        """Return the rest of the block, in the direction of the walk."""
        low, high = self._low, self._high
        self._low = high
        names, rows = self._names[low:high], self._rows[low:high]
        if self._reverse:
            names, rows = names[::-1], rows[::-1]
        return Block(names, rows, self._segment)
