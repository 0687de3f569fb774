# Types of frames.py.
cimport cython


cdef class Frame:
    cdef readonly object offset, block
    cdef public long long size
    cdef public bint used
    cdef public object head


cdef class OpenSegment:
    cdef object __weakref__
    cdef public object file_id
    cdef public dict frames


cdef class Frames:
    cdef readonly long long capacity, bytes
    cdef readonly bint mapped
    cdef readonly object _queue, _lock
    cdef object _reads
    cdef tuple _last

    cpdef object last(self, OpenSegment segment, object offset)
    cpdef note(self, OpenSegment segment, object offset, object block, long long size)
    cpdef add(self, OpenSegment segment, Frame frame)
    cpdef keep_head(self, OpenSegment segment, Frame frame, object head)
    @cython.locals(frame=Frame, segment=OpenSegment)
    cdef _evict_one(self)
