# C types of sessions. What runs one fills in all fields.
import cython

from kvengine.objects.sessions.host cimport Host
from kvengine.objects.sessions.settings cimport Settings
from kvengine.objects.sessions.working cimport Working
from kvengine.objects.state.cells cimport Cells
from kvengine.objects.state.stored cimport over
from kvengine.serdes.codec cimport Codec
from kvengine.storage.commit cimport Committer
from kvengine.storage.name_bytes cimport are_ascii_names
from kvengine.storage.names cimport check_name


cdef class SessionVerbs(Cells):
    cdef public Host _host
    cdef public Working _working
    cdef public object _moment
    cdef public Codec _codec
    cdef public Settings _settings
    cdef public object _retention, _state

    cdef Working _writable(self)
    cpdef _refuse_write(self)
    cpdef Working _is_over(self)
    cpdef _collect(self)
    cpdef bint _changed(self) except -1
    cpdef _batch(self)
    cpdef _typed(self, kind)
    cpdef _asked(self)
    cpdef _end(self)
    cpdef _finish(self)
    @cython.locals(working=Working)
    cpdef _write(self, str state_key, data)
    cpdef _erase(self, str state_key)


cdef class Session(SessionVerbs):
    @cython.locals(working=Working)
    cpdef _finish(self)
    @cython.locals(host=Host, name=tuple, working=Working, committer=Committer)
    cdef _save(self)
    @cython.locals(working=Working)
    cpdef _read(self, str state_key)
