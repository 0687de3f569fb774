# C types of the memtable.
import cython

from kvengine.storage.name_bytes cimport encode_object
from kvengine.storage.state cimport State, TombstoneState


cdef class Memtable:
    cdef readonly long long wal
    cdef readonly dict states
    cdef readonly set expiring, extended
    cdef public long long first_deletion
    cdef public bint timed, announced, has_tombstones, _torn
    cdef public object first_expiry
    cdef readonly list _fresh
    cdef readonly object _ordered, _order_lock

    @cython.locals(
        states=dict, published=dict, marks=tuple, before=State, name=tuple, row=bytes,
        current=State, flags=int,
    )
    cpdef dict prepare_states(
        self, dict unpublished, object objects, object ranges, long long stamp, long long now
    )

    @cython.locals(mine=dict, state=State, prev=State)
    cpdef publish(self, dict states, long long newest_snapshot=*, long long oldest_snapshot=*)

    @cython.locals(flags=int)
    cpdef _note(self, tuple name, bytes row, long long now)

    @cython.locals(states=dict, marks=State, state=State, cover="long long")
    cpdef tuple find(self, object name, object stamp=*, dict unpublished=*)


cdef bint _is_large(bytes row) except -1
