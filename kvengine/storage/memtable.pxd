# C types of the memtable.
import cython

from kvengine.storage.fold cimport fold
from kvengine.storage.name_bytes cimport encode_object
from kvengine.storage.packed cimport entry_count
from kvengine.storage.state cimport Change, State, TombstoneState, change_of, state_of


cdef class Memtable:
    cdef readonly long long wal
    cdef readonly dict states
    cdef readonly set expiring, extended
    cdef public long long first_deletion
    cdef public bint timed, announced, has_tombstones, _torn
    cdef public object first_expiry
    cdef readonly list _fresh, _cleared
    cdef readonly object _ordered, _order_lock

    @cython.locals(
        published=dict, marks=tuple, before=State, change=Change, name=tuple, row=bytes,
        current=State, flags=int, cleared=bint, large=bint,
    )
    cpdef TombstoneState prepare_states(
        self, dict unpublished, list changes, object ranges, long long stamp, long long now
    )

    @cython.locals(changes=list)
    cpdef tuple prepare_logged(self, object commit)
    @cython.locals(changes=list, marks=TombstoneState)
    cpdef replay(self, object commit)

    @cython.locals(change=Change, state=State, prev=State)
    cpdef publish(
        self,
        list changes,
        TombstoneState marks=*,
        long long newest_snapshot=*,
        long long oldest_snapshot=*,
    )

    @cython.locals(flags=int)
    cpdef _note(self, tuple name, bytes row, long long now)

    @cython.locals(states=dict, marks=State, state=State, cover="long long")
    cpdef tuple find(self, object name, object stamp=*, dict unpublished=*)


@cython.locals(change=Change)
cpdef dict states_of(list changes, TombstoneState marks)
cdef bint _is_heavy(State state) except -1
cdef _unlink(State state, State prev, long long newest_snapshot, long long oldest_snapshot)
@cython.locals(rows=tuple, end="Py_ssize_t", count="Py_ssize_t", fresh=bytes, below=State)
cdef State _folded(long long stamp, bytes row, State current)
