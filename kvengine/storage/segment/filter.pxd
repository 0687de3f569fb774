# What filter.pyx gives other compiled modules.

from libc.stdint cimport uint8_t, uint64_t

cpdef uint64_t object_digest(bytes name, uint64_t seed=*) except? 0
cpdef uint64_t entry_digest(str state_key, uint64_t object_digest) except? 0
cpdef uint64_t barrier_digest(uint64_t object_digest) except? 0


cdef class Filter:
    cdef readonly object seed
    cdef readonly object _words
    cdef const uint64_t[::1] _view

    cpdef bint may_hold(self, uint64_t digest) except -1


cdef extern from "kvengine/storage/segment/xxh3.h" nogil:
    uint64_t xxh3(const uint8_t *data, size_t size, uint64_t seed) noexcept

cdef uint64_t barrier_of(uint64_t object_digest) noexcept nogil
cdef uint64_t word_count(uint64_t items) noexcept nogil
cdef void set_items(uint64_t *words, uint64_t count, const uint64_t *digests, size_t items) noexcept nogil
cdef bint holds(const uint64_t *words, uint64_t count, uint64_t digest) noexcept nogil
