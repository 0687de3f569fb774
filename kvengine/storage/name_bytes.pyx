"""What every verb does to names: name_bytes.py in C."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp, memcpy

cdef extern from "Python.h":
    bint PyUnicode_CheckExact(object text)
    bint PyUnicode_IS_ASCII(object text)

cdef enum:
    _MAX_NAME = 65536

MAX_NAME = _MAX_NAME
TERMINATOR = b"\x00\x01"


cdef inline bint _is_ascii(object text) noexcept:
    return PyUnicode_CheckExact(text) and PyUnicode_IS_ASCII(text)


cpdef bint are_ascii_names(object first, object second, object third="") except -1:
    """Return whether all are short ``str`` of ASCII, which `check_name` returns as they are."""
    if not (_is_ascii(first) and _is_ascii(second) and _is_ascii(third)):
        return False
    return (
        PyUnicode_GET_LENGTH(first) + PyUnicode_GET_LENGTH(second) + PyUnicode_GET_LENGTH(third)
        <= _MAX_NAME
    )


cpdef bint is_below(bytes first, bytes second) except -1:
    """Return whether one encoded object comes before another one."""
    if second is None:
        raise TypeError("a name must be bytes")
    return _order(first, second) < 0


cpdef Py_ssize_t last_up_to(list names, bytes name) except -2:
    """Return the number of the last of ordered names that is not above ``name``, -1 if none is."""
    if names is None or name is None:
        raise TypeError("names must be a list, and a name bytes")
    cdef Py_ssize_t low = 0, high = len(names), middle
    while low < high:
        middle = (low + high) // 2
        if _order(<bytes?>names[middle], name) > 0:
            high = middle
        else:
            low = middle + 1
    return low - 1


cdef inline int _order(bytes first, bytes second) except? -2:
    if first is None:
        raise TypeError("a name must be bytes")
    cdef Py_ssize_t size = PyBytes_GET_SIZE(first), other = PyBytes_GET_SIZE(second)
    cdef int order = memcmp(PyBytes_AS_STRING(first), PyBytes_AS_STRING(second), min(size, other))
    return order if order else (size > other) - (size < other)


cpdef bytes encode_object(str service, str key):
    """Return the order-preserving bytes of an object."""
    cdef Py_ssize_t length, key_length, zeros = 0
    cdef const char *at
    cdef const char *end
    cdef const char *zero
    cdef char *to
    if service is None or key is None:
        raise TypeError("a name must be str, not None")
    cdef const char *text = utf8_of(service, &length)
    cdef const char *rest = utf8_of(key, &key_length)
    end = text + length
    at = <const char *>memchr(text, 0, length)
    while at is not NULL:
        zeros += 1
        at = <const char *>memchr(at + 1, 0, end - at - 1)
    cdef bytes data = PyBytes_FromStringAndSize(NULL, length + zeros + 2 + key_length)
    to = PyBytes_AS_STRING(data)
    at = text
    for _ in range(zeros):  # each zero becomes 00 FF
        zero = <const char *>memchr(at, 0, end - at)
        memcpy(to, at, zero + 1 - at)
        to += zero + 1 - at
        to[0] = <char>0xFF
        to += 1
        at = zero + 1
    memcpy(to, at, end - at)
    to += end - at
    to[0], to[1] = 0, 1
    memcpy(to + 2, rest, key_length)
    return data
