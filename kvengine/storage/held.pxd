# C types of held objects.
import cython

from kvengine.storage.clock cimport EngineClock
from kvengine.storage.database cimport Database
from kvengine.storage.memtable cimport Memtable
from kvengine.storage.read cimport Piece, collect
from kvengine.storage.state cimport State
from kvengine.storage.version cimport View


cdef class HeldObject:
    cdef Database _db
    cdef View _view
    cdef list _pieces
    cdef object _now
    cdef bint _expiring
    cdef State _state, _marks
    cdef readonly tuple name
    cdef readonly object version, expires_at

    @cython.locals(db=Database, view=View, active=Memtable, states=dict)
    cdef bint is_current(self) except -1
    cdef _check_open(self)


@cython.locals(
    view=View, active=Memtable, states=dict, pieces=list, piece=Piece, flags=int, held=HeldObject
)
cpdef HeldObject hold(Database db, tuple name)
