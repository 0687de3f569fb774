# Types of frames.py.
cimport cython

from kvengine.storage.segment.block cimport RowBlock


cdef unsigned long long _ODD, _BITS
cdef long long OVERHEAD


cdef class Frame:
    cdef readonly unsigned long long offset
    cdef readonly object block
    cdef public long long size
    cdef public bint used
    cdef public object head


@cython.locals(frame=Frame)
cpdef Frame new_frame(unsigned long long offset, object block, long long size)


cdef class OpenSegment:
    cdef object __weakref__
    cdef public unsigned long long file_id
    cdef public dict frames


cdef class Frames:
    cdef readonly long long capacity, bytes
    cdef readonly bint mapped
    cdef readonly object _queue, _lock
    cdef unsigned long long[::1] _reads
    cdef RowBlock _last

    @cython.locals(block=RowBlock)
    cpdef RowBlock last(self, OpenSegment segment, unsigned long long offset)
    @cython.locals(trace="unsigned long long", slot="unsigned long long")
    cpdef note(self, OpenSegment segment, unsigned long long offset, object block, long long size)
    cpdef add(self, OpenSegment segment, Frame frame)
    cpdef keep_head(self, OpenSegment segment, Frame frame, object head)
    @cython.locals(frame=Frame, segment=OpenSegment)
    cdef _evict_one(self)
