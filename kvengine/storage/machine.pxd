# What machine.pyx gives other compiled modules.
from cpython.pythread cimport PyThread_type_lock


cdef class Lock:
    cdef PyThread_type_lock _lock
    cdef bint _held
    cdef unsigned long _holder

    cdef int take(self) except -1
    cdef void give(self) noexcept
    cpdef bint mine(self) noexcept


cpdef unsigned long get_ident() noexcept
cpdef long long time_ns() except -1
cpdef object ref(object thing)
cpdef dict values_of(object thing)
cpdef object new(object kind)
cpdef Py_ssize_t references(object thing)
