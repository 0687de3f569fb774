# C types of the working state of a session.
import cython


cdef class Working:
    cdef public object version, expires_at
    cdef public dict base, changes, ttls
    cdef public bint complete, cleared
    cdef public object _expire
    cdef public list _keys, _some_keys

    cpdef bint only_assigns(self) except -1
    cpdef peek(self, str state_key)
    cpdef bint missing(self, str state_key) except -1
    cpdef learn(self, found, asked)
    cpdef learn_all(self, found)
    cpdef write(self, str state_key, bytes value, ttl=*)
    cpdef erase(self, str state_key)
    cpdef erase_all(self)


@cython.locals(working=Working)
cpdef Working begin(version, expires_at, dict base, bint complete)
