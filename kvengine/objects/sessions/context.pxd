# C types of the block of a session. Public, for asyncio fills it in from plain Python.
import cython

from kvengine.objects.sessions.host cimport Handle, Host
from kvengine.objects.sessions.load cimport load
from kvengine.objects.sessions.session cimport Session, SessionVerbs
from kvengine.objects.sessions.settings cimport Settings
from kvengine.objects.sessions.turns cimport Turn, Turns
from kvengine.storage.machine cimport ref


cdef class Block(Turn):
    cdef public Handle _handle
    cdef public object _kind
    cdef public SessionVerbs _session
    cdef public Settings _settings

    @cython.locals(session=SessionVerbs)
    cpdef _leave(self)


cdef class SessionContext(Block):
    pass


@cython.locals(block=SessionContext)
cpdef SessionContext block_of(Handle handle, kind, Settings settings)
