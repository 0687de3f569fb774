# Types of filter.py: what a filter keeps.

cdef class Filter:
    cdef readonly object seed
    cdef readonly object _words
    cdef object _masks, _count

    cpdef bint may_hold(self, object digest) except -1
