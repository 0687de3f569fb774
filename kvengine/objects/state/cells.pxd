# C types of what a typed state stands on: it asks a session without looking for its methods.


cdef class Cells:
    cpdef _read(self, str state_key)
    cpdef _write(self, str state_key, data, ttl)
    cpdef _erase(self, str state_key)
