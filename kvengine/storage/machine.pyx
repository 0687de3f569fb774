"""What each commit asks of the machine: machine.py in C."""

from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from cpython.pythread cimport (
    NOWAIT_LOCK,
    PyThread_acquire_lock,
    PyThread_allocate_lock,
    PyThread_free_lock,
    PyThread_get_thread_ident,
    PyThread_release_lock,
)
from cpython.pythread cimport PyLockStatus, PY_LOCK_ACQUIRED
from cpython.ref cimport Py_REFCNT
from cpython.weakref cimport PyWeakref_NewRef
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec

cdef extern from *:
    """
    static PyObject *new_instance(PyObject *kind, PyObject *nothing) {
        newfunc make = ((PyTypeObject *)kind)->tp_new;
        if (make == NULL) {
            PyErr_SetString(PyExc_TypeError, "this class makes no instances");
            return NULL;
        }
        return make((PyTypeObject *)kind, nothing, NULL);
    }
    """
    object new_instance(object kind, object nothing)
    object PyObject_GenericGetDict(object, void *)

cdef extern from "pythread.h" nogil:
    PyLockStatus PyThread_acquire_lock_timed(
        PyThread_type_lock lock, long long microseconds, int interruptible
    )

cdef tuple _NOTHING = ()


cdef class Lock:
    """A lock as `threading.Lock`, for as much of it as is used here, that knows who has it.

    A signal handler or a finalizer runs in the midst of what its thread does, so it must not wait
    for what that thread has: ask `mine` before the lock is taken.
    """

    def __cinit__(self):
        self._lock = PyThread_allocate_lock()
        if self._lock is NULL:
            raise MemoryError

    def __dealloc__(self):
        if self._lock is not NULL:
            if self._held:
                PyThread_release_lock(self._lock)
            PyThread_free_lock(self._lock)

    cdef int take(self) except -1:
        """Take the lock. If it is taken, wait without the interpreter lock; signals are handled."""
        cdef PyLockStatus status
        if not PyThread_acquire_lock(self._lock, NOWAIT_LOCK):
            while True:
                with nogil:
                    status = PyThread_acquire_lock_timed(self._lock, -1, 1)
                if status == PY_LOCK_ACQUIRED:
                    break
                PyErr_CheckSignals()
        self._held = True
        self._holder = PyThread_get_thread_ident()
        return 0

    cdef void give(self) noexcept:
        self._held = False
        PyThread_release_lock(self._lock)

    def acquire(self):
        """Take the lock. Return True."""
        self.take()
        return True

    def release(self):
        """Give the lock back. RuntimeError if nobody has it."""
        if not self._held:
            raise RuntimeError("release unlocked lock")
        self.give()

    def locked(self):
        """Return whether some thread has the lock."""
        return self._held

    cpdef bint mine(self) noexcept:
        """Return whether this thread has the lock."""
        return self._held and self._holder == PyThread_get_thread_ident()

    def __enter__(self):
        self.take()
        return True

    def __exit__(self, kind, error, traceback):
        self.release()


cpdef unsigned long get_ident() noexcept:
    """Return the number of this thread, as `threading.get_ident`."""
    return PyThread_get_thread_ident()


cpdef long long time_ns() except -1:
    """Return nanoseconds since the epoch, as `time.time_ns`."""
    cdef timespec found
    if clock_gettime(CLOCK_REALTIME, &found):
        PyErr_SetFromErrno(OSError)
    return found.tv_sec * <long long>1_000_000_000 + found.tv_nsec


cpdef object ref(object thing):
    """Return a weak reference, as `weakref.ref`."""
    return PyWeakref_NewRef(thing, None)


cpdef Py_ssize_t references(object thing):
    """Return how many references there are to an object. An argument is none of C functions."""
    return Py_REFCNT(thing)


cpdef dict values_of(object thing):
    """Return the ``__dict__`` of an object, as `vars`."""
    return PyObject_GenericGetDict(thing, NULL)


cpdef object new(object kind):
    """Return an instance, as ``kind.__new__(kind)``."""
    if not isinstance(kind, type):
        raise TypeError(f"{kind!r} is no class")
    return new_instance(kind, _NOTHING)
