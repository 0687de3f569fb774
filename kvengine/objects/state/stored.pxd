# C types of what a typed state knows.
import cython

from kvengine.objects.state.cells cimport Cells
from kvengine.objects.state.field cimport Field
from kvengine.serdes.codec cimport Codec
from kvengine.storage.machine cimport new, values_of


cdef class Stored:
    cdef public Cells _kv_cells
    cdef public Codec _kv_codec
    cdef public dict _kv_watched

    @cython.locals(codec=Codec, state_key=str)
    cpdef _kv_load(self, Field field)
    cpdef _kv_bind(self, Cells cells, Codec codec)
    @cython.locals(fields=dict, field=Field)
    cpdef _kv_assign(self, str name, value)
    @cython.locals(fields=dict, field=Field)
    cpdef _kv_remove(self, str name)
    cdef _kv_beside(self, str name, str consequence)
    @cython.locals(data=bytes)
    cdef _kv_set(self, Field field, value)
    cdef _kv_clear(self, Field field)


@cython.locals(state=Stored)
cpdef over(kind, Cells cells, Codec codec)
@cython.locals(watched=dict, codec=Codec, cells=Cells, field=Field)
cpdef collect(Stored state)
@cython.locals(values=dict, watched=dict, field=Field)
cpdef forget(Stored state, str state_key=*)
