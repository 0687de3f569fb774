# JSON is compiled for its calls: each value of a session passes here.


cdef class JSONSerde:
    pass


cdef class JSONFieldSerde(JSONSerde):
    pass


cpdef decoder_of(wanted)
