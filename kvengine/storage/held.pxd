# C types of held objects.
import cython

from kvengine.storage.clock cimport EngineClock
from kvengine.storage.database cimport Database
from kvengine.storage.memtable cimport Memtable
from kvengine.storage.packed cimport entry_count, find, version_of
from kvengine.storage.read cimport Piece, collect
from kvengine.storage.state cimport State
from kvengine.storage.version cimport View


cdef class HeldObject:
    cdef Database _db
    cdef View _view
    cdef list _rows
    cdef list _pieces
    cdef object _now
    cdef bint _older, _expiring
    cdef State _state, _marks
    cdef readonly tuple name
    cdef readonly object version, ends_at
    cdef readonly bint completed

    @cython.locals(db=Database, view=View, active=Memtable, states=dict)
    cdef bint is_current(self) except -1
    @cython.locals(row=bytes)
    cpdef bytes get(self, str service, str key, str state_key)
    @cython.locals(pieces=list)
    cdef list _all(self)
    cdef _check_open(self)


@cython.locals(
    db=Database, view=View, states=dict, rows=list, newest=bytes, pieces=list, piece=Piece, memtable=Memtable,
    state=State, flags=int, held=HeldObject,
)
cpdef HeldObject hold(Database db, tuple name, now=*)
