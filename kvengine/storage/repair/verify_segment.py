"""Verify one segment: every byte of it, every row, every figure that it states.

Sound: (1) header, blocks, chunks, fixed parts and footer lie one behind the
other, without a gap; (2) every checksum holds and everything decodes; (3)
objects ascend, block by block, from the first that the index states; (4) each
row lies where the directory of its block says; (5) the filter knows each
object; (6) the chunks of a large row follow its head, in the order of their
state keys; (7) the properties are what is counted.

What does not lie behind the part before it is reported and not read, so that a
forged index takes no more time than a sound one.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Generator, Iterator
from itertools import pairwise
from typing import NamedTuple

import msgspec

from kvengine.errors import CorruptionError
from kvengine.storage.names import decode_object, encode_object
from kvengine.storage.repair.recount import Recount
from kvengine.storage.row import Chunk, Row, is_sorted
from kvengine.storage.segment import block
from kvengine.storage.segment.format import FOOTER_SIZE, HEADER_SIZE, Handle
from kvengine.storage.segment.reader import SegmentReader

_ALL_PARTS = ("footer", "header", "filter", "tombstones", "index", "properties")
_split = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
"""The rows of a block, undecoded: what one takes is not always what it would take if encoded."""

Errors = Iterator[CorruptionError]


class _Block(NamedTuple):
    """A block as it lies on disk: heads of large rows name places behind their block."""

    offsets: list[int]
    sizes: list[int]
    first_row: int
    names: list[bytes]
    rows: list[Row]
    plain: bool


def verify_segment(segment: SegmentReader) -> Errors:
    """What is wrong with one segment, block by block."""
    return SegmentAudit(segment).errors()


class SegmentAudit:
    """One walk through a segment. ``objects`` and ``entries``: those that were read."""

    def __init__(
        self,
        segment: SegmentReader,
        *,
        known: Container[str] = _ALL_PARTS,
        advance: Callable[[int], None] | None = None,
    ) -> None:
        """``known``: the fixed parts that can be relied on.

        ``advance`` is told of each part of the file that was read, in bytes.
        """
        self._segment = segment
        self._known = known
        self._advance = advance or (lambda _: None)
        self._recount = Recount()
        self._edge, self._exact = HEADER_SIZE, True
        self._behind = HEADER_SIZE  # the end of the block being read: chunks count from there
        self._whole = "index" in known

    @property
    def objects(self) -> int:
        return self._recount.rows

    @property
    def entries(self) -> int:
        return self._recount.entries

    def errors(self) -> Errors:
        """Everything that does not hold, each as the error that says where."""
        last: bytes | None = None
        for at in range(self._segment.block_count):
            first, handle = self._segment.block_handle(at)
            yield from self._place(handle, f"block {at}")
            if handle.offset < self._edge:
                self._whole = False
                continue
            self._edge, self._exact = max(self._edge, handle.offset + handle.length), True
            self._behind = self._edge
            try:
                found = self._read(at, handle.offset)
            except CorruptionError as error:
                yield self._error(error.offset, error.reason)
                self._whole = self._exact = False
                continue
            finally:
                self._advance(handle.length)
            yield from self._order(handle.offset, first, last, found.names)
            yield from self._directory(handle.offset, found)
            for name, row, size in zip(found.names, found.rows, found.sizes, strict=True):
                yield from self._row(handle.offset, name, row, size)
            last = found.names[-1]
        yield from self._fixed_parts()
        yield from self._properties()

    def _place(self, handle: Handle, what: str) -> Errors:
        """Rule 1. Behind something unreadable the next part lies anywhere, but behind it."""
        if handle.offset < self._edge or (self._exact and handle.offset > self._edge):
            yield self._error(handle.offset, f"{what} does not begin at {self._edge}")

    def _read(self, at: int, offset: int) -> _Block:
        """Rule 2."""
        body = self._segment._body(at)
        try:
            directory, end = block.decode_directory(body)
            found = block.decode_rows(body)
        except ValueError as error:
            raise self._error(offset, str(error)) from None
        sizes = [len(row) for row in _split(body[:end])]
        return _Block(directory.offsets, sizes, end - sum(sizes), *found)

    def _order(self, offset: int, first: bytes, last: bytes | None, names: list[bytes]) -> Errors:
        """Rules 3 and 5."""
        if names[0] != first:
            yield self._error(offset, "the index states another first object")
        if (last is not None and names[0] <= last) or any(a >= b for a, b in pairwise(names)):
            yield self._error(offset, "objects are out of order")
        if "properties" in self._known:
            stated = self._segment.properties
            if min(names) < stated.start or max(names) >= stated.stop:
                yield self._error(offset, "objects outside the stated range")
        if not all(map(self._segment.may_hold, names)):
            yield self._error(offset, "filter does not know an object")
        if not all(map(_is_object, names)):
            yield self._error(offset, "an object is not encoded as one")

    def _directory(self, offset: int, found: _Block) -> Errors:
        """Rule 4, and whether the rows are as plain as the directory says."""
        place = found.first_row
        for stated, size in zip(found.offsets, found.sizes, strict=True):
            if stated != place:
                yield self._error(offset, f"a row at {place} of its block is stated at {stated}")
                break
            place += size
        if found.plain != all(map(block.is_plain, found.rows)):
            yield self._error(offset, "rows are plain, or are not, against what is stated")

    def _row(self, offset: int, name: bytes, row: Row, size: int) -> Errors:
        if row.chunks is not None:
            whole = yield from self._large(offset, row, row.chunks)
            if whole is None:
                self._whole = self._exact = False
                return
            row, size = whole, len(block.encode_row(whole))
        if not is_sorted(row.entries):
            yield self._error(offset, "entries are out of order")
        if any(row.entries.get(state_key) is None for state_key in row.ttls or ()):
            yield self._error(offset, "an expiry is stated for what has no value")
        self._recount.add(name, row, size)

    def _large(
        self, offset: int, head: Row, chunks: list[Chunk]
    ) -> Generator[CorruptionError, None, Row | None]:
        """Rule 6. The row in whole; None where it cannot be had."""
        if head.entries or head.ttls or not chunks:
            yield self._error(offset, "the head of a large row holds entries, or names no chunks")
        base, whole = self._behind, True
        entries: dict[str, bytes | None] = {}
        ttls: dict[str, int] = {}
        for chunk in chunks:
            handle = Handle(base + chunk.offset, chunk.length)
            yield from self._place(handle, f"the chunk from {chunk.first!r:.40}")
            if handle.offset < self._edge:
                return None
            self._edge = max(self._edge, handle.offset + handle.length)
            self._advance(handle.length)
            try:
                part = self._segment.chunk(Chunk(chunk.first, *handle, chunk.entries))
            except CorruptionError as error:
                yield self._error(error.offset, error.reason)
                whole = False
                continue
            yield from self._chunk(handle.offset, chunk, part, next(reversed(entries), None))
            entries.update(part.entries)
            ttls.update(part.ttls or {})
        if not whole:
            return None
        return Row(head.version, entries, head.cleared, head.extends, head.expires_at, ttls or None)

    def _chunk(
        self, offset: int, stated: Chunk, found: block.ChunkEntries, last: str | None
    ) -> Errors:
        keys = list(found.entries)
        if len(keys) != stated.entries or keys[:1] != [stated.first]:
            yield self._error(offset, "the head of the row describes another chunk")
        if last is not None and keys and keys[0] <= last:
            yield self._error(offset, "chunks are out of order")
        if not found.entries.keys() >= set(found.ttls or ()):
            yield self._error(offset, "an expiry is stated for an entry of another chunk")

    def _fixed_parts(self) -> Errors:
        """Rule 1 for what lies behind the blocks."""
        if "footer" not in self._known or "index" not in self._known:
            return
        stated, size = self._segment.footer, self._segment.size
        yield from self._place(stated.filter, "the filter")
        parts = (stated.filter, stated.tombstones, stated.block_index, stated.properties)
        for one, following in pairwise((*parts, Handle(size - FOOTER_SIZE, FOOTER_SIZE))):
            self._edge, self._exact = one.offset + one.length, True
            yield from self._place(following, "the part of the file that follows")
        self._advance(size - stated.filter.offset + HEADER_SIZE)

    def _properties(self) -> Errors:
        """Rule 7; only where all could be read."""
        segment, needed = self._segment, ("properties", "tombstones", "footer")
        if self._whole and all(part in self._known for part in needed):
            for fault in self._recount.faults(segment.properties, segment.tombstones):
                yield self._error(segment.footer.properties.offset, fault)

    def _error(self, offset: int, reason: str) -> CorruptionError:
        return CorruptionError(self._segment.path, offset, reason)


def _is_object(encoded: bytes) -> bool:
    """Whether it is an object, and in the one form that an object has."""
    try:
        return encode_object(*decode_object(encoded)) == encoded
    except ValueError:
        return False
