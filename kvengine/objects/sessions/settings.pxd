# C types of how a session runs.


cdef class Settings:
    cdef readonly object preload, preload_limit, timeout, durability
    cdef readonly bint shared


cpdef Settings check(state, preload, preload_limit, shared, timeout, durability)
