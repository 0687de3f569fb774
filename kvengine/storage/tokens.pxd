# C types of the tokens of commits, which each commit of a client has.

cdef class Once:
    cdef readonly bytes token
    cdef readonly object since


cdef class Tokens:
    cdef public object since
    cdef object _stamps
    cdef readonly Py_ssize_t _limit

    cpdef find(self, bytes token)
    cpdef note(self, bytes token, stamp)


cpdef bytes check_token(token)
