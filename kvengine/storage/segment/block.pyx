"""Blocks of rows: block.py in C, which describes them.

The slots are read where they lie. They are checked once, when a block is made: from then on each
leads into the block, and none leads in front of the one before it.
"""

import struct

from kvengine.storage.checksum import TRAILER_SIZE
from kvengine.storage.decoded import CLEARED, LARGE, TOMBSTONES as HAS_TOMBSTONES, decode_array

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memchr

from kvengine.storage.checksum cimport check_sealed, seed_of_place
from kvengine.storage.packed cimport (
    has_head,
    packed_fetch,
    packed_is_utf8,
    packed_load,
    packed_load_le32,
    packed_order,
    packed_text,
    packed_value,
    packed_values,
    values_of,
    version_of,
)

ROWS = 1
CHUNK = 2
FILTER = 3
TOMBSTONES = 4
INDEX = 5
PROPERTIES = 6

UNCOMPRESSED = 0

cdef enum:
    _ARRAY32 = 0xDD
    _ARRAY_SIZE = 5
    _COUNT_SIZE = 4
    _STATES_NO_EXPIRY = 0xC0

cdef Py_ssize_t _TRAILER_SIZE = TRAILER_SIZE
cdef int _ROWS = ROWS, _UNCOMPRESSED = UNCOMPRESSED
cdef int _CLEARED = CLEARED, _LARGE = LARGE, _TOMBSTONES = HAS_TOMBSTONES


def encode_rows(names, rows):
    """Return the body of a block of encoded rows and the objects they belong to, in order."""
    cdef Py_ssize_t at = _ARRAY_SIZE
    slots = []
    for part in (*rows, *names):
        slots.append(at)
        at += len(part)
    count = len(rows)
    table = struct.pack(f"<{2 * count}I", *slots)
    head = struct.pack(">BI", _ARRAY32, count)
    return b"".join((head, *rows, *names, table, struct.pack("<I", count)))


cdef class Map:
    """The bytes of a mapped file. They stay mapped as long as this lives."""

    def __cinit__(self, data not None):
        PyObject_GetBuffer(data, &self._buffer, PyBUF_SIMPLE)

    def __dealloc__(self):
        if <void *>self._buffer.obj is not NULL:
            PyBuffer_Release(&self._buffer)


cpdef RowBlock checked_rows(
    bytes read, Py_ssize_t start, Py_ssize_t length, uint64_t file_id, uint64_t offset
):
    """Return the block of rows in ``read[start : start + length]``, which lies at a file's offset.

    ValueError if checksum, place or kind are wrong, or rule 1 or 2 is broken.
    """
    if read is None:
        raise TypeError("a block must be bytes")
    cdef Py_ssize_t size = PyBytes_GET_SIZE(read)
    if start < 0 or length < 0 or start > size:
        raise ValueError("block lies outside what was read")
    length = min(length, size - start)
    cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(read) + start
    _check_seal(data, length, file_id, offset)
    cdef RowBlock found = RowBlock.__new__(RowBlock)
    found.file_id, found.offset = file_id, offset
    found._open(read, data, length)
    return found


cpdef RowBlock mapped_rows(Map file, uint64_t file_id, uint64_t offset, uint64_t length):
    """Return the block of rows at an offset of a mapped file, where it lies.

    ValueError as in `checked_rows`.
    """
    if file is None:
        raise TypeError("there is no map")
    cdef uint64_t size = file._buffer.len
    if length > size or offset > size - length:
        raise ValueError("block lies outside its file")
    cdef const uint8_t *start = <const uint8_t *>file._buffer.buf + offset
    _check_seal(start, length, file_id, offset)
    cdef RowBlock found = RowBlock.__new__(RowBlock)
    found.file_id, found.offset = file_id, offset
    found._open(file, start, length)
    return found


cdef int _check_seal(
    const uint8_t *data, size_t size, uint64_t file_id, uint64_t offset
) except -1:
    cdef int codec = check_sealed(data, size, _ROWS, seed_of_place(file_id, offset))
    if codec != _UNCOMPRESSED:
        raise ValueError(f"block has unknown codec {codec}")
    return 0


