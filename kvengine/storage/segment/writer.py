"""Writing a segment: rows in order, blocks sealed to their place, one sync at the end."""

from __future__ import annotations

import random
from array import array

from kvengine.fs.base import FileSystem
from kvengine.storage import row as rows
from kvengine.storage.checksum import TRAILER_SIZE, place_seed, trailer_of
from kvengine.storage.range_tombstones import Tombstones
from kvengine.storage.row import BARRIER, Chunk, Row
from kvengine.storage.segment import block, filter
from kvengine.storage.segment import format as segment
from kvengine.storage.segment.chunks import cut
from kvengine.storage.segment.format import Footer, Handle, Index, Properties
from kvengine.storage.segment.tally import Tally

_BUFFER = 64 * 1024
"""Bytes written and synced at a time. A sync of the WAL waits for one such piece at most. With
1 MiB the p99.9 of a sync commit beside a compaction was 6.8 times that without, with this 2.5."""


class SegmentWriter:
    """A segment being made at ``path``. Call `add` for the rows in order, then `finish`.

    A row larger than ``chunk_size`` is written as a head and chunks that follow it in the same
    file. A block is cut before it exceeds ``block_size``, unless one row alone exceeds it. Callers
    start another segment by ``size``, the bytes so far.
    """

    def __init__(
        self,
        fs: FileSystem,
        path: str,
        block_size: int,
        chunk_size: int,
        seed: int,
        horizon: int = 0,
    ) -> None:
        """``seed``: of the filter. ``horizon``: see `Tally`."""
        self._fs = fs
        self.path: str = path
        self._block_size, self._chunk_size = block_size, chunk_size
        self.file_id: int = random.SystemRandom().getrandbits(63)
        self._seed = seed
        self._file = fs.create(path)
        self._buffer = bytearray(segment.encode_header(self.file_id))
        self._flushed = 0
        self._names: list[bytes] = []
        self._rows: list[bytes] = []
        self._row_bytes = 0
        self._digests = array("Q")
        self._index = Index()
        self._tally = Tally(horizon)

    @property
    def size(self) -> int:
        """Bytes written and to be written so far."""
        return self._flushed + len(self._buffer) + self._row_bytes

    def add(self, name: bytes, row: Row, encoded: bytes | None = None) -> None:
        """Add the next object. ``row`` holds its entries, in key order; ``encoded``: its bytes."""
        if encoded is None:
            encoded = rows.encode(row)
        self._tally.add(name, row, len(encoded))
        self._note(name, row)
        if len(encoded) > self._chunk_size and len(row.entries) > 1:
            self._add_large(name, row)
            return
        size = len(encoded) + len(name) + 8
        if self._rows and self._row_bytes + size + TRAILER_SIZE + 9 > self._block_size:
            self._end_block()
        self._names.append(name)
        self._rows.append(encoded)
        self._row_bytes += size

    def _note(self, name: bytes, row: Row) -> None:
        """Note the filter items of a row."""
        digest = filter.object_digest(name, self._seed)
        add = self._digests.append
        add(digest)
        if row.flags & BARRIER:
            add(filter.barrier_digest(digest))
        entry = filter.entry_digest
        for state_key in row.entries:
            add(entry(state_key, digest))

    def finish(self, tombstones: Tombstones, tombstone_time: int | None) -> Properties:
        """Write what remains, sync and close. Return the properties.

        ``tombstone_time``: of the oldest deletion in it. The directory is not synced: the caller
        does that once for all its files.
        """
        self._end_block()
        filter_at = self._put(filter.build(self._digests, self._seed), block.FILTER)
        tombstones_at = self._put(segment.encode_tombstones(tombstones), block.TOMBSTONES)
        index_at = self._put(segment.encode_index(self._index), block.INDEX)
        tally = self._tally
        properties = tally.properties(tombstones, tombstone_time, tally.half_expiry())
        properties_at = self._put(segment.encode_properties(properties), block.PROPERTIES)
        self._buffer += segment.encode_footer(
            Footer(filter_at, tombstones_at, index_at, properties_at, self.file_id)
        )
        self._flush()
        self._file.sync()
        self._file.close()
        return properties

    def abandon(self) -> None:
        """Close and remove the unfinished file."""
        self._file.close()
        self._fs.unlink(self.path)

    def _end_block(self) -> None:
        if not self._rows:
            return
        handle = self._put(block.encode_rows(self._names, self._rows), block.ROWS)
        self._index.add(self._names[0], handle.offset, handle.length)
        self._names, self._rows, self._row_bytes = [], [], 0

    def _add_large(self, name: bytes, row: Row) -> None:
        self._end_block()
        parts = cut(row, self._chunk_size)
        chunks, offset = [], 0
        for first, count, body in parts:
            length = len(body) + TRAILER_SIZE
            chunks.append(Chunk(first, offset, length, count))
            offset += length
        self._names, self._rows = [name], [rows.encode_head(row, chunks)]
        self._end_block()
        for _, _, body in parts:
            self._put(body, block.CHUNK)

    def _put(self, body: bytes, kind: int) -> Handle:
        offset = self._flushed + len(self._buffer)
        trailer = trailer_of(body, kind, block.UNCOMPRESSED, place_seed(self.file_id, offset))
        if len(body) < _BUFFER:
            self._buffer += body
            self._buffer += trailer
            if len(self._buffer) >= _BUFFER:
                self._flush()
        else:  # a large body is not copied into the buffer
            self._flush()
            self._file.write(body)
            self._flushed += len(body)
            self._buffer += trailer
        return Handle(offset, len(body) + len(trailer))

    def _flush(self) -> None:
        if self._flushed:
            self._file.datasync()  # piece by piece, so that syncs of the WAL never wait for much
        self._file.write(self._buffer)
        self._flushed += len(self._buffer)
        self._buffer = bytearray()
