"""Walking several layers at once, in the order of objects, a block at a time.

Each source gives blocks of (names, rows). The merge takes from every source all rows up to a bound
that no block exceeds, so most of the work is slicing lists and one sort of runs that are
sorted already, at C speed. What newer tombstones cover is left out: a layer's tombstones reach
strictly older layers. Listings, scans and compactions all walk with it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple, TypeVar

from kvengine.storage import range_tombstones
from kvengine.storage.memtable import Memtable
from kvengine.storage.names import Name, encode_object, least_name
from kvengine.storage.range_tombstones import Tombstones
from kvengine.storage.read import Piece
from kvengine.storage.row import CLEARED, Row, decode_many, fold
from kvengine.storage.segment.block import RowBlock
from kvengine.storage.segment.reader import LiveSegment, SegmentReader

_T = TypeVar("_T")

FIRST_WINDOW = 16
_LARGEST_WINDOW = 256


class Block:
    """Encoded objects in order, their encoded rows, and the segment they came from, if any.

    The rows of a whole block of a segment are split only if they are asked for: a scan decodes
    them all in one call instead.
    """

    __slots__ = ("_made", "_rows", "names", "segment")

    def __init__(
        self,
        names: Sequence[bytes],
        rows: Sequence[bytes] | RowBlock,
        segment: SegmentReader | None,
    ) -> None:
        self.names = names
        self._rows = rows
        self.segment = segment
        self._made: Sequence[bytes] | None = None

    @property
    def rows(self) -> Sequence[bytes]:
        """The rows, in the order of their objects."""
        if not isinstance(self._rows, RowBlock):
            return self._rows
        if self._made is None:
            self._made = self._checked(lambda: self._rows.rows)  # type: ignore[union-attr]
        return self._made

    def decode(self) -> list[Row]:
        """Return the decoded rows; CorruptionError if those of a segment are damaged."""
        found = self._rows
        if isinstance(found, RowBlock):
            return self._checked(found.decode)
        return self._checked(partial(decode_many, found))

    def part(self, low: int, high: int, reverse: bool) -> Block:
        """Return the objects from number ``low`` to before ``high``, in reverse if asked for."""
        if not reverse and high - low == len(self.names):
            return self
        names, rows = self.names[low:high], self.rows[low:high]
        if reverse:
            names, rows = names[::-1], rows[::-1]
        return Block(names, rows, self.segment)

    def _checked(self, make: Callable[[], _T]) -> _T:
        try:
            return make()
        except ValueError as error:
            if self.segment is None:
                raise
            raise self.segment.damaged(self.names[0], error) from None


class Source(NamedTuple):
    """One layer to walk: its blocks, in the direction of the walk, and its tombstones."""

    blocks: Iterator[Block]
    tombstones: Tombstones


Window = Block | list[tuple[bytes, list[Piece]]]
"""A part of a walk: a block if only one layer has anything there, else objects with pieces."""


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
            yield Block(block.names, block, segment)
            if reverse and block.names[0] < start:
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
        window = min(window * 4, _LARGEST_WINDOW)


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
        if isinstance(window, Block):
            for name, row in zip(window.names, window.rows, strict=True):
                yield name, [Piece(row, window.segment, name)]
        else:
            yield from window


def windows(
    sources: Sequence[Source], start: bytes, stop: bytes, *, reverse: bool = False
) -> Iterator[Window]:
    """Yield what `merge` yields, a window at a time."""
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
    """The current block of a source, and the part of it that is still to come."""

    def __init__(self, blocks: Iterator[Block], start: bytes, stop: bytes, reverse: bool) -> None:
        self._blocks = blocks
        self._start, self._stop, self._reverse = start, stop, reverse
        self._block = Block((), (), None)
        self._low = self._high = 0

    def fill(self) -> bool:
        """Return whether there is more to come. Take the next block if this one is used up."""
        while self._low >= self._high:
            block = next(self._blocks, None)
            if block is None:
                return False
            self._block = block
            names = block.names
            self._low = 0 if self._start <= names[0] else bisect_left(names, self._start)
            self._high = len(names) if names[-1] < self._stop else bisect_left(names, self._stop)
        return True

    @property
    def edge(self) -> bytes:
        """The last object of the current block, in the direction of the walk."""
        names = self._block.names
        return names[self._low] if self._reverse else names[self._high - 1]

    def take(self, bound: bytes) -> Iterator[tuple[bytes, Piece]]:
        """Yield what lies at or before ``bound`` in the direction of the walk."""
        names, rows, segment = self._block.names, self._block.rows, self._block.segment
        if self._reverse:
            low = bisect_left(names, bound, self._low, self._high)
            span, self._high = range(low, self._high), low
        else:
            high = bisect_right(names, bound, self._low, self._high)
            span, self._low = range(self._low, high), high
        return ((names[i], Piece(rows[i], segment, names[i])) for i in span)

    def take_all(self) -> Block:
        """Return the rest of the block, in the direction of the walk."""
        low, high = self._low, self._high
        self._low = high
        return self._block.part(low, high, self._reverse)
