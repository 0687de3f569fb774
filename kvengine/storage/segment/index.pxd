# What index.pyx gives other compiled modules.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from kvengine.storage.packed cimport packed_text


cdef struct Slot:
    uint64_t offset
    uint32_t start
    uint32_t length


cdef class Index:
    cdef Py_ssize_t _count, _room
    cdef size_t _names_size, _names_room, _shared
    cdef uint8_t *_names
    cdef Slot *_slots
    cdef uint64_t *_heads
    cdef bint _searchable

    cpdef add(self, bytes first, uint64_t offset, uint32_t length)
    cpdef Py_ssize_t find(self, bytes name) except -2
    cpdef Py_ssize_t before(self, bytes stop) except -2
    cpdef bytes first(self, Py_ssize_t at)
    cpdef uint64_t offset(self, Py_ssize_t at) except? 0
    cpdef uint32_t length(self, Py_ssize_t at) except? 0
    cdef int _make_room(self, Py_ssize_t more, size_t bytes_more) except -1
    cdef packed_text _name(self, Py_ssize_t at) noexcept
    cdef void _make_heads(self) noexcept
    cdef int _check(self, Py_ssize_t at) except -1
