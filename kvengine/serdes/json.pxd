# JSON is compiled for its calls: each value of a session passes here.
import cython


cdef class JSONSerde:
    pass


cdef class JSONFieldSerde(JSONSerde):
    pass


cpdef decoder_of(wanted)
cdef _check(value, bytes data)
@cython.locals(left=list, seen=dict)
cdef _refuse_keys_alike(value)
