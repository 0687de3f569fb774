# C types of the verbs that give out objects.
import cython

from kvengine.objects.sessions.host cimport Host
from kvengine.objects.virtual_object cimport VirtualObject
from kvengine.objects.workflow cimport Workflow
from kvengine.serdes.registry cimport Serdes, find
from kvengine.storage.name_bytes cimport are_ascii_names


cdef VirtualObject _filled(VirtualObject handle, Host host, service, key, serde, retention)
