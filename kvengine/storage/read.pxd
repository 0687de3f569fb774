# Types of read.py.
cimport cython

from kvengine.storage.memtable cimport Memtable
from kvengine.storage.state cimport State
from kvengine.storage.name_bytes cimport encode_object
from kvengine.storage.packed cimport entry_count, expires_at_of, find, values_of, version_of
from kvengine.storage.resolved cimport Resolved, plain_object
from kvengine.storage.segment.filter cimport barrier_digest, entry_digest, object_digest
from kvengine.storage.segment.block cimport RowBlock
from kvengine.storage.segment.reader cimport LiveSegment, SegmentReader
from kvengine.storage.version cimport Version, View


cdef int CLEARED, LARGE


cdef class Piece:
    cdef readonly bytes row, name
    cdef readonly SegmentReader segment

    cpdef object load(self)
    cpdef dict values(self)
    cpdef object find(self, str state_key)


@cython.locals(
    newest=bytes, row=bytes, encoded=bytes, above=bytes, segments=list, passed=list,
    segment=LiveSegment, version=Version, memtable=Memtable, state=State
)
cpdef bytes get(View view, tuple name, str state_key, object stamp, object now)
cdef bytes _live(object entry, bytes newest, object now)
@cython.locals(
    data=bytes, row=bytes, encoded=bytes, segments=list, pieces=list, segment=LiveSegment,
    version=Version
)
cpdef list collect(View view, tuple name, object stamp=*, object unpublished=*, list known=*)
@cython.locals(memtable=Memtable, state=State, ours=dict)
cdef bint _add_states(
    list pieces, View view, tuple name, object stamp, object unpublished
) except -1
@cython.locals(
    known=list, version=Version, encoded=bytes, digest="unsigned long long", only=LiveSegment,
    segment=LiveSegment, alone=bint, found=tuple
)
cpdef Resolved whole(View view, tuple name, object stamp)
@cython.locals(piece=Piece, entries=Py_ssize_t)
cpdef bint is_heavy(list pieces) except -1
@cython.locals(piece=Piece, values=dict)
cpdef Resolved resolved(list pieces)
