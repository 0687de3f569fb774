# C types of what a session begins with.
import cython

from kvengine.objects.sessions.host cimport Host
from kvengine.objects.sessions.settings cimport Settings
from kvengine.objects.sessions.working cimport Working, begin
from kvengine.storage.reader cimport Reader
from kvengine.storage.resolved cimport Resolved


@cython.locals(eager=bint, working=Working, known=Resolved, reader=Reader)
cpdef tuple load(Host host, tuple name, Settings settings, always)


@cython.locals(missing=list)
cdef tuple _with(always, Working working, moment, tuple name)


@cython.locals(working=Working)
cdef Working _part(moment, tuple name, Settings settings)
