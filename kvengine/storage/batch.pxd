# C types of a batch. Its operations are structs of msgspec, which sessions and the wire make too.
import cython

from kvengine.storage.name_bytes cimport are_ascii_names, encode_object


cpdef set_operation(service, key, state_key, value, ttl, limit)
cpdef clear_operation(service, key, state_key)


cdef class Batch:
    cdef public list operations
    cdef public object stamp
    cdef object _commit, _limit
    cdef str _state

    cdef _add(self, operation)
    cpdef check_open(self)
    cpdef check_values(self, limit)
    cpdef close(self, stamp)
