# C types of the engine's clock.
import cython

from kvengine.storage.machine cimport time_ns


cdef class EngineClock:
    cdef readonly object _source
    cdef object _lock
    cdef bint _of_machine
    cdef long long _last, _until, _believed, _believed_at, _started_at, _max_step
    cdef readonly long long opened
    cdef public long long last_trusted

    @cython.locals(wall="long long")
    cpdef long long now(self) except -1
    @cython.locals(wall="long long", monotonic="long long", expected="long long")
    cdef long long _judged(self) except -1