@cython.no_gc  # what it refers to refers to nothing
@cython.freelist(8)
cdef class RowBlock:
    """A block of rows as it lies in a file, trailer included. Immutable.

    The bytes of a mapped file change under it if somebody writes to the file. What is read then may
    be wrong, but it is read from within the block: no bound is used unchecked.
    """

    def __init__(self, bytes data not None):
        """Raise ValueError if rule 1 or 2 is broken."""
        if self._owner is not None:
            raise TypeError("a block is made once")  # somebody may be reading its bytes
        self._open(data, <const uint8_t *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    cdef int _open(self, object owner, const uint8_t *start, Py_ssize_t size) except -1:
        """Take bytes, which ``owner`` keeps. Raise ValueError if rule 1 or 2 is broken."""
        cdef Py_ssize_t end = size - _TRAILER_SIZE - _COUNT_SIZE
        cdef Py_ssize_t count, table, slot, bound, before = _ARRAY_SIZE
        if end < _ARRAY_SIZE:
            raise ValueError("not a block of rows: it is cut short")
        count = packed_load_le32(start + end)
        table = end - 8 * count
        if (
            count == 0
            or table < _ARRAY_SIZE
            or start[0] != _ARRAY32
            or <Py_ssize_t>packed_load(start + 1, 4) != count
        ):
            raise ValueError("not a block of rows: its slots do not fit")
        for slot in range(2 * count):
            bound = packed_load_le32(start + table + 4 * slot)
            if bound < before or bound > table or (slot == 0 and bound != _ARRAY_SIZE):
                raise ValueError("not a block of rows: its slots are out of order")
            before = bound
        self._owner = owner
        self._start, self._size, self._table, self.count = start, size, table, count
        return 0

    cdef Py_ssize_t _bound(self, Py_ssize_t slot) noexcept:
        """Return where row or name number ``slot`` starts; 2 * count: where the names end."""
        if slot == 2 * self.count:
            return self._table
        return min(<Py_ssize_t>packed_load_le32(self._start + self._table + 4 * slot), self._table)

    @property
    def data(self):
        """The bytes of the block."""
        if type(self._owner) is bytes and PyBytes_GET_SIZE(self._owner) == self._size:
            return self._owner
        return self._slice(0, self._size)

    cpdef RowBlock for_walk(self):
        """Return a copy of the block for one walk; the names that it makes go with the copy."""
        cdef RowBlock found = RowBlock.__new__(RowBlock)
        found._owner, found._start, found._size = self._owner, self._start, self._size
        found.count, found._table = self.count, self._table
        found.file_id, found.offset = self.file_id, self.offset
        found.is_sound = self.is_sound
        return found

    cpdef Py_ssize_t footprint(self) except -1:
        """Bytes that the block takes in memory, apart from a fixed number of objects."""
        return self._size

    @property
    def names(self):
        """What `all_names` returns."""
        return self.all_names()

    cpdef list all_names(self):
        """The encoded objects, in order. Raises ValueError if rule 5 is broken. They are kept."""
        cdef list names = self._names
        cdef Py_ssize_t at
        if names is None:
            if not self.is_sound:
                self._check_names()
                self.is_sound = True
            names = []
            for at in range(self.count, 2 * self.count):
                names.append(self._slice(self._bound(at), self._bound(at + 1)))
            self._names = names
        return names

    cdef int _check_names(self) except -1:
        cdef packed_text before, name
        cdef Py_ssize_t at
        if self.count == 0:
            return 0
        self._name_at(0, &before)
        for at in range(1, self.count):
            self._name_at(at, &name)
            if packed_order(before, name) >= 0:
                raise ValueError("objects are out of order")
            before = name
        for at in range(self.count):
            self._name_at(at, &name)
            if not _is_object(name):
                raise ValueError("an object is not encoded as one")
        return 0

    cdef void _name_at(self, Py_ssize_t at, packed_text *name) noexcept:
        cdef Py_ssize_t low = self._bound(self.count + at)
        name.at = self._start + low
        name.size = max(0, self._bound(self.count + at + 1) - low)

    cdef bytes _slice(self, Py_ssize_t low, Py_ssize_t high):
        return PyBytes_FromStringAndSize(<const char *>self._start + low, max(0, high - low))

    @property
    def rows(self):
        """The rows, in the order of their objects. Raises ValueError if rule 3 or 4 is broken."""
        cdef Py_ssize_t at
        for at in range(self.count):
            self._check_row(at)
        rows = []
        for at in range(self.count):
            rows.append(self._slice(self._bound(at), self._bound(at + 1)))
        return rows

    cdef int _check_row(self, Py_ssize_t at) except -1:
        cdef Py_ssize_t low = self._bound(at)
        cdef const uint8_t *start = self._start + low
        if not has_head(start, self._bound(at + 1) - low):
            raise ValueError("not a row: its fixed fields are not in their places")
        if start[1] & _LARGE and self.count > 1:
            raise ValueError("the head of a large row is not alone in its block")
        return 0

    def decode(self):
        """Return the rows, decoded in one call; ValueError if one is none."""
        return decode_array(memoryview(self.data)[: self._bound(self.count)])

    cpdef bytes row(self, Py_ssize_t at):
        """Return row number ``at``; ValueError if it does not begin as one."""
        if not 0 <= at < self.count:
            raise IndexError(f"there is no row number {at}")
        self._check_row(at)
        return self._slice(self._bound(at), self._bound(at + 1))

    cpdef tuple values(self, Py_ssize_t at):
        """Return (version, entries) of row number ``at`` if its flags say that all are values.

        Else None. ValueError if it is no row.
        """
        if not 0 <= at < self.count:
            raise IndexError(f"there is no row number {at}")
        cdef bint ordered
        cdef const uint8_t *start = self._start + self._bound(at)
        cdef const uint8_t *end = self._start + self._bound(at + 1)
        if has_head(start, end - start):
            if start[1] & ~_CLEARED:
                return None
            entries = packed_values(start, end, &ordered)
            if entries is not None:
                return packed_load(start + 3, 8), entries
        row = self.decode()[at]  # as the plain form does
        return None if row.flags & ~_CLEARED else (row.version, row.entries)

    cpdef tuple values_of(self, bytes name):
        """Return (version, entries) of an object if its flags say that all are values.

        The entries are in key order. Else None, also if the block has no such row. ValueError as in
        `find`, and if it is no row.
        """
        cdef Py_ssize_t at = self._position(name)
        cdef bint ordered = False
        cdef const uint8_t *start
        if at < 0:
            return None
        self._check_row(at)
        start = self._start + self._bound(at)
        if start[1] & ~_CLEARED:
            return None
        entries = packed_values(start, self._start + self._bound(at + 1), &ordered)
        if entries is not None and ordered:
            return packed_load(start + 3, 8), entries
        row = self.row(at)
        entries = values_of(row)
        return None if entries is None else (version_of(row), entries)

    cpdef bytes find(self, bytes name):
        """Return the row of one encoded object, None if the block has none.

        Raise ValueError if that row does not begin as one.
        """
        cdef Py_ssize_t at = self._position(name)
        return self.row(at) if at >= 0 else None

    cdef Py_ssize_t _position(self, bytes name) except -2:
        """Return the number of an encoded object, -1 if the block has none."""
        cdef packed_text wanted, found
        cdef Py_ssize_t low = 0, high = self.count, middle
        cdef int order
        if name is None:
            raise TypeError("an object must be bytes")
        wanted.at = <const uint8_t *>PyBytes_AS_STRING(name)
        wanted.size = PyBytes_GET_SIZE(name)
        while low < high:
            middle = (low + high) // 2
            self._name_at(middle, &found)
            order = packed_order(found, wanted)
            if order == 0:
                return middle
            if order < 0:
                low = middle + 1
            else:
                high = middle
        return -1

    cpdef object value_of(self, bytes name, str state_key):
        """Return the value of an entry of an object, if the row has it and states no expiry.

        None if the block has no such row. For any other row return the block: to be asked further.
        ValueError as in `find` here and in packed.py.
        """
        cdef Py_ssize_t at = self._position(name)
        cdef const uint8_t *start
        if at < 0:
            return None
        start = self._start + self._bound(at)
        if type(self._owner) is Map:
            packed_fetch(start, self._start + self._bound(at + 1))
        self._check_row(at)
        if start[1] & ~(_CLEARED | _TOMBSTONES) or start[11] != _STATES_NO_EXPIRY:
            return self
        found = packed_value(start, self._start + self._bound(at + 1), state_key)
        return self if found is None else found


cdef bint _is_object(packed_text name) noexcept:
    """Return whether bytes are an object as names.encode_object makes one.

    In the service each zero is followed by FF, until a zero followed by 1 ends it. Between zeros,
    and behind the end, there is UTF-8.
    """
    cdef const uint8_t *end = name.at + name.size
    cdef const uint8_t *zero
    cdef packed_text part
    part.at = name.at
    while True:
        zero = <const uint8_t *>memchr(part.at, 0, end - part.at) if part.at < end else NULL
        if zero is NULL or end - zero < 2:
            return False
        part.size = zero - part.at
        if not packed_is_utf8(part):
            return False
        part.at = zero + 2
        if zero[1] == 1:
            part.size = end - part.at
            return packed_is_utf8(part)
        if zero[1] != 0xFF:
            return False
