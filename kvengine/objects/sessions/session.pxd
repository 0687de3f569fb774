# C types of sessions. What runs one fills in all fields.
import cython

from kvengine.objects.sessions.host cimport Handle
from kvengine.objects.sessions.settings cimport Settings
from kvengine.objects.sessions.working cimport Working
from kvengine.objects.state.stored cimport Stored, collect, forget, over
from kvengine.serdes.codec cimport absent
from kvengine.storage.commit cimport Committer
from kvengine.storage.name_bytes cimport are_ascii_names
from kvengine.storage.names cimport check_name


cdef class SessionVerbs(Working):
    cdef public Handle _handle
    cdef public object _moment
    cdef public Stored _state
    cdef public Settings _settings

    cpdef _check_writable(self)
    cpdef _refuse_write(self)
    cpdef _is_over(self)
    cpdef _collect(self)
    cpdef bint _changed(self) except -1
    cpdef _batch(self, dict changes)
    cpdef _typed(self, kind)
    cpdef _asked(self)
    cpdef _end(self)
    cpdef _finish(self)
    cpdef _write(self, str state_key, data, ttl)
    cpdef _erase(self, str state_key)


cdef class Session(SessionVerbs):
    cpdef _finish(self)
    @cython.locals(name=tuple, committer=Committer)
    cdef long long _save(self, dict changes) except -1
    cpdef _read(self, str state_key)
