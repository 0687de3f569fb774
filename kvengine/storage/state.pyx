"""States and commits: state.py in C, which describes them.

They are no containers to the garbage collector: they refer to older states, to what has been
written and to a lock, so there are no cycles.
"""

from _thread import allocate_lock
from contextlib import suppress

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.stdlib cimport realloc

cdef extern from "Python.h":
    bint PyTuple_CheckExact(object)
    bint PyUnicode_CheckExact(object)
    void PyObject_GC_UnTrack(void *)

cdef enum:
    _CLEARED = 1  # as in decoded.py

NO_ROW = bytes(2)

cdef bytes _NO_ROW = NO_ROW
cdef struct Released:
    # States to let go of. Not a list: the interpreter frees states after this module at its end.
    PyObject **at
    size_t count, room
    bint busy

cdef Released _released


@cython.no_gc
cdef class State:
    """What a memtable says of an object as of one commit."""

    def __init__(self, long long stamp, bytes row not None, State below, int fresh, State prev):
        _fill(self, stamp, row, below, fresh, prev)

    @property
    def rows(self):
        """The rows, newest first."""
        cdef State state = self
        cdef list found = []
        while state is not None:
            found.append(state.row)
            state = state.below
        return tuple(found)

    def __dealloc__(self):
        """Let go of the states behind, one after the other: a chain may be longer than the stack
        of C is deep."""
        if self.below is not None:
            _take(self.below)
            self.below = None
        if self.prev is not None:
            _take(self.prev)
            self.prev = None
        if not _released.busy:
            _released.busy = True
            while _released.count:
                _released.count -= 1
                Py_XDECREF(_released.at[_released.count])
            _released.busy = False


cdef void _take(State state) noexcept:
    """Note a state to be let go of later; if there is no memory for that, it goes at once."""
    cdef size_t room = 2 * _released.room + 64
    cdef void *grown
    if _released.count == _released.room:
        grown = realloc(_released.at, room * sizeof(PyObject *))
        if grown is NULL:
            return
        _released.at = <PyObject **>grown
        _released.room = room
    Py_INCREF(state)
    _released.at[_released.count] = <PyObject *>state
    _released.count += 1


@cython.no_gc
cdef class TombstoneState(State):
    """All range tombstones of the memtable as of one commit."""

    def __init__(self, tuple found not None, long long stamp, State prev):
        _fill(self, stamp, _NO_ROW, None, 0, prev)
        self.tombstones = found


@cython.no_gc
@cython.freelist(8)
cdef class Change:
    """What one commit does to one object."""

    def __init__(self, tuple name not None, dict entries, bytes row):
        self.name = name
        self.entries = entries
        self.row = row


@cython.no_gc
@cython.freelist(8)
cdef class Commit:
    """A commit on its way from the log to its visibility."""

    cpdef defer(self):
        """Prepare this commit to be published later, so that its thread can `wait` for that."""
        self.waiter = allocate_lock()
        self.waiter.acquire()

    def wait(self, seconds):
        """Wait until somebody calls `wake`, at most ``seconds``."""
        if self.waiter is not None:
            self.waiter.acquire(timeout=seconds)

    cpdef wake(self):
        """Let the thread that waits look again. May be called more than once."""
        if self.waiter is not None:
            with suppress(RuntimeError):  # it is not waiting
                self.waiter.release()


cpdef Commit new_commit():
    """Make a commit without anything in it."""
    return Commit.__new__(Commit)


cpdef Change change_of(tuple name, dict entries, bytes row):
    """Make a change."""
    cdef Change change = Change.__new__(Change)
    if name is None:
        raise TypeError("a change needs a name")
    if (
        PyTuple_CheckExact(name)
        and PyTuple_GET_SIZE(name) == 2
        and PyUnicode_CheckExact(<object>PyTuple_GET_ITEM(name, 0))
        and PyUnicode_CheckExact(<object>PyTuple_GET_ITEM(name, 1))
    ):
        PyObject_GC_UnTrack(<void *>name)  # as the collector itself would when it comes past
    change.name = name
    change.entries = entries
    change.row = row
    return change


cpdef State state_of(long long stamp, bytes row, State below, int fresh, State prev):
    """Make a state."""
    cdef State state = State.__new__(State)
    _fill(state, stamp, row, below, fresh, prev)
    return state


cdef int _fill(
    State state, long long stamp, bytes row, State below, int fresh, State prev
) except -1:
    if row is None or PyBytes_GET_SIZE(row) < 2:
        raise ValueError("a state needs a row")
    state.stamp = stamp
    state.row = row
    state.below = below
    state.fresh = fresh
    state.prev = prev
    state.hides = below.hides if below is not None else PyBytes_AS_STRING(row)[1] & _CLEARED
    return 0
