"""Writing a segment: writer.py in C, which describes it.

Rows are added without the interpreter lock, by a flush or compaction (`put`), or with it (`add`).
What is written lies in memory of C that the writer owns. If the file is one of the operating
system, its pieces are written and synced without the lock, too.
"""

import os
import random
import sys

from kvengine.fs.disk import DiskFile
from kvengine.storage import row as rows
from kvengine.storage.row import BARRIER, Chunk
from kvengine.storage.segment import format as segment
from kvengine.storage.segment.chunks import cut
from kvengine.storage.segment.filter import barrier_digest, entry_digest, object_digest
from kvengine.storage.segment.format import Footer, Handle
from kvengine.storage.segment.tally import Tally

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EINTR, EIO, errno
from libc.stdint cimport UINT32_MAX, UINT64_MAX, uint32_t
from libc.stdlib cimport qsort
from libc.string cimport memset

from kvengine.fs.disk cimport DiskFile as _DiskFile
from kvengine.storage.checksum cimport block_sum, seed_of_place
from kvengine.storage.overlay cimport (
    OVERLAY_DONE,
    OVERLAY_NO_MEMORY,
    ROW_BARRIER,
    ROW_CLEARED,
    ROW_ENTRY_TTLS,
    ROW_EXPIRES,
    ROW_EXTENDS,
    memory_add,
    memory_clear,
    memory_free,
    memory_room,
    overlay_add,
    overlay_begin,
    overlay_characters,
    overlay_chunk,
    overlay_count,
    overlay_entries,
    overlay_entry,
    overlay_free,
    overlay_list_chunk,
    overlay_write_chunk,
    overlay_write_head,
)
from kvengine.storage.packed cimport (
    PACKED_EXPIRING,
    PACKED_TOMBSTONE,
    packed_load_le32,
    packed_put_sized,
    packed_store_le32,
)
from kvengine.storage.segment.filter cimport barrier_of, set_items, word_count, xxh3

cdef extern from "<unistd.h>" nogil:
    ssize_t c_write "write"(int fd, const void *data, size_t size)
    int ftruncate(int fd, long long size)

cdef extern from "kvengine/fs/pieces.h" nogil:
    int kve_reserve(int fd, long long offset, long long size)
    int kve_datasync(int fd)

cdef extern from * nogil:
    uint64_t __builtin_bswap64(uint64_t word)

cdef enum:
    _BUFFER = 64 * 1024  # written and synced at a time, see writer.py
    _RESERVED = 4 << 20  # bytes of the file that are reserved ahead
    _TRAILER = 6
    _ROWS = 1
    _CHUNK = 2
    _FILTER = 3
    _TOMBSTONES = 4
    _INDEX = 5
    _PROPERTIES = 6
    _ARRAY32 = 0xDD
    _MOST = 0x7FFFF000  # what Linux takes in one write

cdef bint _HAS_FDATASYNC = sys.platform == "linux"
cdef bint _IS_BIG_ENDIAN = sys.byteorder == "big"

cdef struct Weight:
    # Bytes that expire at a time.
    uint64_t at
    int64_t size


