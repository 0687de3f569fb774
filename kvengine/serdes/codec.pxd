# C types of the values of one object.
import cython

from kvengine.serdes.raw cimport BytesSerde
from kvengine.serdes.registry cimport find


cdef class Codec:
    cdef readonly tuple _name
    cdef readonly object _serde

    cpdef bytes _encode(self, object state_key, object value, object serde=*)
    cpdef _decode(self, object state_key, bytes data, object wanted=*, object serde=*)


@cython.locals(codec=Codec)
cpdef Codec codec_of(tuple name, serde)
cpdef absent(object default, object serde)
