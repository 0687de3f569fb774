# Types of reader.py: an open segment.
cimport cython

from kvengine.fs.disk cimport DiskFile
from kvengine.storage.checksum cimport check_block
from kvengine.storage.frames cimport Frame, Frames, OpenSegment
from kvengine.storage.packed cimport find
from kvengine.storage.segment.block cimport Map, RowBlock, checked_rows, mapped_rows
from kvengine.storage.segment.filter cimport Filter
from kvengine.storage.segment.index cimport Index

cdef int _UNCOMPRESSED, LARGE


cdef class SegmentReader(OpenSegment):
    # Public for salvage.py, whose readers fill them in for themselves.
    cdef public object _file
    cdef public DiskFile _disk  # the same, if it is one: then it is read by a call in C
    cdef public Filter _filter
    cdef public Frames _frames
    cdef public Index _index
    cdef public Map _map
    cdef bytearray _seen
    cdef public object footer, properties
    cdef public str path
    cdef public unsigned long long size
    cdef public tuple tombstones

    cpdef bint may_hold(self, unsigned long long digest) except -1
    @cython.locals(at=Py_ssize_t, kept=RowBlock)
    cpdef bytes find(self, bytes name)
    @cython.locals(at=Py_ssize_t, kept=RowBlock)
    cpdef object value_of(self, bytes name, str state_key)
    @cython.locals(at=Py_ssize_t, kept=RowBlock)
    cpdef tuple values_of(self, bytes name)
    cpdef bytes row_in(self, RowBlock kept, bytes name)
    @cython.locals(at=Py_ssize_t, row=bytes)
    cpdef bint has_in_memory(self, bytes name) except -1
    @cython.locals(frame=Frame, frames=Frames, offset="unsigned long long")
    cdef RowBlock _in_memory(self, Py_ssize_t at)
    @cython.locals(at=Py_ssize_t)
    cpdef object find_in(self, bytes row, bytes name, str state_key)
    cpdef object decode(self, bytes row, bytes name)
    cpdef object load(self, bytes row, bytes name)
    cpdef object chunk(self, object chunk)
    @cython.locals(frame=Frame, data=bytes, found=bytes)
    cpdef bytes chunk_bytes(self, object chunk)
    @cython.locals(
        found=RowBlock, frames=Frames, offset="unsigned long long", length="unsigned long long"
    )
    cdef RowBlock _read_rows(self, Py_ssize_t at, bint keep)
    cdef RowBlock _rows_in_map(self, Map mapped, Py_ssize_t at, unsigned long long offset)
    @cython.locals(frame=Frame, at=Py_ssize_t, offset="unsigned long long", kept=RowBlock)
    cdef object _head(self, bytes row, bytes name)
    cdef object _decoded(self, bytes row, bytes name)
    cdef Py_ssize_t _block_of(self, bytes name) except -2
    cpdef object _with_places(self, object row, Py_ssize_t at)
    cpdef object damaged(self, bytes name, object error)
    @cython.locals(data=bytes)
    cpdef bytes _sealed(self, unsigned long long offset, unsigned long long length, int kind)
    @cython.locals(
        index=Index, start="unsigned long long", stop="unsigned long long", last=Py_ssize_t,
        data=bytes, run=list, number=Py_ssize_t, offset="unsigned long long"
    )
    cpdef list _read_run(self, Py_ssize_t at, Py_ssize_t end, unsigned long long most)
    cpdef RowBlock _rows_in(
        self, bytes read, Py_ssize_t start, Py_ssize_t length, unsigned long long offset
    )
    cpdef RowBlock _with_names(self, RowBlock found, unsigned long long offset)
    @cython.locals(codec=int)
    cdef int _check(self, bytes data, unsigned long long offset, int kind) except -1
    @cython.locals(disk=DiskFile)
    cpdef bytes _read(self, unsigned long long offset, unsigned long long length)


cdef class LiveSegment(SegmentReader):
    cdef readonly object meta
    cdef readonly bytes start, stop
    cdef readonly bint expiring, has_barriers
