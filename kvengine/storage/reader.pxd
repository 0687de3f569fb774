# Types of reader.py.
cimport cython

from kvengine.storage cimport read
from kvengine.storage.moment cimport Moment
from kvengine.storage.version cimport View


cdef class Reader:
    cdef readonly object _db
    cdef object _now, _stamp
    cdef dict _known
    cdef readonly Moment _fixed_moment

    cdef View _view(self)
    cdef tuple _moment_to_walk(self)
    cdef object _remember(self, tuple name, int points)
    cdef object _in_use(self, tuple name)
    cdef object _live(self, tuple name)
    cdef tuple _look(self, tuple name)
    cdef object _summary(self, tuple name)


cdef class LiveReader(Reader):
    pass


cdef class MomentReader(Reader):
    pass
