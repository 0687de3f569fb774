# Types of version.py.
cimport cython

from kvengine.storage.memtable cimport Memtable
from kvengine.storage.name_bytes cimport encode_object, is_below, last_up_to
from kvengine.storage.segment.filter cimport barrier_digest, object_digest
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
    cdef readonly Memtable active
    cdef readonly bint expiring
    cdef readonly tuple frozen, tables
    cdef readonly Version version

    @cython.locals(
        table=Memtable, version=Version, encoded=bytes, barrier="unsigned long long",
        segment=LiveSegment,
    )
    cpdef bint may_expire(self, tuple name) except -1
    cpdef check_open(self)
