# C types of the block of a session. Public, for asyncio fills it in from plain Python.
import cython

from kvengine.objects.sessions.host cimport Host
from kvengine.objects.sessions.load cimport load
from kvengine.objects.sessions.session cimport Session, SessionVerbs
from kvengine.objects.sessions.settings cimport Settings
from kvengine.objects.sessions.turns cimport Turn, Turns
from kvengine.serdes.codec cimport Codec


cdef class Block(Turn):
    cdef public Host _host
    cdef public Codec _codec
    cdef public object _kind, _retention
    cdef public SessionVerbs _session
    cdef public Settings _settings

    @cython.locals(session=SessionVerbs)
    cpdef _leave(self)


cdef class SessionContext(Block):
    pass
