# Types of block.py: what a block of rows keeps.
cimport cython


cdef class RowBlock:
    cdef readonly bytes data
    cdef readonly Py_ssize_t count
    cdef readonly object slots
    cdef public bint is_sound
    cdef readonly list _names

    @cython.locals(found=RowBlock)
    cpdef RowBlock for_walk(self)
    cpdef bytes row(self, Py_ssize_t at)
    @cython.locals(
        data=bytes, count=Py_ssize_t, low=Py_ssize_t, high=Py_ssize_t, middle=Py_ssize_t, found=bytes
    )
    cpdef bytes find(self, bytes name)
