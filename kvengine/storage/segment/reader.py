"""Reading a segment: one row by filter, index and block; all rows block by block."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import TypeVar

from kvengine.errors import CorruptionError
from kvengine.fs.base import FileSystem
from kvengine.fs.disk import DiskFile
from kvengine.storage import filenames
from kvengine.storage import row as rows
from kvengine.storage.checksum import TRAILER_SIZE, check_block
from kvengine.storage.frames import Frames, OpenSegment
from kvengine.storage.manifest.format import SegmentMeta
from kvengine.storage.packed import find
from kvengine.storage.range_tombstones import Tombstones
from kvengine.storage.row import LARGE, MISSING, Chunk, Entry, Missing, Row
from kvengine.storage.segment import block, filter
from kvengine.storage.segment import format as segment
from kvengine.storage.segment.block import Map, RowBlock, checked_rows, mapped_rows
from kvengine.storage.segment.format import Handle

_T = TypeVar("_T")

_first = attrgetter("first")
_OUTSIDE = "block lies outside its file"
_FIRST_RUN, _LONGEST_RUN = 8192, 65536
"""A walk reads so many bytes of blocks at once at first, and at most."""
_SAMPLE = 256
"""Blocks of one segment, besides two at the ends, that are read to estimate what a range holds.

Where objects of all sizes are mixed, blocks hold from 2 to 60 rows: 32 of them were off by half."""
_UNCOMPRESSED = block.UNCOMPRESSED


class SegmentReader(OpenSegment):
    """An open segment. Thread-safe; the file is closed with the last reference.

    Index, filter and tombstones are in memory. Every block is checked against its checksum, its
    place and its structure each time it is read from the file. ``frames`` holds those that stay in
    memory, by offset; the argument ``frames`` is the budget that all segments share.

    A mapped block is read where it lies and becomes no frame: it is in memory already. Since the
    system may drop it and read it from the disk again, it is checked at each read, too. ``_seen``
    remembers by its number that it was read.
    """

    __slots__ = (
        "_disk",
        "_file",
        "_filter",
        "_frames",
        "_index",
        "_map",
        "_seen",
        "footer",
        "path",
        "properties",
        "size",
        "tombstones",
    )

    def __init__(self, fs: FileSystem, path: str, frames: Frames | None = None) -> None:
        """Raise CorruptionError if the file is missing or its fixed parts are damaged."""
        self.path: str = path
        self._frames = frames
        try:
            self._file = fs.open(path)
        except FileNotFoundError:
            raise CorruptionError(path, 0, "segment is missing") from None
        mapped = self._file.map() if frames is not None and frames.mapped else None
        self._map = Map(mapped) if mapped is not None else None
        self._disk = self._file if type(self._file) is DiskFile else None
        self.size: int = self._file.size()
        tail_at = max(0, self.size - segment.FOOTER_SIZE)
        tail = self._file.pread(segment.FOOTER_SIZE, tail_at)
        self.footer: segment.Footer = self._checked(
            tail_at, lambda: segment.decode_footer(tail, self.size)
        )
        super().__init__(self.footer.file_id)
        header = self._file.pread(segment.HEADER_SIZE, 0)
        if self._checked(0, lambda: segment.decode_header(header)) != self.file_id:
            raise CorruptionError(path, 0, "header and footer are of different files")
        self._filter = self._part(self.footer.filter, block.FILTER, filter.decode)
        self.tombstones: Tombstones = self._part(
            self.footer.tombstones, block.TOMBSTONES, segment.decode_tombstones
        )
        self._index = self._part(self.footer.block_index, block.INDEX, segment.decode_index)
        self._seen = bytearray(len(self._index)) if self._map is not None else bytearray()
        self.properties: segment.Properties = self._part(
            self.footer.properties, block.PROPERTIES, segment.decode_properties
        )

    # --- one object

    def may_hold(self, digest: int) -> bool:
        """Return whether the filter lets an item through. ``digest``: see filter.py."""
        return self._filter.may_hold(digest)

    @property
    def seed(self) -> int:
        """The seed of the filter."""
        return self._filter.seed

    def find(self, name: bytes) -> bytes | None:
        """Return the row of an encoded object, None if there is none. The filter is not asked.

        Of a large row the head is returned; `find_in`, `items_of` and `load` read its chunks.
        """
        at = self._index.find(name)
        if at < 0:
            return None
        kept = self._in_memory(at) or self._read_rows(at, True)
        try:
            return kept.find(name)
        except ValueError as error:
            raise self.damaged(name, error) from None

    def value_of(self, name: bytes, state_key: str) -> bytes | RowBlock | None:
        """Return the value of an entry if the row of its object has it and states no expiry.

        None if there is no row. For any other row return its block, for `row_in`.
        """
        at = self._index.find(name)
        if at < 0:
            return None
        kept = self._in_memory(at) or self._read_rows(at, True)
        try:
            return kept.value_of(name, state_key)
        except ValueError as error:
            raise self.damaged(name, error) from None

    def values_of(self, name: bytes) -> tuple[int, dict[str, bytes]] | None:
        """Return (version, entries) of an encoded object if its row holds values and nothing else.

        None for any other row, or if there is none.
        """
        at = self._index.find(name)
        if at < 0:
            return None
        kept = self._in_memory(at) or self._read_rows(at, True)
        try:
            return kept.values_of(name)
        except ValueError as error:
            raise self.damaged(name, error) from None

    def row_in(self, kept: RowBlock, name: bytes) -> bytes:
        """Return the row of an encoded object, which a block found here has."""
        try:
            row = kept.find(name)
            if row is None:  # it was there a moment ago
                raise ValueError("the bytes of a mapped block have changed")
            return row
        except ValueError as error:
            raise self.damaged(name, error) from None

    def has_in_memory(self, name: bytes) -> bool:
        """Return whether an encoded object can be read without the file; False for a large one.

        A mapped block that was read before counts as in memory: the system seldom drops it soon.
        """
        at = self._index.find(name)
        if at < 0:
            return True
        if self._in_memory(at) is None and not (self._map is not None and self._seen[at]):
            return False
        row = self.find(name)
        return row is None or not row[1] & LARGE

    def _in_memory(self, at: int) -> RowBlock | None:
        """Return block number ``at`` if it is at hand, else None."""
        offset = self._index.offset(at)
        frame = self.frames.get(offset) if self.frames else None
        if frame is not None:
            frame.used = True
            return frame.block  # type: ignore[return-value]
        frames = self._frames
        return frames.last(self, offset) if frames is not None else None

    def find_in(self, row: bytes, name: bytes, state_key: str) -> Entry | Missing:
        """Return what a row found here says of an entry, `MISSING` for nothing."""
        if row[1] & LARGE:
            chunks = self._head(row, name).chunks or []
            at = bisect_right(chunks, state_key, key=_first) - 1
            if at < 0:
                return MISSING
            row = self.chunk_bytes(next(self._placed(chunks, at, self._block_of(name))))
        try:
            return find(row, state_key)
        except ValueError as error:
            raise self.damaged(name, error) from None

    def items_of(self, row: bytes, name: bytes, start: str = "") -> Iterator[tuple[str, Entry]]:
        """Yield the entries of a row found here, in key order, from ``start`` on."""
        if not row[1] & LARGE:
            yield from self._items(row, name, start)
            return
        chunks = self._head(row, name).chunks or []
        at = max(0, bisect_right(chunks, start, key=_first) - 1)
        for chunk in self._placed(chunks, at, self._block_of(name)):
            yield from self._items(self.chunk_bytes(chunk), name, start)

    def decode(self, row: bytes, name: bytes) -> Row:
        """Return a row found here, decoded; a large row as its head, with chunks placed."""
        found = self._head(row, name) if row[1] & LARGE else self._decoded(row, name)
        return found if found.chunks is None else self._with_places(found, self._block_of(name))

    def load(self, row: bytes, name: bytes) -> Row:
        """Return a row found here, decoded, with all of its entries."""
        head = self.decode(row, name)
        if head.chunks is None:
            return head
        entries: dict[str, Entry] = {}
        for chunk in head.chunks:
            entries.update(self.chunk(chunk).entries)
        flags = head.flags & ~LARGE
        return Row(flags, head.version, head.expires_at, entries, head.completed_at)

    def chunk(self, chunk: Chunk) -> Row:
        """Return a part of a large row's entries, as a row."""
        data = self.chunk_bytes(chunk)
        try:
            return rows.decode(data)
        except ValueError as error:
            raise CorruptionError(self.path, chunk.offset, str(error)) from None

    def chunk_bytes(self, chunk: Chunk) -> bytes:
        """Return the bytes of a chunk, an encoded row. They stay in memory as a frame."""
        frame = self.frames.get(chunk.offset)
        if frame is not None:
            frame.used = True
            return frame.block  # type: ignore[return-value]
        if chunk.offset < 0 or chunk.length < 0:  # a tool asks for any that is stated
            raise CorruptionError(self.path, chunk.offset, _OUTSIDE)
        data = self._sealed(chunk.offset, chunk.length, block.CHUNK)
        found = data[: len(data) - TRAILER_SIZE]
        if self._frames is not None:
            self._frames.note(self, chunk.offset, found, chunk.length)
        return found

    # --- blocks

    @property
    def block_count(self) -> int:
        """How many blocks of rows there are."""
        return len(self._index)

    def block_handle(self, at: int) -> tuple[bytes, Handle]:
        """Return the first encoded object and the place of block number ``at``."""
        index = self._index
        return index.first(at), Handle(index.offset(at), index.length(at))

    def blocks_from(
        self, start: bytes, stop: bytes | None = None, *, keep: bool = False
    ) -> Iterator[RowBlock]:
        """Yield checked blocks, from the one that may hold ``start`` to the last below ``stop``."""
        index = self._index
        at = max(0, index.find(start))
        end = len(index) if stop is None else index.before(stop) + 1
        most = _FIRST_RUN
        while at < end:
            run = [self.block(at, keep=True)] if keep else self._read_run(at, end, most)
            yield from run
            at += len(run)
            most = min(2 * most, _LONGEST_RUN)

    def _read_run(self, at: int, end: int, most: int) -> list[RowBlock]:
        """Return checked blocks from number ``at`` on, of up to ``most`` bytes, by one read.

        It is one block if the next one is a frame, does not follow without a gap, or is too large.
        It ends in front of a damaged one, which is an error when the next run begins with it.
        """
        index, frames = self._index, self.frames
        start = index.offset(at)
        if start in frames or self._map is not None:
            return [self.block(at)]
        stop, last = start + index.length(at), at + 1
        while last < end and index.offset(last) == stop and stop not in frames:
            if stop + index.length(last) - start > most:
                break
            stop += index.length(last)
            last += 1
        data = self._read(start, stop - start)
        run: list[RowBlock] = []
        for number in range(at, last):
            offset = index.offset(number)
            try:
                found = self._rows_in(data, offset - start, index.length(number), offset)
                run.append(self._with_names(found, offset))
            except CorruptionError:
                if not run:
                    raise
                break
        return run

    def blocks_before(self, stop: bytes, *, keep: bool = False) -> Iterator[RowBlock]:
        """Yield checked blocks in reverse order, from the last that begins below ``stop``."""
        at = self._index.before(stop)
        while at >= 0:
            yield self.block(at, keep=keep)
            at -= 1

    def block(self, at: int, *, keep: bool = False) -> RowBlock:
        """Return block number ``at``, with its objects checked. ``keep``: it may become a frame."""
        offset = self._index.offset(at)
        if keep:
            kept = self._in_memory(at) or self._read_rows(at, True)
        elif offset in self.frames:
            kept = self.frames[offset].block  # type: ignore[assignment]
        else:
            return self._with_names(self._read_rows(at, False), offset)
        found = self._with_names(kept.for_walk(), offset)
        kept.is_sound = True
        return found

    def _with_names(self, found: RowBlock, offset: int) -> RowBlock:
        """Return a block whose objects have been checked."""
        try:
            found.all_names()  # which are made now, and kept
        except ValueError as error:
            raise CorruptionError(self.path, offset, str(error)) from None
        return found

    def rows_of(self, at: int) -> tuple[list[bytes], list[bytes]]:
        """Return the encoded objects and rows of block number ``at``, with every rule checked."""
        found = self.block(at)
        return found.names, self._checked(self._index.offset(at), lambda: found.rows)

    def read_block(self, at: int) -> tuple[list[bytes], list[Row]]:
        """Return block number ``at`` decoded: encoded objects and their rows. For tools."""
        names, encoded = self.rows_of(at)
        decoded = self._checked(self._index.offset(at), lambda: rows.decode_many(encoded))
        return names, [row if row.chunks is None else self._with_places(row, at) for row in decoded]

    def extent(self, start: bytes, stop: bytes, block_size: int) -> tuple[float, int]:
        """Return about how many rows lie in ``[start, stop)``, and in how many bytes.

        Of a range that covers the segment no block is read. Else the blocks at both ends are read,
        and count by what lies in the range, and up to `_SAMPLE` of those between, if there are so
        many. What is between counts in full: a block longer than ``block_size`` is one row with
        its chunks, and the others hold as many rows a byte as those that were read.
        """
        properties, index = self.properties, self._index
        if not len(index):
            return 0.0, 0
        if start <= properties.start and properties.stop <= stop:
            return float(properties.rows), self._block_end(len(index) - 1) - index.offset(0)
        low, high = max(0, index.find(start)), index.before(stop)
        count, size = 0.0, 0
        for at in {low, high} if low <= high else ():
            rows_within, bytes_within = self._within(at, start, stop)
            count += rows_within
            size += bytes_within
        if high - low < 2:
            return count, size
        lengths = {at: self._block_end(at) - index.offset(at) for at in range(low + 1, high)}
        usual = [at for at, length in lengths.items() if length <= block_size]
        taken = min(_SAMPLE, len(usual))
        read = [usual[(2 * number + 1) * len(usual) // (2 * taken)] for number in range(taken)]
        seen = sum(len(self.block(at).all_names()) for at in read)
        seen_bytes = sum(lengths[at] for at in read)
        usual_bytes = sum(lengths[at] for at in usual)
        count += len(lengths) - len(usual) + seen * usual_bytes / max(seen_bytes, 1)
        return count, size + sum(lengths.values())

    def _within(self, at: int, start: bytes, stop: bytes) -> tuple[int, int]:
        """Return how many rows of block number ``at`` lie in ``[start, stop)``, and their bytes."""
        names, encoded = self.rows_of(at)
        low, high = bisect_left(names, start), bisect_left(names, stop)
        sizes = [len(name) + len(row) for name, row in zip(names, encoded, strict=True)]
        length = self._block_end(at) - self._index.offset(at)
        return high - low, length * sum(sizes[low:high]) // max(sum(sizes), 1)

    def _block_end(self, at: int) -> int:
        """Return where block number ``at`` ends, with the chunks behind it."""
        last = at + 1 == len(self._index)
        return self.footer.filter.offset if last else self._index.offset(at + 1)

    # --- from the file

    def _read_rows(self, at: int, keep: bool) -> RowBlock:
        """Read block number ``at`` from the file. ``keep``: it may become a frame."""
        offset = self._index.offset(at)
        if self._map is not None:
            return self._rows_in_map(self._map, at, offset)
        length = self._index.length(at)
        found = self._rows_in(self._read(offset, length), 0, length, offset)
        frames = self._frames
        if keep and frames is not None:
            frames.note(self, offset, found, found.footprint())
        return found

    def _rows_in_map(self, mapped: Map, at: int, offset: int) -> RowBlock:
        """Return block number ``at``, which lies at an offset of the mapped file."""
        try:
            found = mapped_rows(mapped, self.file_id, offset, self._index.length(at))
        except ValueError as error:
            raise CorruptionError(self.path, offset, str(error)) from None
        self._seen[at] = 1
        return found

    def _items(self, row: bytes, name: bytes, start: str) -> Iterator[tuple[str, Entry]]:
        try:
            yield from rows.items(row, start)
        except ValueError as error:
            raise self.damaged(name, error) from None

    def _head(self, row: bytes, name: bytes) -> Row:
        """Return the head of a large row found here, decoded. Its chunks are not checked."""
        at = self._block_of(name)
        offset = self._index.offset(at)
        frame = self.frames.get(offset)
        if frame is not None and frame.head is not None:
            return frame.head
        found = self._decoded(row, name)
        if self._frames is not None:
            if frame is not None:
                self._frames.keep_head(self, frame, found)
            elif self._map is not None:  # a mapped block is a frame only to keep a head
                kept = self._read_rows(at, False)
                self._frames.note(self, offset, kept, kept.footprint())
        return found

    def _decoded(self, row: bytes, name: bytes) -> Row:
        try:
            return rows.decode(row)
        except ValueError as error:
            raise self.damaged(name, error) from None

    def _block_of(self, name: bytes) -> int:
        return self._index.find(name)

    def _with_places(self, row: Row, at: int) -> Row:
        """Return the head of a large row in block ``at``, with its chunks' offsets in the file."""
        chunks = list(self._placed(row.chunks or (), 0, at))
        return Row(row.flags, row.version, row.expires_at, {}, row.completed_at, chunks)

    def _placed(self, chunks: Sequence[Chunk], first: int, at: int) -> Iterator[Chunk]:
        """Yield chunks from number ``first`` on, whose head is block number ``at``, with offsets.

        Each is checked when it is taken, so finding one entry costs the same for a row of ten
        chunks and of a thousand. They must follow the head's block without a gap, up to the next
        block, in the order of their state keys. So no file can make a reader read a part of it
        over and over.
        """
        index = self._index
        start = index.offset(at)
        base = start + index.length(at)
        end = index.offset(at + 1) if at + 1 < len(index) else self.size
        before = chunks[first - 1] if first else None
        for chunk in islice(chunks, first, None):
            edge = 0 if before is None else before.offset + before.length
            if chunk.offset != edge or chunk.length <= TRAILER_SIZE:
                raise CorruptionError(
                    self.path, start, "chunks do not follow the head of their row"
                )
            if before is not None and chunk.first <= before.first:
                raise CorruptionError(self.path, start, "chunks are out of order")
            if base + edge + chunk.length > end:
                raise CorruptionError(self.path, start, "chunks reach into the next block")
            yield Chunk(chunk.first, base + edge, chunk.length, chunk.entries)
            before = chunk

    def damaged(self, name: bytes, error: ValueError) -> CorruptionError:
        """Return the error for the block of an object in which ``error`` was found."""
        at = max(0, self._block_of(name))
        return CorruptionError(self.path, self._index.offset(at), str(error))

    def _part(self, handle: Handle, kind: int, decode: Callable[[memoryview], _T]) -> _T:
        data = self._sealed(handle.offset, handle.length, kind)
        body = memoryview(data)[: len(data) - TRAILER_SIZE]
        return self._checked(handle.offset, lambda: decode(body))

    def _sealed(self, offset: int, length: int, kind: int) -> bytes:
        """Return the bytes of a sealed block, trailer included. Check its place and checksum."""
        data = self._read(offset, length)
        self._check(data, offset, kind)
        return data

    def _rows_in(self, read: bytes, start: int, length: int, offset: int) -> RowBlock:
        """Return the block of rows at ``start`` of what was read, which lies at ``offset``."""
        try:
            return checked_rows(read, start, length, self.file_id, offset)
        except ValueError as error:
            raise CorruptionError(self.path, offset, str(error)) from None

    def _check(self, data: bytes, offset: int, kind: int) -> None:
        try:
            codec = check_block(data, kind, self.file_id, offset)
            if codec != _UNCOMPRESSED:
                raise ValueError(f"block has unknown codec {codec}")
        except ValueError as error:
            raise CorruptionError(self.path, offset, str(error)) from None

    def _read(self, offset: int, length: int) -> bytes:
        if not 0 < length <= self.size or not 0 <= offset <= self.size - length:
            raise CorruptionError(self.path, offset, _OUTSIDE)
        disk = self._disk
        return disk.pread(length, offset) if disk is not None else self._file.pread(length, offset)

    def _checked(self, offset: int, decode: Callable[[], _T]) -> _T:
        try:
            return decode()
        except ValueError as error:
            raise CorruptionError(self.path, offset, str(error)) from None


class LiveSegment(SegmentReader):
    """A segment as the manifest states it: its number, level and identity."""

    __slots__ = ("expiring", "has_barriers", "meta", "start", "stop")

    def __init__(
        self, fs: FileSystem, directory: str, meta: SegmentMeta, frames: Frames, seed: int
    ) -> None:
        """``seed``: of the database's filters. Raise CorruptionError if it is another file."""
        super().__init__(fs, filenames.join(directory, filenames.segment(meta.number)), frames)
        if self.file_id != meta.file_id or self.size != meta.size:
            raise CorruptionError(self.path, 0, "this is not the segment that the manifest names")
        if self.properties != meta.properties:
            raise CorruptionError(self.path, 0, "properties differ from the manifest's")
        if self.seed != seed:
            offset = self.footer.filter.offset
            raise CorruptionError(self.path, offset, "the filter is of another database")
        self.meta: SegmentMeta = meta
        self.start: bytes = meta.start
        self.stop: bytes = meta.stop
        self.expiring: bool = meta.properties.expiring > 0
        """Whether some row states an expiry of its object."""
        self.has_barriers: bool = meta.properties.barriers > 0
