"""What both ends of a connection ask of the system: calls.py in C, which says why."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_SetFromErrno
from libc.errno cimport EAGAIN, EINTR, errno

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    int POLLIN
    int c_poll "poll"(pollfd *asked, unsigned long count, int milliseconds)

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef extern from "<sys/socket.h>" nogil:
    int MSG_DONTWAIT
    ssize_t c_recv "recv"(int fd, void *to, size_t length, int flags)
    ssize_t c_send "send"(int fd, const void *data, size_t length, int flags)

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC
    int clock_gettime(int clock, timespec *now)

cdef extern from *:
    """
    #ifndef MSG_NOSIGNAL
    #define MSG_NOSIGNAL 0
    #endif
    """
    int MSG_NOSIGNAL

cdef enum:
    _PIECE = 65536

cdef char[_PIECE] _arrived  # for as long as the interpreter lock is kept


cpdef Py_ssize_t send(connection, data) except -1:
    """Send what the system takes now of ``data``; return how many bytes that is, maybe 0."""
    cdef int fd = connection.fileno()
    cdef Py_buffer view
    cdef ssize_t sent
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        sent = c_send(fd, view.buf, view.len, MSG_DONTWAIT | MSG_NOSIGNAL)
        if sent < 0:
            _check_later()
            return 0
        return sent
    finally:
        PyBuffer_Release(&view)


cpdef bytes receive(connection):
    """Return up to 64 KiB that have arrived; b"" at the end, None if there is nothing yet."""
    cdef int fd = connection.fileno()
    cdef ssize_t got = c_recv(fd, _arrived, _PIECE, MSG_DONTWAIT)
    if got < 0:
        _check_later()
        return None
    return PyBytes_FromStringAndSize(_arrived, got)


cdef int _check_later() except -1:
    """Raise OSError unless the call can be made again."""
    if errno != EAGAIN and errno != EINTR:
        PyErr_SetFromErrno(OSError)
    return 0


cpdef bint look(int fd, long long nanoseconds, bint keeps_lock):
    """Return whether something can be read within so long. Do not sleep meanwhile."""
    cdef bint found
    if fd < 0:
        return False
    if keeps_lock:
        return _look(fd, nanoseconds)
    with nogil:
        found = _look(fd, nanoseconds)
    return found


cdef bint _look(int fd, long long nanoseconds) noexcept nogil:
    cdef pollfd asked
    cdef long long until = _now() + nanoseconds
    asked.fd = fd
    asked.events = POLLIN
    while c_poll(&asked, 1, 0) <= 0:
        sched_yield()
        if _now() > until:
            return False
    return _now() <= until


cdef long long _now() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec * 1000000000LL + now.tv_nsec
