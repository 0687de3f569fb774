"""The record of a commit, as it is appended to the log: encode.py in C.

Sizes first, then one allocation, then the bytes. All types are checked as sizes are added up, and
nothing runs between the first look at an object and the last that could change one.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.tuple cimport PyTuple_GET_ITEM
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from kvengine.storage.checksum cimport crc32c
from kvengine.storage.name_bytes cimport utf8_of
from kvengine.storage.packed cimport (
    packed_put_array,
    packed_put_bin,
    packed_put_bytes,
    packed_put_int,
    packed_put_str,
    packed_size_of_bin,
    packed_size_of_int,
    packed_size_of_str,
    packed_store_le32,
)
from kvengine.storage.state cimport Change

cdef extern from "Python.h":
    bint PyUnicode_CheckExact(object text)

cdef list _NO_RANGES = []

cdef enum:
    _HEADER = 20


cpdef bytes encode_record(
    uint64_t stamp,
    list changes,
    object tombstones,
    uint64_t now,
    uint32_t salt,
    uint32_t mark,
    uint64_t synced,
    uint64_t epoch=0,
    bytes token=b"",
):
    """Return the record of a commit. The arguments are those of `commit_pieces` and `header_of`."""
    cdef list ranges = list(tombstones) if tombstones else _NO_RANGES
    cdef Py_ssize_t count = len(changes)
    cdef Change change
    cdef size_t size = 1 + _size_of_array(count) + _size_of_array(len(ranges))
    cdef uint8_t *start
    cdef uint8_t *to
    cdef tuple pair, name
    size += packed_size_of_int(stamp, False) + packed_size_of_int(now, False)
    if token:
        size += packed_size_of_int(epoch, False) + packed_size_of_bin(PyBytes_GET_SIZE(token))
    for change in changes:
        name = change.name
        if len(name) != 2:
            raise TypeError("a name must be (service, key)")
        size += _size_of_str(<object>PyTuple_GET_ITEM(name, 0)) + _size_of(change.row)
        size += _size_of_str(<object>PyTuple_GET_ITEM(name, 1)) + 1
    for pair in ranges:
        if len(pair) != 2:
            raise TypeError("a range tombstone must be (start, stop)")
        size += 1 + packed_size_of_bin(_size_of(pair[0])) + packed_size_of_bin(_size_of(pair[1]))
    if size >> 32:
        raise OverflowError("a record of 4 GiB or more has no header")
    cdef bytes record = PyBytes_FromStringAndSize(NULL, _HEADER + size)
    start = <uint8_t *>PyBytes_AS_STRING(record)
    to = start + _HEADER
    to[0] = 0x96 if token else 0x94
    to = packed_put_array(packed_put_int(to + 1, stamp, False), count)
    for change in changes:
        name = change.name
        to[0] = 0x93
        to = _put_str(to + 1, <object>PyTuple_GET_ITEM(name, 0))
        to = _put_str(to, <object>PyTuple_GET_ITEM(name, 1))
        to = packed_put_bytes(to, PyBytes_AS_STRING(change.row), PyBytes_GET_SIZE(change.row))
    to = packed_put_array(to, len(ranges))
    for pair in ranges:
        to[0] = 0x92
        to = _put_bin(_put_bin(to + 1, pair[0]), pair[1])
    to = packed_put_int(to, now, False)
    if token:
        _put_bin(packed_put_int(to, epoch, False), token)
    packed_store_le32(start + 8, <uint32_t>size)
    packed_store_le32(start + 12, <uint32_t>synced)
    packed_store_le32(start + 16, <uint32_t>(synced >> 32))
    packed_store_le32(start, mark)
    packed_store_le32(start + 4, crc32c(salt, start + 8, 12 + size))
    return record


cdef inline size_t _size_of_array(size_t count) noexcept:
    return 1 if count < 16 else 3 if count < 65536 else 5


cdef inline Py_ssize_t _size_of_str(object text) except -1:
    cdef Py_ssize_t size
    if not PyUnicode_CheckExact(text):
        raise TypeError(f"a name must be str, not {type(text).__name__}")
    utf8_of(text, &size)
    return packed_size_of_str(size)


cdef inline Py_ssize_t _size_of(object data) except -1:
    if not PyBytes_CheckExact(data):
        raise TypeError(f"a row, and a bound of a range, must be bytes, not {type(data).__name__}")
    return PyBytes_GET_SIZE(data)


cdef inline uint8_t *_put_str(uint8_t *to, object text) except NULL:
    cdef Py_ssize_t size
    cdef const char *utf8 = utf8_of(text, &size)
    return packed_put_str(to, utf8, size)


cdef inline uint8_t *_put_bin(uint8_t *to, object data) noexcept:
    return packed_put_bin(to, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
