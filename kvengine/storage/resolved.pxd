# Types of resolved.py.
cimport cython


cdef class Resolved:
    cdef readonly object version, expires_at, soonest, completed_at
    cdef readonly dict entries, ttls
    cdef readonly long long size

    cpdef Resolved at(self, object now)


@cython.locals(found=Resolved)
cpdef Resolved plain_object(object version, dict values)
cpdef Resolved with_ttls(object version, object expires_at, dict values, dict ttls, object completed_at=*)
