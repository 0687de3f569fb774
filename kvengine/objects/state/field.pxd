# C types of fields.
import cython

from kvengine.serdes.codec cimport Codec


cdef class Field:
    cdef public object default, factory, serde, in_json, from_json, resolve, ttl
    cdef public object type
    cdef public tuple aliases
    cdef public str attribute, state_key
    cdef public frozenset plain

    cpdef initial(self, owner)
    cpdef tuple encode(self, Codec codec, owner, value)
    cpdef decode(self, Codec codec, owner, bytes data, str state_key=*)
    cdef _serde(self, Codec codec)
