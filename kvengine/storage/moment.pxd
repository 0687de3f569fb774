# Types of moment.py.

cdef class Moment:
    cdef readonly object db, view, stamp, now
    cdef readonly long long token
    cdef object _engine

    cpdef check_open(self)
