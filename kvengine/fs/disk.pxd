# C types of a file on disk, whose calls commits and cold reads consist of.
import cython

from kvengine.fs cimport calls


cdef Py_ssize_t _CHECKED_LENGTH


cdef class DiskFile:
    cdef public int _fd
    cdef const unsigned char[::1] _mapped

    @cython.locals(written="Py_ssize_t")
    cpdef write(self, data)

    @cython.locals(data=bytes)
    cpdef bytes pread(self, Py_ssize_t length, long long offset)
