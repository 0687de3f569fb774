# What state.pyx gives other compiled modules.


cdef class State:
    cdef readonly long long stamp
    cdef readonly tuple rows
    cdef readonly int fresh
    cdef public State prev


cdef class TombstoneState(State):
    cdef readonly tuple tombstones
