# What name_bytes.pyx gives other compiled modules.

cpdef bint are_ascii_names(object first, object second, object third=*) except -1
cpdef bint is_below(bytes first, bytes second) except -1
cpdef bytes encode_object(str service, str key)
cpdef Py_ssize_t last_up_to(list names, bytes name) except -2

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    const void *PyUnicode_DATA(object text)


cdef inline const char *utf8_of(object text, Py_ssize_t *size) except NULL:
    """Return the UTF-8 of what must be a str. It lives as long as that."""
    if PyUnicode_IS_COMPACT_ASCII(text):
        size[0] = PyUnicode_GET_LENGTH(text)
        return <const char *>PyUnicode_DATA(text)
    return PyUnicode_AsUTF8AndSize(text, size)
