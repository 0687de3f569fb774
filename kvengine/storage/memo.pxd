# C types of the memo. `known` is shared with readers, so it is never replaced.
cimport cython

from kvengine.storage.machine cimport references
from kvengine.storage.resolved cimport Resolved

cdef long long _TALLIES, _SLOTS


cdef class Memo:
    cdef public long long capacity
    cdef readonly long long bytes, era
    cdef readonly dict known
    cdef long long[::1] _tally

    @cython.locals(spot="long long", slot="long long")
    cpdef bint wants(self, object name, long long points) except -1
    @cython.locals(spot="long long", slot="long long")
    cpdef refuse(self, object name)
    @cython.locals(spot="long long", slot="long long")
    cpdef count_anew(self, object name)

    @cython.locals(size="long long")
    cpdef put(self, tuple name, Resolved found)

    @cython.locals(
        old=dict, entries=dict, size="long long", value=bytes, earlier=bytes,
        found=Resolved, is_longer=bint,
    )
    cpdef bint change(self, tuple name, Resolved before, long long version, dict changes) except -1

    cpdef replace(self, tuple name, Resolved found)
    @cython.locals(found=Resolved)
    cpdef Resolved take(self, tuple name)
    cpdef clear(self)
