# C types of the working state of a session.
from kvengine.objects.state.cells cimport Cells


cdef class Working(Cells):
    cdef public bint _open, _complete, _completed, _cleared
    cdef public object _version, _expires_at, _expire
    cdef public dict _base, _changes, _ends, _ttls
    cdef public list _keys, _some_keys

    cpdef _begin(self, version, expires_at, dict base, bint complete, dict ends=*, bint completed=*)
    cpdef bint _only_assigns(self) except -1
    cpdef _peek(self, str state_key)
    cpdef bint _missing(self, str state_key) except -1
    cpdef _learn(self, found, asked)
    cpdef _learn_all(self, found)
    cpdef _put(self, str state_key, bytes value, ttl=*, at=*)
    cpdef _drop(self, str state_key)
    cpdef _drop_all(self)
