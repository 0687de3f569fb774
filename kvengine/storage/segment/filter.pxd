# Types of filter.py: what a filter keeps.

cpdef object entry_digest(str state_key, object object_digest)
cpdef object barrier_digest(object object_digest)


cdef class Filter:
    cdef readonly object seed
    cdef readonly object _words
    cdef object _masks, _count

    cpdef bint may_hold(self, object digest) except -1