cdef class SegmentWriter:
    """A segment being made at ``path``. Call `add` for the rows in order, then `finish`."""

    def __init__(
        self,
        fs,
        path,
        uint64_t block_size,
        uint64_t chunk_size,
        uint64_t seed,
        uint64_t horizon=0,
    ):
        """``seed``: of the filter. ``horizon``: see `Tally`."""
        self._fs, self.path = fs, path
        self._block_size, self._chunk_size = block_size, chunk_size
        self._seed, self._horizon = seed, horizon
        self.file_id = random.SystemRandom().getrandbits(63)
        self._tally = Tally(horizon)
        self._counts.first_stamp = <uint64_t>1 << 63
        self._counts.first_expiry = UINT64_MAX
        self._descriptor = -1
        header = segment.encode_header(self.file_id)
        _append(&self._buffer, header)
        self._file = fs.create(path)
        if _HAS_FDATASYNC and type(self._file) is DiskFile:
            self._descriptor = (<_DiskFile>self._file)._fd

    def __dealloc__(self):
        memory_free(&self._rows)
        memory_free(&self._names)
        memory_free(&self._row_slots)
        memory_free(&self._name_slots)
        memory_free(&self._firsts)
        memory_free(&self._index_slots)
        memory_free(&self._buffer)
        memory_free(&self._body)
        memory_free(&self._digests)
        memory_free(&self._last)
        memory_free(&self._chunks)
        memory_free(&self._list)
        memory_free(&self._head)
        memory_free(&self._counts.weights)
        overlay_free(&self._row)

    @property
    def size(self):
        """Bytes written and to be written so far."""
        return self.written()

    cdef uint64_t written(self) noexcept nogil:
        # A row takes two slots of four bytes.
        cdef size_t block = self._rows.size + self._names.size + 2 * self._row_slots.size
        return self._flushed + self._buffer.size + block

    # --- rows

    def add(self, bytes name not None, row, bytes encoded=None):
        """Add the next object. ``row`` holds its entries, in key order; ``encoded``: its bytes."""
        cdef packed_text of = _text(name), data
        cdef int found
        if encoded is None:
            encoded = rows.encode(row)
        data = _text(encoded)
        overlay_begin(&self._row)
        found = overlay_add(&self._row, data)
        if found == OVERLAY_NO_MEMORY:
            raise MemoryError
        if found == OVERLAY_DONE:
            self.put(of, &self._row)
            return
        if row is None:
            row = rows.decode(encoded)
        self._add_decoded(name, row, encoded)

    def _add_decoded(self, bytes name, row, bytes encoded):
        """Add an object whose row is not as commits write them."""
        self._tally.add(name, row, len(encoded))
        self._remember(name)
        digest = object_digest(name, self._seed)
        digests = [digest]
        if row.flags & BARRIER:
            digests.append(barrier_digest(digest))
        digests += [entry_digest(state_key, digest) for state_key in row.entries]
        for item in digests:
            _append_item(&self._digests, item)
        if PyBytes_GET_SIZE(encoded) <= <Py_ssize_t>self._chunk_size or len(row.entries) <= 1:
            self._append(_text(name), _text(encoded))
            return
        self._end_block()
        parts = cut(row, self._chunk_size)
        chunks, offset = [], 0
        for first, count, body in parts:
            length = len(body) + _TRAILER
            chunks.append(Chunk(first, offset, length, count))
            offset += length
        head = rows.encode_head(row, chunks)
        self._append(_text(name), _text(head))
        self._end_block()
        for _, _, body in parts:
            self._put_bytes(body, _CHUNK)

    def _remember(self, bytes name):
        self._last.size = 0
        _append(&self._last, name)

    cdef int put(self, packed_text name, overlay *row) except -1 nogil:
        """Add the next object. ``row`` has what is left of it, its entries in key order."""
        self._note(name, row)
        self._count(name, row)
        self._last.size = 0
        _grow(memory_add(&self._last, name.at, name.size))
        if row.bytes.size > self._chunk_size and overlay_count(row) > 1:
            return self._put_large(name, row)
        return self._append(name, row.bytes)

    cdef int _put_large(self, packed_text name, overlay *row) except -1 nogil:
        """Add a row in chunks: its head has a block of its own, and they follow it."""
        cdef memory *bodies = &self._chunks
        cdef overlay_entry *entries = overlay_entries(row)
        cdef size_t count = overlay_count(row), at = 0, taken
        cdef overlay_chunk chunk
        cdef overlay_chunk *chunks
        cdef packed_text head
        self._end_block()
        memory_clear(bodies)
        self._list.size = self._head.size = 0
        while at < count:
            chunk.offset = bodies.size
            taken = overlay_write_chunk(row, bodies, at, self._chunk_size)
            _grow(taken == 0)
            chunk.first, chunk.entries = entries[at].key, taken
            chunk.length = bodies.size - chunk.offset
            _grow(memory_add(&self._list, &chunk, sizeof(overlay_chunk)))
            at += taken
        chunks = <overlay_chunk *>self._list.at
        count = self._list.size // sizeof(overlay_chunk)
        _grow(overlay_write_head(row, &self._head, count))
        for at in range(count):
            chunk = chunks[at]
            chunk.length += _TRAILER
            chunk.offset += at * _TRAILER
            _grow(overlay_list_chunk(&self._head, &chunk))
        head.at, head.size = self._head.at, self._head.size
        self._append(name, head)
        self._end_block()
        for at in range(count):
            self._put_body(bodies.at + chunks[at].offset, chunks[at].length, _CHUNK)
        return 0

    cdef int _note(self, packed_text name, overlay *row) except -1 nogil:
        """Note the filter items of a row."""
        cdef size_t count = overlay_count(row), at
        cdef overlay_entry *entries = overlay_entries(row)
        cdef uint64_t digest = xxh3(name.at, name.size, self._seed)
        cdef uint64_t *to = <uint64_t *>memory_room(&self._digests, (count + 2) * 8)
        if to is NULL:
            _grow(-1)
        to[0] = digest
        to += 1
        if row.flags & ROW_BARRIER:
            to[0] = barrier_of(digest)
            to += 1
        for at in range(count):
            to[at] = xxh3(entries[at].key.at, entries[at].key.size, digest)
        self._digests.size = <uint8_t *>(to + count) - self._digests.at
        return 0

    cdef int _count(self, packed_text name, overlay *row) except -1 nogil:
        """Count what `Tally.add` counts."""
        cdef Counts *counts = &self._counts
        cdef size_t count = overlay_count(row), at, deleted = 0
        cdef overlay_entry *entries = overlay_entries(row)
        cdef uint64_t size = row.bytes.size + name.size
        for at in range(count):
            deleted += entries[at].what.kind == PACKED_TOMBSTONE
        counts.rows += 1
        counts.entries += count - deleted
        counts.tombstones += deleted + (row.flags & ROW_CLEARED != 0)
        counts.data_bytes += size
        counts.extends += row.flags & ROW_EXTENDS != 0
        counts.barriers += row.flags & ROW_BARRIER != 0
        counts.first_stamp = min(counts.first_stamp, row.version)
        counts.last_stamp = max(counts.last_stamp, row.version)
        if row.expires:
            counts.expiring += 1
            counts.last_expiry = max(counts.last_expiry, row.expires_at)
        if row.flags & (ROW_EXPIRES | ROW_ENTRY_TTLS):
            self._count_expiries(row, size)
        return 0

    cdef int _count_expiries(self, overlay *row, int64_t size) except -1 nogil:
        """Count how many bytes expire when: entries at their own expiry, the rest with the row."""
        cdef overlay_entry *entry = overlay_entries(row)
        cdef overlay_entry *end = entry + overlay_count(row)
        cdef int64_t share
        cdef uint64_t time
        while entry < end:
            if entry.what.kind == PACKED_EXPIRING:
                share = overlay_characters(entry.key) + entry.what.value.size
                time = entry.what.expires_at
                self._weigh(min(time, row.expires_at) if row.expires else time, share)
                size -= share
            entry += 1
        if row.expires:
            self._weigh(row.expires_at, size)
        return 0

    cdef int _weigh(self, uint64_t at, int64_t size) except -1 nogil:
        """Count bytes that expire at a time."""
        cdef Weight weight
        self._counts.first_expiry = min(self._counts.first_expiry, at)
        if at > self._horizon:
            weight.at, weight.size = at, size
            _grow(memory_add(&self._counts.weights, &weight, sizeof(Weight)))
        return 0

    # --- blocks

    cdef int _append(self, packed_text name, packed_text encoded) except -1 nogil:
        """Append a row to the block; one that has no room in it begins the next."""
        cdef size_t block = self._rows.size + self._names.size + 2 * self._row_slots.size
        cdef size_t size = encoded.size + name.size + 8
        if self._row_slots.size and block + size + _TRAILER + 9 > self._block_size:
            self._end_block()
        if self._rows.size + self._names.size + size + 9 > <size_t>UINT32_MAX:
            with gil:
                raise OverflowError("a block of rows would exceed 4 GiB")
        _grow(_add_slot(&self._row_slots, self._rows.size))
        _grow(_add_slot(&self._name_slots, self._names.size))
        _grow(memory_add(&self._rows, encoded.at, encoded.size))
        _grow(memory_add(&self._names, name.at, name.size))
        return 0

    cdef int _end_block(self) except -1 nogil:
        cdef size_t count = self._row_slots.size // 4, slot, names_at = 5 + self._rows.size
        cdef memory *body = &self._body
        cdef uint32_t *rows_at = <uint32_t *>self._row_slots.at
        cdef uint32_t *name_at = <uint32_t *>self._name_slots.at
        cdef uint8_t *to
        if count == 0:
            return 0
        memory_clear(body)
        to = memory_room(body, names_at + self._names.size + 8 * count + 4)
        if to is NULL:
            _grow(-1)
        packed_put_sized(to, _ARRAY32, count, 4)
        body.size = 5
        memory_add(body, self._rows.at, self._rows.size)
        memory_add(body, self._names.at, self._names.size)
        to = body.at + body.size
        for slot in range(count):
            packed_store_le32(to + 4 * slot, 5 + rows_at[slot])
            packed_store_le32(to + 4 * (count + slot), <uint32_t>names_at + name_at[slot])
        packed_store_le32(to + 8 * count, <uint32_t>count)
        body.size = body.size + 8 * count + 4
        self._add_to_index(name_at[1] if count > 1 else self._names.size)
        memory_clear(&self._rows)
        self._names.size = self._row_slots.size = self._name_slots.size = 0
        return self._put_body(body.at, body.size, _ROWS)

    cdef int _add_to_index(self, size_t first) except -1 nogil:
        """Add the block to the index. ``first``: the bytes of its first object."""
        cdef uint64_t offset = self._flushed + self._buffer.size
        cdef uint8_t slot[16]
        packed_store_le32(slot, <uint32_t>self._firsts.size)
        packed_store_le32(slot + 4, <uint32_t>offset)
        packed_store_le32(slot + 8, <uint32_t>(offset >> 32))
        packed_store_le32(slot + 12, <uint32_t>(self._body.size + _TRAILER))
        _grow(memory_add(&self._index_slots, slot, 16))
        return _grow(memory_add(&self._firsts, self._names.at, first))

    cdef int _put_body(self, const uint8_t *body, size_t size, int kind) except -1 nogil:
        """Put a body, sealed to its place, behind what is to be written."""
        cdef uint64_t offset = self._flushed + self._buffer.size
        cdef uint8_t trailer[_TRAILER]
        trailer[0], trailer[1] = kind, 0
        packed_store_le32(
            trailer + 2, block_sum(body, size, kind, 0, seed_of_place(self.file_id, offset))
        )
        if size < _BUFFER:
            _grow(memory_add(&self._buffer, body, size))
            _grow(memory_add(&self._buffer, trailer, _TRAILER))
            if self._buffer.size >= _BUFFER:
                self._flush()
        else:  # a large body is not copied
            self._flush()
            self._write(body, size)
            _grow(memory_add(&self._buffer, trailer, _TRAILER))
        return 0

    def _put_bytes(self, bytes body, int kind):
        """Put a sealed body, and return its handle."""
        cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(body)
        cdef size_t size = PyBytes_GET_SIZE(body)
        offset = self._flushed + self._buffer.size
        with nogil:
            self._put_body(at, size, kind)
        return Handle(offset, len(body) + _TRAILER)

    # --- the file

    cdef int _flush(self) except -1 nogil:
        if self._flushed:
            self._sync()  # piece by piece, so that syncs of the WAL never wait for much
            self._reserve()
        self._write(self._buffer.at, self._buffer.size)
        self._buffer.size = 0
        return 0

    cdef int _write(self, const uint8_t *data, size_t size) except -1 nogil:
        cdef ssize_t written
        cdef int code
        self._flushed = self._flushed + size
        if self._descriptor < 0:
            with gil:
                self._file.write(PyBytes_FromStringAndSize(<const char *>data, size))
            return 0
        while size:
            written = c_write(self._descriptor, data, min(size, <size_t>_MOST))
            if written > 0:
                data += written
                size -= written
                continue
            code = errno if written < 0 else EIO
            if code != EINTR:
                with gil:
                    raise OSError(code, os.strerror(code) if written else "nothing was written")
        return 0

    cdef int _sync(self) except -1 nogil:
        cdef int code
        if self._descriptor < 0:
            with gil:
                self._file.datasync()
            return 0
        while kve_datasync(self._descriptor):
            code = errno
            if code != EINTR:
                with gil:
                    raise OSError(code, os.strerror(code))
        return 0

    cdef void _reserve(self) noexcept nogil:
        """Reserve space ahead of what is written, if the system can. `_cut` gives back the rest.

        Where each piece makes the file longer, each sync commits the file system's journal. Beside
        a thread that syncs commits, ext4 took 90 MB/s of such pieces, and 210 in reserved space.
        """
        if self._descriptor >= 0 and self._flushed + self._buffer.size > self._reserved:
            if kve_reserve(self._descriptor, self._flushed, _RESERVED):
                self._reserved = UINT64_MAX  # it cannot: not asked again
            else:
                self._reserved = self._flushed + _RESERVED

    cdef int _cut(self) except -1 nogil:
        """End the file where it was written to."""
        cdef int code
        while self._reserved > self._flushed and ftruncate(self._descriptor, self._flushed):
            code = errno
            if code != EINTR:
                with gil:
                    raise OSError(code, os.strerror(code))
        return 0

    def finish(self, tombstones, tombstone_time):
        """Write what remains, sync and close. Return the properties.

        ``tombstone_time``: of the oldest deletion in it. The directory is not synced: the caller
        does that once for all its files.
        """
        with nogil:
            self._end_block()
        filter_at = self._put_filter()
        tombstones_at = self._put_bytes(segment.encode_tombstones(tombstones), _TOMBSTONES)
        index_at = self._put_index()
        half_expiry = self._half_expiry()
        properties = self._counted().properties(tombstones, tombstone_time, half_expiry)
        properties_at = self._put_bytes(segment.encode_properties(properties), _PROPERTIES)
        footer = Footer(filter_at, tombstones_at, index_at, properties_at, self.file_id)
        _append(&self._buffer, segment.encode_footer(footer))
        with nogil:
            self._flush()
            self._cut()
        self._file.sync()
        self._descriptor = -1  # the number may soon be another file's
        self._file.close()
        return properties

    def abandon(self):
        """Close and remove the unfinished file."""
        self._descriptor = -1
        self._file.close()
        self._fs.unlink(self.path)

    def _put_filter(self):
        cdef uint64_t items = self._digests.size // 8, count = word_count(items), at
        cdef uint64_t *words
        offset = self._flushed + self._buffer.size
        memory_clear(&self._body)
        with nogil:
            words = <uint64_t *>memory_room(&self._body, 8 + 8 * count)
            if words is NULL:
                _grow(-1)
            memset(words, 0, 8 + 8 * count)
            words[0] = self._seed
            set_items(words + 1, count, <uint64_t *>self._digests.at, items)
            if _IS_BIG_ENDIAN:
                for at in range(count + 1):
                    words[at] = __builtin_bswap64(words[at])
            self._body.size = 8 + 8 * count
            self._put_body(self._body.at, self._body.size, _FILTER)
        return Handle(offset, 8 + 8 * count + _TRAILER)

    def _put_index(self):
        cdef uint8_t count[4]
        offset = self._flushed + self._buffer.size
        packed_store_le32(count, <uint32_t>(self._index_slots.size // 16))
        memory_clear(&self._body)
        with nogil:
            _grow(memory_add(&self._body, self._firsts.at, self._firsts.size))
            _grow(memory_add(&self._body, self._index_slots.at, self._index_slots.size))
            _grow(memory_add(&self._body, count, 4))
            self._put_body(self._body.at, self._body.size, _INDEX)
        return Handle(offset, self._firsts.size + self._index_slots.size + 4 + _TRAILER)

    def _half_expiry(self):
        """Return when half of the bytes will have expired, None for never."""
        cdef Weight *weights
        cdef size_t count, at
        cdef int64_t gone = 0, all_bytes = self._counts.data_bytes + self._tally.data_bytes
        for time, size in self._tally.weights.items():
            self._weigh(time, size)
        weights = <Weight *>self._counts.weights.at
        count = self._counts.weights.size // sizeof(Weight)
        if count == 0:
            return None
        with nogil:
            qsort(weights, count, sizeof(Weight), _earlier)
            for at in range(count):
                gone += weights[at].size
                if gone * 2 >= all_bytes:
                    break
        return weights[at].at if gone * 2 >= all_bytes else None

    def _counted(self):
        """Return the tally of all rows."""
        cdef Counts *counts = &self._counts
        tally = self._tally
        tally.rows += counts.rows
        tally.barriers += counts.barriers
        tally.entries += counts.entries
        tally.data_bytes += counts.data_bytes
        tally.tombstones += counts.tombstones
        tally.expiring += counts.expiring
        tally.extends += counts.extends
        tally.first_stamp = min(tally.first_stamp, counts.first_stamp)
        tally.last_stamp = max(tally.last_stamp, counts.last_stamp)
        tally.last_expiry = max(tally.last_expiry, counts.last_expiry)
        if counts.first_expiry != UINT64_MAX:
            times = [tally.first_expiry, counts.first_expiry]
            tally.first_expiry = min(time for time in times if time is not None)
        if tally.rows:
            tally.first = PyBytes_FromStringAndSize(
                <const char *>self._firsts.at, self._first_size()
            )
            tally.last = PyBytes_FromStringAndSize(<const char *>self._last.at, self._last.size)
        return tally

    def _first_size(self):
        """Return how long the first object is: up to where the second one of the index starts."""
        if self._index_slots.size == 16:
            return self._firsts.size
        return packed_load_le32(self._index_slots.at + 16)


cdef packed_text _text(bytes data):
    cdef packed_text text
    text.at = <const uint8_t *>PyBytes_AS_STRING(data)
    text.size = PyBytes_GET_SIZE(data)
    return text


cdef int _append(memory *to, bytes data) except -1:
    return _grow(memory_add(to, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)))


cdef int _append_item(memory *to, uint64_t item) except -1:
    return _grow(memory_add(to, &item, 8))


cdef int _add_slot(memory *to, size_t start) noexcept nogil:
    cdef uint32_t slot = <uint32_t>start
    return memory_add(to, &slot, 4)


cdef inline int _grow(int failed) except -1 nogil:
    """Raise MemoryError if there was no memory to append something."""
    if failed:
        with gil:
            raise MemoryError
    return 0


cdef int _earlier(const void *one, const void *other) noexcept nogil:
    cdef uint64_t first = (<const Weight *>one).at, second = (<const Weight *>other).at
    return (first > second) - (first < second)
