# C types of the handles of objects.
import cython

from kvengine.objects.sessions.context cimport block_of
from kvengine.objects.sessions.host cimport Handle, Host
from kvengine.objects.sessions.settings cimport check
from kvengine.serdes.codec cimport absent
from kvengine.storage.names cimport check_name


cdef class VirtualObject(Handle):
    pass
