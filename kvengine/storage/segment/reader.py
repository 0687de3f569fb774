"""Reading a segment: one row by filter, index and block; all rows block by block."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec

from kvengine.errors import CorruptionError
from kvengine.fs.base import FileSystem
from kvengine.storage import filenames
from kvengine.storage.checksum import place_seed, unseal
from kvengine.storage.manifest.format import SegmentMeta
from kvengine.storage.row import Chunk, Row
from kvengine.storage.segment import block, filter
from kvengine.storage.segment import format as segment
from kvengine.storage.segment.format import Handle

_T = TypeVar("_T")

RowsBlock = tuple[list[bytes], list[Row], bool]
"""Encoded objects, their rows, and whether the rows are plain (see format/block.py)."""


class SegmentReader:
    """An open segment. Immutable; thread-safe; the file is closed with the last reference.

    Index, filter and tombstones are in memory; every block is checked against
    its checksum and its place each time it is read.
    """

    __slots__ = (
        "_file",
        "_filter",
        "_index",
        "file_id",
        "footer",
        "path",
        "properties",
        "size",
        "tombstones",
    )

    def __init__(self, fs: FileSystem, path: str) -> None:
        """CorruptionError where the file is missing or its fixed parts are damaged."""
        self.path = path
        try:
            self._file = fs.open(path)
        except FileNotFoundError:
            raise CorruptionError(path, 0, "segment is missing") from None
        self.size = self._file.size()
        tail_at = max(0, self.size - segment.FOOTER_SIZE)
        tail = self._file.pread(segment.FOOTER_SIZE, tail_at)
        self.footer = self._checked(tail_at, lambda: segment.decode_footer(tail, self.size))
        self.file_id = self.footer.file_id
        head = self._file.pread(segment.HEADER_SIZE, 0)
        if self._checked(0, lambda: segment.decode_header(head)) != self.file_id:
            raise CorruptionError(path, 0, "header and footer are of different files")
        self._filter = self._part(self.footer.filter, block.FILTER, filter.decode)
        self.tombstones = self._part(
            self.footer.tombstones, block.TOMBSTONES, segment.decode_tombstones
        )
        self._index = self._part(self.footer.block_index, block.INDEX, segment.decode_index)
        self.properties = self._part(
            self.footer.properties, block.PROPERTIES, segment.decode_properties
        )

    def find(self, name: bytes) -> Row | None:
        """The row of an encoded object. A large row comes as its head (see `load`)."""
        if not self._filter.may_hold(name):
            return None
        index = self._index
        at = bisect_right(index.firsts, name) - 1
        if at < 0:
            return None
        offset = index.offsets[at]
        body = self._unsealed(offset, index.lengths[at], block.ROWS)
        try:
            row = block.find_row(body, name)
        except ValueError as error:
            raise CorruptionError(self.path, offset, str(error)) from None
        return row if row is None or row.chunks is None else self._placed(row, at)

    def may_hold(self, name: bytes) -> bool:
        """Whether the filter lets an encoded object through."""
        return self._filter.may_hold(name)

    def load(self, row: Row) -> Row:
        """A row found here, with all of its entries."""
        if row.chunks is None:
            return row
        entries: dict[str, bytes | None] = {}
        ttls: dict[str, int] = {}
        for chunk in row.chunks:
            part = self.chunk(chunk)
            entries.update(part.entries)
            ttls.update(part.ttls or {})
        return msgspec.structs.replace(row, entries=entries, ttls=ttls or None, chunks=None)

    def chunk(self, chunk: Chunk) -> block.ChunkEntries:
        """A part of a large row's entries."""
        handle = Handle(chunk.offset, chunk.length)
        return self._part(handle, block.CHUNK, block.decode_chunk)

    def chunk_of(self, row: Row, state_key: str) -> block.ChunkEntries | None:
        """The only part of a large row's entries that may hold ``state_key``."""
        chunks = row.chunks or []
        at = bisect_right(chunks, state_key, key=_first) - 1
        return self.chunk(chunks[at]) if at >= 0 else None

    def blocks_from(
        self, start: bytes, stop: bytes | None = None, *, names_only: bool = False
    ) -> Iterator[RowsBlock]:
        """Blocks in order, from the one that may hold ``start`` to the last below ``stop``."""
        firsts = self._index.firsts
        at = max(0, bisect_right(firsts, start) - 1)
        while at < len(firsts) and (stop is None or firsts[at] < stop):
            yield self.read_block(at, names_only=names_only)
            at += 1

    def blocks_before(self, stop: bytes, *, names_only: bool = False) -> Iterator[RowsBlock]:
        """Blocks in reverse order, from the last that begins below ``stop``; rows in order."""
        at = bisect_right(self._index.firsts, stop) - 1
        while at >= 0:
            yield self.read_block(at, names_only=names_only)
            at -= 1

    @property
    def block_count(self) -> int:
        return len(self._index.firsts)

    def block_handle(self, at: int) -> tuple[bytes, Handle]:
        """First encoded object and place of block number ``at``."""
        return self._index.firsts[at], Handle(self._index.offsets[at], self._index.lengths[at])

    def extent(self, start: bytes, stop: bytes) -> tuple[float, int]:
        """About which share of the rows lies in ``[start, stop)``, and in how many bytes.

        From the index alone: a block counts whole or not at all, chunks behind it included.
        """
        index = self._index
        low = max(0, bisect_right(index.firsts, start) - 1)
        high = bisect_left(index.firsts, stop)
        if high <= low:
            return 0.0, 0
        ends = [*index.offsets[high : high + 1], self.footer.filter.offset]
        return (high - low) / len(index.firsts), max(0, ends[0] - index.offsets[low])

    def read_block(self, at: int, *, names_only: bool = False) -> RowsBlock:
        """Block number ``at``, decoded (see `block.decode_rows`)."""
        body = self._body(at)
        names, rows, plain = self._checked(
            self._index.offsets[at], lambda: block.decode_rows(body, names_only=names_only)
        )
        if not plain:
            rows = [row if row.chunks is None else self._placed(row, at) for row in rows]
        return names, rows, plain

    def _placed(self, row: Row, at: int) -> Row:
        """A head with its chunks' offsets in the file, which follow the head's block."""
        base = self._index.offsets[at] + self._index.lengths[at]
        chunks = [
            Chunk(chunk.first, base + chunk.offset, chunk.length, chunk.entries)
            for chunk in row.chunks or ()
        ]
        return msgspec.structs.replace(row, chunks=chunks)

    def _body(self, at: int) -> memoryview:
        offset, length = self._index.offsets[at], self._index.lengths[at]
        return self._unsealed(offset, length, block.ROWS)

    def _part(self, handle: Handle, kind: int, decode: Callable[[memoryview], _T]) -> _T:
        body = self._unsealed(handle.offset, handle.length, kind)
        return self._checked(handle.offset, lambda: decode(body))

    def _unsealed(self, offset: int, length: int, kind: int) -> memoryview:
        if not 0 < length <= self.size or not 0 <= offset <= self.size - length:
            raise CorruptionError(self.path, offset, "block lies outside its file")
        data = self._file.pread(length, offset)
        try:
            body, codec = unseal(data, kind, place_seed(self.file_id, offset))
            if codec != block.PLAIN:
                raise ValueError(f"block has unknown codec {codec}")
        except ValueError as error:
            raise CorruptionError(self.path, offset, str(error)) from None
        return body

    def _checked(self, offset: int, decode: Callable[[], _T]) -> _T:
        try:
            return decode()
        except ValueError as error:
            raise CorruptionError(self.path, offset, str(error)) from None


class LiveSegment(SegmentReader):
    """A segment as the manifest states it: its number, level and identity."""

    __slots__ = ("meta", "start", "stop")

    def __init__(self, fs: FileSystem, directory: str, meta: SegmentMeta) -> None:
        """CorruptionError where the file is not the one that the manifest means."""
        super().__init__(fs, filenames.join(directory, filenames.segment(meta.number)))
        if self.file_id != meta.file_id or self.size != meta.size:
            raise CorruptionError(self.path, 0, "this is not the segment that the manifest names")
        if self.properties != meta.properties:
            raise CorruptionError(self.path, 0, "properties differ from the manifest's")
        self.meta = meta
        self.start, self.stop = meta.start, meta.stop


def _first(chunk: Chunk) -> str:
    return chunk.first
