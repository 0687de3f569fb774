# Types of walk.py: what a scan makes of each object.
cimport cython

from kvengine.storage.merge cimport Block, Place
from kvengine.storage.resolved cimport Resolved


cdef class DeadSpans:
    cdef readonly list _spans
    cdef public object _walks
    cdef readonly bint watching


cdef class _Form:
    cdef object _now
    cdef bint _reverse
    cdef readonly Py_ssize_t left
    cdef Py_ssize_t _cut
    cdef str _service
    cdef bytes _prefix

    @cython.locals(out=list, block=Block, place=Place, low=Py_ssize_t, high=Py_ssize_t)
    cpdef list window(self, window)
    @cython.locals(found=tuple, name=bytes)
    cdef _add(self, list out, Block block, Py_ssize_t at)
    @cython.locals(found=Resolved, live=Resolved, name=bytes)
    cdef _add_resolved(self, list out, list pieces)
    cdef _look(self, bytes name)
