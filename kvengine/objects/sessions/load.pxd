# C types of what a session begins with.
import cython

from kvengine.objects.sessions.host cimport Host
from kvengine.objects.sessions.session cimport SessionVerbs
from kvengine.objects.sessions.settings cimport Settings
from kvengine.storage.reader cimport Reader
from kvengine.storage.resolved cimport Resolved


@cython.locals(host=Host, name=tuple, settings=Settings, eager=bint, reader=Reader, known=Resolved)
cpdef load(SessionVerbs session, always)


cdef _load_part(SessionVerbs session, moment)
cpdef begin_with(SessionVerbs session, found, bint complete)
