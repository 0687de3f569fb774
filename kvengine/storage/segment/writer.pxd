# What writer.pyx gives other compiled modules: rows are added without the interpreter lock.

from libc.stdint cimport int64_t, uint8_t, uint64_t

from kvengine.storage.overlay cimport memory, overlay
from kvengine.storage.packed cimport packed_text


cdef struct Counts:
    # What tally.py counts, of the rows that were added in C.
    uint64_t rows
    uint64_t entries
    uint64_t data_bytes
    uint64_t tombstones
    uint64_t expiring
    uint64_t extends
    uint64_t barriers
    uint64_t first_stamp
    uint64_t last_stamp
    uint64_t first_expiry  # UINT64_MAX: none
    uint64_t last_expiry
    memory weights  # of Weight


cdef class SegmentWriter:
    cdef readonly object path
    cdef readonly uint64_t file_id
    cdef object _fs, _file, _tally
    cdef int _descriptor
    cdef uint64_t _block_size, _chunk_size, _seed, _horizon, _flushed, _reserved
    # The block that is being made; the index; what is to be written; items of the filter.
    cdef memory _rows, _names, _row_slots, _name_slots
    cdef memory _firsts, _index_slots, _buffer, _body, _digests, _last
    # A row in chunks: their bodies, a list of overlay_chunk, its head.
    cdef memory _chunks, _list, _head
    cdef Counts _counts
    cdef overlay _row

    cdef uint64_t written(self) noexcept nogil
    cdef int put(self, packed_text name, overlay *row) except -1 nogil
    cdef int _put_large(self, packed_text name, overlay *row) except -1 nogil
    cdef int _note(self, packed_text name, overlay *row) except -1 nogil
    cdef int _count(self, packed_text name, overlay *row) except -1 nogil
    cdef int _count_expiries(self, overlay *row, int64_t size) except -1 nogil
    cdef int _weigh(self, uint64_t at, int64_t size) except -1 nogil
    cdef int _append(self, packed_text name, packed_text encoded) except -1 nogil
    cdef int _end_block(self) except -1 nogil
    cdef int _add_to_index(self, size_t first) except -1 nogil
    cdef int _put_body(self, const uint8_t *body, size_t size, int kind) except -1 nogil
    cdef int _flush(self) except -1 nogil
    cdef int _write(self, const uint8_t *data, size_t size) except -1 nogil
    cdef int _sync(self) except -1 nogil
    cdef void _reserve(self) noexcept nogil
    cdef int _cut(self) except -1 nogil
