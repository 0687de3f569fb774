# Types of reader.py: an open segment.
cimport cython

from kvengine.storage.frames cimport Frame, Frames, OpenSegment
from kvengine.storage.segment.block cimport RowBlock
from kvengine.storage.segment.filter cimport Filter
from kvengine.storage.segment.format cimport Index


cdef class SegmentReader(OpenSegment):
    # Public for salvage.py, whose readers fill them in for themselves.
    cdef public object _file
    cdef public Filter _filter
    cdef public Frames _frames
    cdef public Index _index
    cdef public object footer, properties
    cdef public str path
    cdef public long long size
    cdef public tuple tombstones

    cpdef bint may_hold(self, unsigned long long digest) except -1
    @cython.locals(index=Index, at=Py_ssize_t, frame=Frame, kept=RowBlock)
    cpdef bytes find(self, bytes name)
    @cython.locals(at=Py_ssize_t, frame=Frame, kept=RowBlock, row=bytes)
    cpdef bint has_in_memory(self, bytes name) except -1
    @cython.locals(at=Py_ssize_t)
    cpdef object find_in(self, bytes row, bytes name, str state_key)
    cpdef object decode(self, bytes row, bytes name)
    cpdef object load(self, bytes row, bytes name)
    cpdef object chunk(self, object chunk)
    @cython.locals(frame=Frame, frames=Frames, data=bytes)
    cpdef bytes chunk_bytes(self, object chunk)
    @cython.locals(frames=Frames, found=RowBlock)
    cdef RowBlock _read_rows(self, object offset, object length, bint keep)
    @cython.locals(frame=Frame)
    cdef object _head(self, bytes row, bytes name)
    cdef object _decoded(self, bytes row, bytes name)
    cdef Py_ssize_t _block_of(self, bytes name) except -2
    cpdef object _with_places(self, object row, Py_ssize_t at)
    cpdef object damaged(self, bytes name, object error)
    @cython.locals(data=bytes)
    cpdef bytes _sealed(self, object offset, object length, int kind)


cdef class LiveSegment(SegmentReader):
    cdef readonly object meta
    cdef readonly bytes start, stop
