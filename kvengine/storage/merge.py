"""Walking several layers at once, in the order of objects, a block at a time.

Each source gives blocks of (names, rows). The merge takes from every source
all rows up to a bound that no block reaches beyond, so most of the work is
slicing lists and one sort of already sorted runs, at C speed. What newer
tombstones cover is left out: a layer's tombstones reach strictly older layers.
Listings, scans and compactions all walk with it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from kvengine.storage import range_tombstones as tombstones
from kvengine.storage.memtable import Memtable
from kvengine.storage.names import encode_object, least_name
from kvengine.storage.range_tombstones import Tombstones
from kvengine.storage.row import Row, overlay_rows
from kvengine.storage.segment.reader import LiveSegment, SegmentReader

_WINDOW = 256


class Piece(NamedTuple):
    """What one layer says of an object; ``segment`` loads the row if it is a head of chunks."""

    row: Row
    segment: SegmentReader | None

    def whole(self) -> Row:
        """The row with all its entries."""
        return self.row if self.segment is None else self.segment.load(self.row)


class Block(NamedTuple):
    """Encoded objects in order, their rows, where they came from, whether all are plain."""

    names: Sequence[bytes]
    rows: Sequence[Row]
    segment: SegmentReader | None
    plain: bool = False


class Source(NamedTuple):
    """One layer to walk: its blocks, in the direction of the walk, and its tombstones."""

    blocks: Iterator[Block]
    tombstones: Tombstones


def segment_blocks(
    segments: Sequence[SegmentReader],
    start: bytes,
    stop: bytes,
    *,
    reverse: bool = False,
    names_only: bool = False,
) -> Iterator[Block]:
    """Blocks of disjoint segments, in order, that may hold objects in ``[start, stop)``."""
    for one in reversed(segments) if reverse else segments:
        if reverse:
            found = one.blocks_before(stop, names_only=names_only)
        else:
            found = one.blocks_from(start, stop, names_only=names_only)
        for names, rows, plain in found:
            yield Block(names, rows, one, plain)
            if reverse and names[0] < start:
                break


def memtable_blocks(
    memtable: Memtable, start: bytes, stop: bytes, stamp: int, *, reverse: bool = False
) -> Iterator[Block]:
    """Rows of a memtable as of a stamp, a window at a time."""
    low = least_name(start)
    edge = least_name(stop)
    while low is not None:
        if reverse:
            names = memtable.names_before(edge, _WINDOW)
        else:
            names = memtable.names_from(low, _WINDOW)
        if not names:
            return
        found: list[tuple[bytes, Row]] = []
        for name in reversed(names) if reverse else names:
            state, _ = memtable.find(name, stamp)
            if state is not None:
                found.append((encode_object(*name), overlay_rows(state.rows)))
        if found:
            yield Block([name for name, _ in found], [row for _, row in found], None)
        last = names[-1]
        if encode_object(*last) < start if reverse else encode_object(*last) >= stop:
            return
        edge, low = last, (last[0], last[1] + "\0")


def merge(
    sources: Sequence[Source], start: bytes, stop: bytes, *, reverse: bool = False
) -> Iterator[tuple[bytes, list[Piece]]]:
    """Objects in ``[start, stop)`` in order, each with its pieces, newest first.

    ``sources`` newest first. Pieces below one that is cleared may be given too.
    """
    for window in windows(sources, start, stop, reverse=reverse):
        if isinstance(window, Block):
            names, rows, segment, _ = window
            for name, row in zip(names, rows, strict=True):
                yield name, [Piece(row, segment)]
        else:
            yield from window


def windows(
    sources: Sequence[Source], start: bytes, stop: bytes, *, reverse: bool = False
) -> Iterator[Block | list[tuple[bytes, list[Piece]]]]:
    """`merge` by the window: a `Block` where only one layer has anything to say."""
    cursors = [_Cursor(source.blocks, start, stop, reverse) for source in sources]
    hidden: list[Tombstones] = []
    above: Tombstones = ()
    for source in sources:
        hidden.append(above)
        above = tombstones.union(source.tombstones, above)
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
                if not covers or not tombstones.covering(covers, name):
                    window.setdefault(name, []).append(piece)
        yield [(name, window[name]) for name in sorted(window, reverse=reverse)]


class _Cursor:
    """A source's current block and what of it is still to come."""

    def __init__(self, blocks: Iterator[Block], start: bytes, stop: bytes, reverse: bool) -> None:
        self._blocks = blocks
        self._start, self._stop, self._reverse = start, stop, reverse
        self._names: Sequence[bytes] = ()
        self._rows: Sequence[Row] = ()
        self._segment: SegmentReader | None = None
        self._plain = False
        self._low = self._high = 0

    def fill(self) -> bool:
        """Whether there is anything to come; takes the next block where the current is used up."""
        while self._low >= self._high:
            block = next(self._blocks, None)
            if block is None:
                return False
            self._names, self._rows, self._segment, self._plain = block
            self._low = bisect_left(self._names, self._start)
            self._high = bisect_left(self._names, self._stop)
        return True

    @property
    def edge(self) -> bytes:
        """The last object of the current block, in the direction of the walk."""
        return self._names[self._low] if self._reverse else self._names[self._high - 1]

    def take(self, bound: bytes) -> Iterator[tuple[bytes, Piece]]:
        """What lies at or before ``bound`` in the direction of the walk."""
        if self._reverse:
            low = bisect_left(self._names, bound, self._low, self._high)
            span, self._high = range(low, self._high), low
        else:
            high = bisect_right(self._names, bound, self._low, self._high)
            span, self._low = range(self._low, high), high
        return ((self._names[i], Piece(self._rows[i], self._segment)) for i in span)

    def take_all(self) -> Block:
        """The rest of the block, in the direction of the walk."""
        low, high = self._low, self._high
        self._low = high
        names, rows = self._names[low:high], self._rows[low:high]
        if self._reverse:
            names, rows = names[::-1], rows[::-1]
        return Block(names, rows, self._segment, self._plain)


def level_sources(
    levels: Sequence[Sequence[LiveSegment]],
    start: bytes,
    stop: bytes,
    *,
    reverse: bool = False,
    names_only: bool = False,
) -> Iterator[Source]:
    """Sources of all segments, newest first: each of level 0 alone, further levels as one."""
    runs = chain([[one] for one in levels[0]], levels[1:])
    for run in runs:
        near = [s for s in run if s.meta.start < stop and start < s.meta.stop]
        if near:
            marks = tuple(chain.from_iterable(s.tombstones for s in near))
            found = segment_blocks(near, start, stop, reverse=reverse, names_only=names_only)
            yield Source(found, marks)
