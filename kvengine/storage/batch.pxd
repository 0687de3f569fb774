# C types of a batch. Its operations are structs of msgspec, which sessions and the wire make too.
import cython

from kvengine.storage.name_bytes cimport are_ascii_names, encode_object


cpdef set_operation(service, key, state_key, value, ttl, expires_at, limit)
cpdef clear_operation(service, key, state_key)


cdef class Batch:
    cdef public object stamp
    cdef readonly dict _changes
    cdef list _operations
    cdef dict _entries
    cdef Py_ssize_t _merged, _limit
    cdef object _store, _engine, _service, _key
    cdef str _state

    cdef _add(self, operation)
    cdef bint _change(self, operation) except -1
    cpdef _assign(self, service, key, dict entries)
    cdef bint _are_plain(self, service, key, dict entries) except -1
    @cython.locals(entries=dict)
    cdef dict _entries_of(self, tuple name)
    cpdef check_open(self)
    cpdef check_values(self, limit)
    cpdef close(self, stamp=*)
    cpdef _reopen(self)


@cython.locals(batch=Batch)
cpdef Batch batch_of(store=*, limit=*, engine=*)
