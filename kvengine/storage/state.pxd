# What state.pyx gives other compiled modules.
from kvengine.storage.resolved cimport Resolved


cdef class State:
    cdef readonly long long stamp
    cdef readonly bytes row
    cdef readonly State below
    cdef public State prev
    cdef readonly int fresh
    cdef readonly bint hides


cdef class TombstoneState(State):
    cdef readonly tuple tombstones


cdef class Change:
    cdef readonly tuple name
    cdef readonly dict entries
    cdef public bytes row
    cdef public State state
    cdef public Resolved known


cdef class Commit:
    cdef readonly long long stamp, now, start, end
    cdef readonly list changes
    cdef readonly TombstoneState marks
    cdef readonly object memtable
    cdef readonly bint published
    cdef readonly bytes token
    cdef readonly object waiter

    cpdef defer(self)
    cpdef wake(self)


cpdef Change change_of(tuple name, dict entries, bytes row)
cpdef Commit new_commit()
cpdef State state_of(long long stamp, bytes row, State below, int fresh, State prev)
