# C types of the queues of objects.
import cython

from kvengine.storage.machine cimport get_ident

cdef dict modules


cdef class Flow:
    cdef readonly unsigned long long thread


cdef class Turn:
    cdef object __weakref__
    cdef public object claim, task, call
    cdef public Flow flow
    cdef public unsigned long long thread

    @cython.locals(other=Turn)
    cpdef bint blocks(self, other, bint blocking) except -1


cdef class Turns:
    cdef readonly dict _holders, _waiting
    cdef readonly object _lock
    cdef object _running_loop, _thread_of_greenlet

    @cython.locals(waiting=dict, flow=Flow, thread="unsigned long long")
    cpdef bint join(self, tuple name, Turn turn, bint blocking, timeout=*) except -1
    cdef _refuse_deadlock(self, tuple name, Turn turn, bint blocking)
    cpdef bint has_come(self, tuple name, Turn turn) except -1
    @cython.locals(waiting=dict, holders=dict)
    cpdef leave(self, tuple name, Turn turn)
    cdef _pass_on(self, tuple name)
    cdef _unwait(self, tuple name, Turn turn)
    cpdef double patience(self, tuple name) except -1
