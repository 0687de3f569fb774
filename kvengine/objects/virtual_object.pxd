# C types of the handles of objects.
import cython

from kvengine.objects.sessions.context cimport SessionContext
from kvengine.objects.sessions.host cimport Host
from kvengine.objects.sessions.settings cimport check
from kvengine.serdes.codec cimport Codec, absent
from kvengine.storage.machine cimport ref
from kvengine.storage.names cimport check_name


cdef class VirtualObject:
    cdef readonly Host _host
    cdef readonly Codec _codec
    cdef readonly object _retention
