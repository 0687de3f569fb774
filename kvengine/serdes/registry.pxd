# C types of serdes by name.

cdef dict _made


cdef class Serdes:
    cdef readonly object _usual
    cdef readonly dict _own

    cpdef of(self, str service)


cpdef find(choice)
