# C types of what the objects of a store share. Of an embedded store they are called in C.
from kvengine.objects.sessions.turns cimport Turns
from kvengine.serdes.codec cimport Codec
from kvengine.serdes.registry cimport Serdes
from kvengine.storage.commit cimport Committer
from kvengine.storage.reader cimport Reader


cdef class Host:
    cdef public object hold, retention_of, shared, store
    cdef public Reader reader
    cdef public Committer committer
    cdef public Serdes serdes
    cdef public Turns turns
    cdef public long long max_value_size


cdef class Handle(Codec):
    cdef readonly Host _host
    cdef readonly object _retention
