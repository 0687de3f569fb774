# Bytes as they are, compiled for their calls.


cdef class BytesSerde:
    pass
