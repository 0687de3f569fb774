# Types of merge.py.
cimport cython

from kvengine.storage.read cimport Piece
from kvengine.storage.segment.block cimport RowBlock
from kvengine.storage.segment.reader cimport SegmentReader


cdef class Block:
    cdef readonly object names
    cdef readonly SegmentReader segment
    cdef object _rows, _made

    cpdef list decode(self)
    cpdef Block part(self, Py_ssize_t low, Py_ssize_t high, bint reverse)
    cdef object _checked(self, make)


cdef class _Cursor:
    cdef object _blocks
    cdef bytes _start, _stop
    cdef bint _reverse
    cdef Block _block
    cdef Py_ssize_t _low, _high

    @cython.locals(block=Block)
    cpdef bint fill(self) except -1
    cpdef Block take_all(self)
