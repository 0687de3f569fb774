# What block.pyx gives other compiled modules.

from kvengine.storage.packed cimport packed_text

cdef class RowBlock:
    cdef readonly bytes data
    cdef readonly Py_ssize_t count
    cdef public bint is_sound
    cdef readonly list _names
    cdef Py_ssize_t _table

    cdef Py_ssize_t _bound(self, Py_ssize_t slot) noexcept
    cdef int _check_names(self) except -1
    cdef void _name_at(self, Py_ssize_t at, packed_text *name) noexcept
    cdef bytes _slice(self, Py_ssize_t low, Py_ssize_t high)
    cdef int _check_row(self, Py_ssize_t at) except -1
    cpdef RowBlock for_walk(self)
    cpdef Py_ssize_t footprint(self) except -1
    cpdef bytes row(self, Py_ssize_t at)
    cpdef tuple values(self, Py_ssize_t at)
    cpdef bytes find(self, bytes name)
