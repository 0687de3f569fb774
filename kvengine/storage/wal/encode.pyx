"""The record of a commit, as it is appended to the log: encode.py in C, for small commits.

Sizes first, then one allocation, then the bytes. All types are checked as sizes are added up, and
nothing runs between the first look at an object and the last that could change one.
"""

from kvengine.storage.record import header_of
from kvengine.storage.wal.format import encode_commit

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.long cimport PyLong_Check
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from kvengine.storage.checksum cimport crc32c
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

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    bint PyUnicode_CheckExact(object text)

LARGE = 64 * 1024

cdef enum:
    _HEADER = 20
    _LARGE = 64 * 1024


cpdef tuple encode_record(
    object stamp,
    object objects,
    object tombstones,
    object now,
    object salt,
    object mark,
    object synced,
):
    """Return the record of a commit in one piece, or in two if it is large: header and payload.

    The first four arguments are those of `encode_commit`, the others those of `header_of`.
    """
    cdef list pairs = objects if type(objects) is list else list(objects)
    cdef list ranges = list(tombstones) if tombstones else []
    cdef uint64_t stamped = _whole(stamp), time = _whole(now), proven = _whole(synced)
    cdef uint32_t seed = _whole(salt), marker = _whole(mark)
    cdef size_t size = 1 + _size_of_array(len(pairs)) + _size_of_array(len(ranges))
    cdef uint8_t *start
    cdef uint8_t *to
    cdef tuple pair, name
    size += packed_size_of_int(stamped, False) + packed_size_of_int(time, False)
    for pair in pairs:
        name = pair[0]
        if len(pair) != 2 or name is None or len(name) != 2:
            raise TypeError("an object must be ((service, key), row)")
        size += 1 + _size_of_str(name[0]) + _size_of_str(name[1]) + _size_of(pair[1])
    for pair in ranges:
        if len(pair) != 2:
            raise TypeError("a range tombstone must be (start, stop)")
        size += 1 + packed_size_of_bin(_size_of(pair[0])) + packed_size_of_bin(_size_of(pair[1]))
    if size > _LARGE:
        payload = encode_commit(stamp, objects, tombstones, now)
        return header_of(payload, salt, mark, synced), payload
    cdef bytes record = PyBytes_FromStringAndSize(NULL, _HEADER + size)
    start = <uint8_t *>PyBytes_AS_STRING(record)
    to = start + _HEADER
    to[0] = 0x94
    to = packed_put_array(packed_put_int(to + 1, stamped, False), len(pairs))
    for pair in pairs:
        name = pair[0]
        to[0] = 0x93
        to = _put_str(_put_str(to + 1, name[0]), name[1])
        to = packed_put_bytes(to, PyBytes_AS_STRING(pair[1]), PyBytes_GET_SIZE(pair[1]))
    to = packed_put_array(to, len(ranges))
    for pair in ranges:
        to[0] = 0x92
        to = _put_bin(_put_bin(to + 1, pair[0]), pair[1])
    packed_put_int(to, time, False)
    packed_store_le32(start + 8, <uint32_t>size)
    packed_store_le32(start + 12, <uint32_t>proven)
    packed_store_le32(start + 16, <uint32_t>(proven >> 32))
    packed_store_le32(start, marker)
    packed_store_le32(start + 4, crc32c(seed, start + 8, 12 + size))
    return (record,)


cdef inline object _whole(object number):
    """Return an int as it is: without this, a float would be cut to an integer of C."""
    if not PyLong_Check(number):
        raise TypeError(f"a number of a record must be int, not {type(number).__name__}")
    return number


cdef inline size_t _size_of_array(size_t count) noexcept:
    return 1 if count < 16 else 3 if count < 65536 else 5


cdef inline Py_ssize_t _size_of_str(object text) except -1:
    cdef Py_ssize_t size
    if not PyUnicode_CheckExact(text):
        raise TypeError(f"a name must be str, not {type(text).__name__}")
    PyUnicode_AsUTF8AndSize(text, &size)
    return packed_size_of_str(size)


cdef inline Py_ssize_t _size_of(object data) except -1:
    if not PyBytes_CheckExact(data):
        raise TypeError(f"a row, and a bound of a range, must be bytes, not {type(data).__name__}")
    return PyBytes_GET_SIZE(data)


cdef inline uint8_t *_put_str(uint8_t *to, object text) except NULL:
    cdef Py_ssize_t size
    cdef const char *utf8 = PyUnicode_AsUTF8AndSize(text, &size)
    return packed_put_str(to, utf8, size)


cdef inline uint8_t *_put_bin(uint8_t *to, object data) noexcept:
    return packed_put_bin(to, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
