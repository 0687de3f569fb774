# C types of the memo. `known` is shared with readers, so it is never replaced.
cimport cython

cdef long long _TALLIES, _SLOTS


cdef class Memo:
    cdef public long long capacity
    cdef readonly long long bytes, era
    cdef readonly dict known
    cdef readonly dict _sizes
    cdef long long[::1] _tally

    @cython.locals(spot="long long", slot="long long")
    cpdef bint wants(self, object name, long long points) except -1
    @cython.locals(spot="long long", slot="long long")
    cpdef refuse(self, object name)
    @cython.locals(spot="long long", slot="long long")
    cpdef count_anew(self, object name)

    @cython.locals(size="long long")
    cpdef put(self, tuple name, object found)

    @cython.locals(
        old=dict, entries=dict, grown="long long", size="long long", value=bytes, earlier=bytes
    )
    cpdef change(self, tuple name, object before, long long version, dict changes)

    cpdef replace(self, tuple name, object found)
    cpdef take(self, tuple name)
    cpdef clear(self)
