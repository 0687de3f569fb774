# What filter.pyx gives other compiled modules.

from libc.stdint cimport uint64_t

cpdef uint64_t object_digest(bytes name, uint64_t seed=*) except? 0
cpdef uint64_t entry_digest(str state_key, uint64_t object_digest) except? 0
cpdef uint64_t barrier_digest(uint64_t object_digest) except? 0


cdef class Filter:
    cdef readonly object seed
    cdef readonly object _words
    cdef const uint64_t[::1] _view

    cpdef bint may_hold(self, uint64_t digest) except -1
