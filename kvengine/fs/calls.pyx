"""What commits and cold reads ask of the system: calls.py in C, which says why.

A write of up to 64 KiB keeps the interpreter lock, unless one took long a moment ago: the system
makes writers wait, up to 0.2 s each time, when they are faster than the disk. A read of as much
keeps the lock if the system says that it need not wait for the disk; else the lock is given up, and
the read waits.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE,
)
from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from libc.errno cimport EAGAIN, EINTR, EINVAL, EIO, errno
from posix.stat cimport fstat, struct_stat

cdef extern from "<unistd.h>" nogil:
    int c_close "close"(int fd)
    ssize_t c_write "write"(int fd, const void *data, size_t size)
    ssize_t c_pwrite "pwrite"(int fd, const void *data, size_t size, long long offset)
    ssize_t c_pread "pread"(int fd, void *to, size_t size, long long offset)

cdef extern from "kvengine/fs/calls.h" nogil:
    ssize_t kve_pread_cached(int fd, void *to, size_t size, long long offset)
    long long kve_milliseconds()

cdef enum:
    _SHORT = 64 * 1024
    _PIECE = 16 * 1024  # of zeros
    _MOST = 0x7FFFF000  # what Linux takes in one call; macOS refuses more than 2 GiB

    _LONG = 10  # milliseconds that a write takes only if it waits
    _WARY = 1000  # milliseconds for which the lock is given up after such a write

cdef char[_PIECE] _zeros
cdef long long _wary_until = 0


cpdef Py_ssize_t write(int fd, data) except -1:
    """Write bytes where the file stands, and return how many the system took, as `os.write`."""
    cdef Py_buffer view
    if PyBytes_CheckExact(data):
        return _write(fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return _write(fd, view.buf, view.len)
    finally:
        PyBuffer_Release(&view)


cdef Py_ssize_t _write(int fd, const void *data, Py_ssize_t size) except -1:
    """Write. The caller keeps ``data`` alive. After a signal its handlers run, then it goes on."""
    cdef ssize_t written
    size = min(size, <Py_ssize_t>_MOST)
    while True:
        written = _write_once(fd, data, size, -1)
        if written >= 0:
            return written
        if errno != EINTR:
            PyErr_SetFromErrno(OSError)
        PyErr_CheckSignals()


cdef ssize_t _write_once(int fd, const void *data, size_t size, long long offset) noexcept:
    """Write at an offset, -1 for where the file stands. Keep the interpreter lock if that is short."""
    global _wary_until
    cdef ssize_t written
    cdef long long begun = kve_milliseconds(), ended
    if size > _SHORT or begun < _wary_until:
        with nogil:
            written = c_write(fd, data, size) if offset < 0 else c_pwrite(fd, data, size, offset)
            ended = kve_milliseconds()  # without the wait for the interpreter lock
    else:
        written = c_write(fd, data, size) if offset < 0 else c_pwrite(fd, data, size, offset)
        ended = kve_milliseconds()
    if size <= _SHORT and ended - begun >= _LONG:
        _wary_until = ended + _WARY
    return written


cpdef bytes pread(int fd, Py_ssize_t length, long long offset):
    """Return up to ``length`` bytes from an offset, fewer where the file ends, as `os.pread`."""
    cdef bytes data
    cdef char *to
    cdef ssize_t got = -1
    if length < 0:
        raise OSError(EINVAL, "Invalid argument")
    length = min(length, <Py_ssize_t>_MOST)
    data = PyBytes_FromStringAndSize(NULL, length)
    to = PyBytes_AS_STRING(data)
    if length <= _SHORT:
        got = kve_pread_cached(fd, to, length, offset)
        if got < 0 and errno != EAGAIN:
            PyErr_SetFromErrno(OSError)
    # A read that stops short ends at the end of the file, or where the rest is not in memory.
    while got < length:
        with nogil:
            got = c_pread(fd, to, length, offset)
        if got >= 0:
            break
        if errno != EINTR:
            PyErr_SetFromErrno(OSError)
        PyErr_CheckSignals()
    return data if got == length else data[:got]


cpdef bytes part(const unsigned char[::1] data, Py_ssize_t start, Py_ssize_t length):
    """Return up to ``length`` bytes from ``start`` on, fewer where the data ends."""
    if data is None:
        raise TypeError("there are no data")
    if start < 0 or length < 0:
        raise OSError(EINVAL, "Invalid argument")
    length = min(length, data.shape[0] - start)
    return PyBytes_FromStringAndSize(<const char *>&data[start], length) if length > 0 else b""


cpdef extend(int fd, long long end):
    """Write zeros behind what a file has, up to offset ``end``. It stays where it stands."""
    cdef struct_stat found
    cdef long long size
    cdef ssize_t written
    if fstat(fd, &found):
        PyErr_SetFromErrno(OSError)
    size = found.st_size
    while size < end:
        written = _write_once(fd, _zeros, min(end - size, <long long>_PIECE), size)
        if written == 0:
            raise OSError(EIO, "nothing was written")
        if written > 0:
            size += written
        elif errno == EINTR:
            PyErr_CheckSignals()
        else:
            PyErr_SetFromErrno(OSError)


cpdef drop(int fd):
    """Close a descriptor that nobody refers to any more, whatever the system says to that."""
    with nogil:
        c_close(fd)
