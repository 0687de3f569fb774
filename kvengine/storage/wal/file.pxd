# C types of the WAL file that commits append to.
import cython
from libc.stdint cimport uint32_t

from kvengine.fs.disk cimport DiskFile


cdef class WalWriter:
    cdef readonly long long number, end, synced, epoch
    cdef readonly object path
    cdef readonly uint32_t salt, mark
    cdef long long _allocated
    cdef bytes _database_id
    cdef readonly object _file
    cdef object _failed
    cdef DiskFile _disk
    cdef bytes _writing

    @cython.locals(end="long long")
    cpdef long long append(self, bytes record) except -1

    cpdef finish_interrupted_append(self)
    cpdef discard(self)
    cpdef sync(self)
    cpdef long long seal(self) except -1
    cdef _sync(self, sync)
    cdef _reserve(self, long long end)
