# C types of a file on disk, whose calls commits and cold reads consist of.
import cython

from kvengine.fs cimport calls


cdef class DiskFile:
    cdef public int _fd
    cdef object _mapped

    @cython.locals(written="Py_ssize_t")
    cpdef write(self, data)

    @cython.locals(data=bytes)
    cpdef bytes pread(self, Py_ssize_t length, long long offset)
