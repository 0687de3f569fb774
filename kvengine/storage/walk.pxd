# Types of walk.py: what a scan makes of each object.
cimport cython

from kvengine.storage.merge cimport Block
from kvengine.storage.resolved cimport Resolved


cdef class _Form:
    cdef str _service
    cdef bytes _prefix
    cdef Py_ssize_t _cut

    @cython.locals(live=Resolved)
    cdef _add(self, list out, bytes name, Resolved found, object now)
    @cython.locals(out=list, of_segment=bint, at=Py_ssize_t, name=bytes, entries=dict, whole=Resolved)
    cpdef list block(self, Block block, object now)
    cdef _look(self, bytes name)
