# C types of what the objects of a store share. Callables of the store may be set to None.
from kvengine.objects.sessions.turns cimport Turns
from kvengine.serdes.registry cimport Serdes


cdef class Host:
    cdef public object commit_entries, hold, known, store
    cdef public Serdes serdes
    cdef public Turns turns
    cdef public long long max_value_size
