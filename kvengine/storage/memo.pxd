# C types of the memo. `known` is shared with readers, so it is never replaced.
import cython

from kvengine.storage.resolved cimport Resolved


cdef class Memo:
    cdef public long long capacity
    cdef readonly long long bytes, era
    cdef readonly dict known
    cdef readonly dict _sizes, _tally

    cpdef bint wants(self, object name, long long points) except -1
    cpdef refuse(self, object name)
    cpdef count_anew(self, object name)

    @cython.locals(size="long long")
    cpdef put(self, tuple name, object found)

    @cython.locals(
        old=dict, entries=dict, grown="long long", size="long long", value=bytes, earlier=bytes,
        found=Resolved,
    )
    cpdef change(self, tuple name, Resolved before, long long version, dict changes)

    cpdef replace(self, tuple name, object found)
    cpdef take(self, tuple name)
    cpdef clear(self)
