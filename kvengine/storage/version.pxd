# Types of version.py.
cimport cython

from kvengine.storage.name_bytes cimport last_up_to
from kvengine.storage.segment.reader cimport LiveSegment


cdef class Version:
    cdef list _runs
    cdef readonly bint expiring
    cdef readonly object files
    cdef readonly unsigned long long seed
    cdef readonly tuple levels

    @cython.locals(segment=LiveSegment, starts=list, level=tuple, at=Py_ssize_t, found=list)
    cpdef list segments_for(self, bytes name)


cdef class View:
    cdef readonly object active
    cdef readonly bint expiring
    cdef readonly tuple frozen, tables
    cdef readonly Version version

    cpdef check_open(self)
