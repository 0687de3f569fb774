# Types of merge.py.
cimport cython

from kvengine.storage.name_bytes cimport is_below
from kvengine.storage.packed cimport values_of, version_of
from kvengine.storage.read cimport Piece
from kvengine.storage.segment.block cimport RowBlock
from kvengine.storage.segment.reader cimport SegmentReader


cdef class Block:
    cdef readonly list names
    cdef readonly SegmentReader segment
    cdef readonly Py_ssize_t low, high
    cdef list _rows
    cdef RowBlock _block

    @cython.locals(row=bytes)
    cpdef tuple values(self, Py_ssize_t at)
    cpdef Piece piece(self, Py_ssize_t at)
    cdef object _damaged(self, Py_ssize_t at, error)


@cython.locals(block=Block)
cpdef Block block_in(SegmentReader segment, RowBlock rows)


cdef class Place:
    cdef readonly Block block
    cdef readonly Py_ssize_t at
    cdef readonly list pieces

    @cython.locals(newest=Piece)
    cpdef add_older(self, Block block, Py_ssize_t at)


@cython.locals(place=Place)
cpdef Place place_of(Block block, Py_ssize_t at)


cdef class _Cursor:
    cdef object _blocks
    cdef bytes _start, _stop
    cdef bint _reverse
    cdef Py_ssize_t _end
    cdef readonly Py_ssize_t at
    cdef readonly Block block
    cdef readonly tuple hidden
    cdef readonly bytes name

    @cython.locals(block=Block, names=list, low=Py_ssize_t, high=Py_ssize_t)
    cpdef bint fill(self) except -1
    cpdef bint advance(self) except -1
    @cython.locals(block=Block, at=Py_ssize_t)
    cpdef Block take_all(self)


@cython.locals(
    window=list, used_up=bint, first=_Cursor, cursor=_Cursor, name=bytes, place=Place
)
cdef list _merged(list cursors, bint reverse)
