"""Verify one segment: every byte of it, every row, every figure that it states.

Sound: (1) header, blocks, chunks, fixed parts and footer lie one behind the
other, without a gap; (2) every checksum holds, and blocks, rows and chunks are
as they are written (`RowBlock.check`, `row.check`); (3) objects ascend, block by
block, from the first that the index states; (4) the entries of a row ascend, and
its version is not above the last stamp that the segment states; (5) the filter
is of the database and lets each object, each entry and each barrier through;
(6) the chunks of a large row follow its head, in the order of their state keys,
are as the head states them, and contain nothing that its flags do not state;
(7) the properties are what is counted.

A part that does not lie behind the part before it is reported and not read, so
that a forged index takes no more time than a sound one.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Generator, Iterable, Iterator
from itertools import pairwise

from kvengine.errors import CorruptionError
from kvengine.storage.repair.recount import Recount
from kvengine.storage.row import (
    BARRIER,
    ENTRY_TTLS,
    LARGE,
    TOMBSTONES,
    Chunk,
    Entry,
    Row,
    check,
    encode,
    is_sorted,
)
from kvengine.storage.segment.filter import barrier_digest, entry_digest, object_digest
from kvengine.storage.segment.format import FOOTER_SIZE, HEADER_SIZE, Handle
from kvengine.storage.segment.reader import SegmentReader

_ALL_PARTS = ("footer", "header", "filter", "tombstones", "index", "properties")

Errors = Iterator[CorruptionError]


def verify_segment(segment: SegmentReader, seed: int | None = None) -> Errors:
    """Yield what is wrong with one segment, block by block. ``seed``: see `SegmentAudit`."""
    return SegmentAudit(segment, seed=seed).errors()


class SegmentAudit:
    """One walk through a segment. ``objects`` and ``entries``: how many were read."""

    def __init__(
        self,
        segment: SegmentReader,
        *,
        known: Container[str] = _ALL_PARTS,
        seed: int | None = None,
        advance: Callable[[int], None] | None = None,
    ) -> None:
        """``known``: the fixed parts that can be relied on.

        ``seed``: of the filters of its database, None if that is not known. ``advance`` is called
        for each part of the file that was read, with its length in bytes.
        """
        self._segment = segment
        self._known = known
        self._seed = seed
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
        """Yield an error for each rule that is broken, which says where."""
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
                names, rows = self._segment.rows_of(at)
            except CorruptionError as error:
                yield self._error(error.offset, error.reason)
                self._whole = self._exact = False
                continue
            finally:
                self._advance(handle.length)
            yield from self._objects(handle.offset, first, last, names)
            for name, data in zip(names, rows, strict=True):
                yield from self._row(handle.offset, name, data)
            last = names[-1]
        yield from self._fixed_parts()
        yield from self._properties()

    def _place(self, handle: Handle, what: str) -> Errors:
        """Yield errors of rule 1. A part may lie anywhere behind one that could not be read."""
        if handle.offset < self._edge or (self._exact and handle.offset > self._edge):
            yield self._error(handle.offset, f"{what} does not begin at {self._edge}")

    def _objects(self, offset: int, first: bytes, last: bytes | None, names: list[bytes]) -> Errors:
        """Yield errors of rule 3. Within a block the objects were checked when it was read."""
        if names[0] != first:
            yield self._error(offset, "the index states another first object")
        if last is not None and names[0] <= last:
            yield self._error(offset, "objects are out of order")
        if "properties" in self._known:
            stated = self._segment.properties
            if names[0] < stated.start or names[-1] >= stated.stop:
                yield self._error(offset, "objects outside the stated range")

    def _row(self, offset: int, name: bytes, data: bytes) -> Errors:
        """Yield errors of rules 2, 4 and 5 for one row."""
        try:
            row = check(data)
        except ValueError as error:
            yield self._error(offset, str(error))
            self._whole = self._exact = False
            return
        digest = object_digest(name, self._segment.seed)
        if not self._segment.may_hold(digest):
            yield self._error(offset, "filter does not know an object")
        if row.flags & BARRIER and not self._segment.may_hold(barrier_digest(digest)):
            yield self._error(offset, "filter does not know a barrier")
        if "properties" in self._known and row.version > self._segment.properties.last_stamp:
            yield self._error(offset, "a row is newer than the last stamp of the segment")
        if row.chunks is not None:
            whole = yield from self._large(digest, row, row.chunks)
            if whole is None:
                self._whole = self._exact = False
                return
            row, data = whole, encode(whole)
        else:
            yield from self._entries(offset, digest, row.entries)
        self._recount.add(name, row, len(data))

    def _entries(self, offset: int, digest: int, entries: Iterable[str]) -> Errors:
        """Yield errors of rules 4 and 5 for the entries of a row or a chunk."""
        if not is_sorted(entries):
            yield self._error(offset, "entries are out of order")
        may_hold = self._segment.may_hold
        if not all(may_hold(entry_digest(state_key, digest)) for state_key in entries):
            yield self._error(offset, "filter does not know an entry")

    def _large(
        self, digest: int, head: Row, chunks: list[Chunk]
    ) -> Generator[CorruptionError, None, Row | None]:
        """Yield errors of rule 6. Return the whole row, None if a part cannot be read."""
        base, whole = self._behind, True
        entries: dict[str, Entry] = {}
        for stated in chunks:
            chunk = Chunk(stated.first, base + stated.offset, stated.length, stated.entries)
            handle = Handle(chunk.offset, chunk.length)
            yield from self._place(handle, f"the chunk from {chunk.first!r:.40}")
            if handle.offset < self._edge:
                return None
            self._edge = max(self._edge, handle.offset + handle.length)
            self._advance(handle.length)
            try:
                part = check(self._segment.chunk_bytes(chunk))
            except (CorruptionError, ValueError) as error:
                reason = error.reason if isinstance(error, CorruptionError) else str(error)
                yield self._error(handle.offset, reason)
                whole = False
                continue
            yield from self._chunk(chunk, head, part, next(reversed(entries), None))
            yield from self._entries(handle.offset, digest, part.entries)
            entries.update(part.entries)
        if not whole:
            return None
        return Row(head.flags & ~LARGE, head.version, head.expires_at, entries, head.completed_at)

    def _chunk(self, stated: Chunk, head: Row, found: Row, last: str | None) -> Errors:
        """Yield errors of rule 6 for one chunk, which lies behind the entry ``last``."""
        offset, keys = stated.offset, list(found.entries)
        if len(keys) != stated.entries or keys[:1] != [stated.first]:
            yield self._error(offset, "the head of the row describes another chunk")
        if last is not None and keys and keys[0] <= last:
            yield self._error(offset, "chunks are out of order")
        if found.version != head.version or found.completed_at is not None:
            yield self._error(offset, "a chunk is of another row than its head")
        if found.flags & ~(head.flags & (ENTRY_TTLS | TOMBSTONES)):
            yield self._error(offset, "a chunk holds what the flags of its row do not tell")

    def _fixed_parts(self) -> Errors:
        """Yield errors of rule 1 for what lies behind the blocks."""
        if "footer" not in self._known or "index" not in self._known:
            return
        stated, size = self._segment.footer, self._segment.size
        if "filter" in self._known and self._seed not in (None, self._segment.seed):
            yield self._error(stated.filter.offset, "the filter is of another database")
        yield from self._place(stated.filter, "the filter")
        parts = (stated.filter, stated.tombstones, stated.block_index, stated.properties)
        for part, following in pairwise((*parts, Handle(size - FOOTER_SIZE, FOOTER_SIZE))):
            self._edge, self._exact = part.offset + part.length, True
            yield from self._place(following, "the part of the file that follows")
        self._advance(size - stated.filter.offset + HEADER_SIZE)

    def _properties(self) -> Errors:
        """Yield errors of rule 7, if everything could be read."""
        segment, needed = self._segment, ("properties", "tombstones", "footer")
        if self._whole and all(part in self._known for part in needed):
            for fault in self._recount.faults(segment.properties, segment.tombstones):
                yield self._error(segment.footer.properties.offset, fault)

    def _error(self, offset: int, reason: str) -> CorruptionError:
        return CorruptionError(self._segment.path, offset, reason)
