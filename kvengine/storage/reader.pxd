# Types of reader.py.
cimport cython

from kvengine.storage cimport read
from kvengine.storage.database cimport Database
from kvengine.storage.machine cimport Lock
from kvengine.storage.memo cimport Memo
from kvengine.storage.name_bytes cimport are_ascii_names
from kvengine.storage.names cimport check_name
from kvengine.storage.moment cimport Moment
from kvengine.storage.resolved cimport Resolved
from kvengine.storage.version cimport View


cdef int ENTRY, WHOLE


cdef class Reader:
    cdef readonly Database _db
    cdef object _now, _stamp
    cdef dict _known
    cdef readonly Moment _fixed_moment

    cdef View _view(self)
    cdef tuple _moment_to_walk(self)
    cdef Resolved _remember(self, tuple name, int points)
    @cython.locals(found=Resolved)
    cdef Resolved _in_use(self, tuple name)
    @cython.locals(name=tuple, found=Resolved, live=Resolved, view=View)
    cpdef object get(self, object service, object key, object state_key)
    @cython.locals(found=Resolved)
    cpdef object get_all(self, object service, object key)
    @cython.locals(found=Resolved)
    cpdef Resolved _for_session(self, tuple name, bint count)
    @cython.locals(name=tuple, found=Resolved, view=View)
    cdef Resolved _live(self, object service, object key)
    @cython.locals(found=Resolved, view=View)
    cdef tuple _look(self, tuple name)
    @cython.locals(known=Resolved, view=View)
    cdef object _summary(self, tuple name)


cdef class LiveReader(Reader):
    @cython.locals(db=Database, memo=Memo, found=Resolved, pieces=list, is_heavy=bint)
    cdef Resolved _remember(self, tuple name, int points)


cdef class MomentReader(Reader):
    pass


cdef class Walk:
    cdef Database _db
    cdef Moment _moment
    cdef bint _ours
    cdef str _broken
    cdef object _windows, _items
    cdef Lock _lock

    cdef _check_open(self)
    cdef _end(self)
    cdef _fetch(self)


cdef tuple _checked(service, key)
