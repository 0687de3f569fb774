# C types of the open snapshots. A commit reads the bounds.
cdef class Snapshots:
    cdef public long long newest, oldest
    cdef public bint _torn
    cdef readonly dict _registered
    cdef readonly dict _stamps, _files
    cdef readonly object _forgotten, _lock
    cdef long long _next
