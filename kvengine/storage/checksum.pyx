"""Checksums that bind bytes to their file and place: checksum.py in C, which says why.

Sums of more than 1 MiB are computed without the interpreter lock. For less, giving it up costs more
than it brings: another thread keeps it for 5 ms.
"""

import struct

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy

cdef extern from "kvengine/storage/crc32c.h":
    void crc32c_setup() noexcept nogil
    uint32_t crc32c_sum(uint32_t seed, const uint8_t *at, size_t size) noexcept nogil
    uint32_t crc32c_by_table(uint32_t seed, const uint8_t *at, size_t size) noexcept nogil

crc32c_setup()

cdef enum:
    _TRAILER = 6
    _LONG = 1 << 20

TRAILER_SIZE = _TRAILER

Buffer = bytes | bytearray | memoryview


cdef uint32_t crc32c(uint32_t seed, const uint8_t *at, size_t size) noexcept nogil:
    """Return the CRC of bytes that follow bytes whose CRC is ``seed`` (0: nothing before)."""
    return crc32c_sum(seed, at, size)


cdef uint32_t seed_of_place(uint64_t file_id, uint64_t offset) noexcept nogil:
    """Return what `place_seed` does."""
    cdef uint8_t place[16]
    cdef int byte
    for byte in range(8):
        place[byte] = <uint8_t>(file_id >> 8 * byte)
        place[8 + byte] = <uint8_t>(offset >> 8 * byte)
    return crc32c_sum(0, place, 16)


cdef uint32_t block_sum(
    const uint8_t *body, size_t size, int kind, int codec, uint32_t seed
) noexcept nogil:
    """Return the CRC in the trailer of a block: of its body, kind and codec."""
    cdef uint8_t tag[2]
    tag[0], tag[1] = <uint8_t>kind, <uint8_t>codec
    return crc32c_sum(crc32c_sum(seed, body, size), tag, 2)


cdef int check_sealed(const uint8_t *data, size_t size, int kind, uint32_t seed) except -1:
    """Return the codec of a sealed block. Raise ValueError if it is not valid, as `unseal` does."""
    if size < _TRAILER:
        raise ValueError("block is cut short")
    if _load(data + size - 4) != _sum(data, size - 4, seed):
        raise ValueError("block checksum does not match its bytes and place")
    if data[size - 6] != kind:
        raise ValueError(f"block is of kind {data[size - 6]}, not {kind}")
    return data[size - 5]


cdef inline uint32_t _load(const uint8_t *at) noexcept nogil:
    return at[0] | <uint32_t>at[1] << 8 | <uint32_t>at[2] << 16 | <uint32_t>at[3] << 24


cdef inline void _store(uint8_t *at, uint32_t value) noexcept nogil:
    at[0] = <uint8_t>value
    at[1] = <uint8_t>(value >> 8)
    at[2] = <uint8_t>(value >> 16)
    at[3] = <uint8_t>(value >> 24)


cdef uint32_t _sum_of(object data, uint32_t seed) except? 0:
    """Return the CRC of anything that has bytes."""
    cdef Py_buffer view
    if type(data) is bytes:
        return _sum(<const uint8_t *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), seed)
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return _sum(<const uint8_t *>view.buf, view.len, seed)
    finally:
        PyBuffer_Release(&view)


cdef uint32_t _sum(const uint8_t *at, size_t size, uint32_t seed) noexcept:
    cdef uint32_t crc
    if size <= _LONG:
        return crc32c_sum(seed, at, size)
    with nogil:
        crc = crc32c_sum(seed, at, size)
    return crc


def place_seed(file_id, offset):
    """Return the CRC seed of a block at ``offset`` of the file with identity ``file_id``."""
    cdef uint64_t identity, place
    try:
        if not isinstance(file_id, int) or not isinstance(offset, int):
            raise TypeError("not int")
        identity, place = file_id, offset
    except (OverflowError, TypeError) as error:
        raise struct.error(f"a place is two unsigned 64-bit integers: {error}") from None
    return seed_of_place(identity, place)


def salt(bytes database_id not None, number):
    """Return the CRC seed of the records of log file ``number`` of a database."""
    data = database_id + number.to_bytes(8, "little")
    return _sum_of(data, 0)


def seal(body, kind, codec, seed):
    """Return ``body`` with its trailer."""
    return body + trailer_of(body, kind, codec, seed)


def trailer_of(body, kind, codec, uint32_t seed):
    """Return the trailer that stands behind ``body``."""
    cdef bytes tag = bytes((kind, codec))
    cdef bytes trailer = PyBytes_FromStringAndSize(NULL, _TRAILER)
    cdef uint8_t *to = <uint8_t *>PyBytes_AS_STRING(trailer)
    memcpy(to, PyBytes_AS_STRING(tag), 2)
    _store(to + 2, crc32c_sum(_sum_of(body, seed), to, 2))
    return trailer


cpdef int check_block(bytes data, int kind, uint64_t file_id, uint64_t offset) except -1:
    """Return the codec of a sealed block of a file. Raise ValueError if it is not valid."""
    if data is None:
        raise TypeError("a block must be bytes")
    return check_sealed(
        <const uint8_t *>PyBytes_AS_STRING(data),
        PyBytes_GET_SIZE(data),
        kind,
        seed_of_place(file_id, offset),
    )


def unseal(data, int kind, uint32_t seed):
    """Return the body and codec of a sealed block. Raise ValueError if it is not valid."""
    cdef Py_buffer view
    cdef int codec
    if type(data) is bytes:
        codec = check_sealed(
            <const uint8_t *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), kind, seed
        )
    else:
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            codec = check_sealed(<const uint8_t *>view.buf, view.len, kind, seed)
        finally:
            PyBuffer_Release(&view)
    return memoryview(data)[: len(data) - _TRAILER], codec


def _sum_by_table(data, uint32_t seed):
    """Return what the sum is where the processor has no instruction for it. For tests."""
    cdef bytes plain = bytes(data)
    return crc32c_by_table(
        seed, <const uint8_t *>PyBytes_AS_STRING(plain), PyBytes_GET_SIZE(plain)
    )
