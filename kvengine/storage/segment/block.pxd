# What block.pyx gives other compiled modules.

from libc.stdint cimport uint8_t, uint64_t

from kvengine.storage.packed cimport packed_text


cdef class Map:
    cdef Py_buffer _buffer


cdef class RowBlock:
    cdef readonly uint64_t file_id, offset
    cdef readonly Py_ssize_t count
    cdef public bint is_sound
    cdef readonly list _names
    cdef object _owner
    cdef const uint8_t *_start
    cdef Py_ssize_t _size, _table

    cdef int _open(self, object owner, const uint8_t *start, Py_ssize_t size) except -1
    cdef Py_ssize_t _bound(self, Py_ssize_t slot) noexcept
    cdef int _check_names(self) except -1
    cdef void _name_at(self, Py_ssize_t at, packed_text *name) noexcept
    cdef bytes _slice(self, Py_ssize_t low, Py_ssize_t high)
    cdef int _check_row(self, Py_ssize_t at) except -1
    cdef Py_ssize_t _position(self, bytes name) except -2
    cpdef list all_names(self)
    cpdef RowBlock for_walk(self)
    cpdef Py_ssize_t footprint(self) except -1
    cpdef bytes row(self, Py_ssize_t at)
    cpdef tuple values(self, Py_ssize_t at)
    cpdef tuple values_of(self, bytes name)
    cpdef bytes find(self, bytes name)
    cpdef object value_of(self, bytes name, str state_key)


cpdef RowBlock checked_rows(
    bytes read, Py_ssize_t start, Py_ssize_t length, uint64_t file_id, uint64_t offset
)
cpdef RowBlock mapped_rows(Map file, uint64_t file_id, uint64_t offset, uint64_t length)
