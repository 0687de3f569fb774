# C types of how a session runs.


cdef class Settings:
    cdef readonly object preload, preload_limit, timeout, durability
    cdef readonly bint read_only


cpdef Settings check(state, preload, preload_limit, read_only, timeout, durability, shared)
