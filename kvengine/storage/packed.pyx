"""Rows as bytes: packed.py in C, which describes their form.

What is read here is checked before it is used: no length leads out of the bytes that were handed
over. Rows as a commit writes them are decoded and searched here. Any other bytes are left to
decoded.py, so that both forms accept the same, and return the same for it.
"""

import struct

import msgspec

from kvengine.storage.decoded import MISSING, Row, find_raw
from kvengine.storage.decoded import decode as decode_any

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.bytes cimport PyBytes_Check
from cpython.dict cimport PyDict_GetItemWithError, PyDict_Next
from cpython.long cimport PyLong_Check
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_Check, PyTuple_GET_ITEM, PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_CheckExact, PyUnicode_DecodeUTF8
from libc.string cimport memcpy

from kvengine.storage.name_bytes cimport utf8_of

cdef extern from *:
    dict __Pyx_PyDict_NewPresized(Py_ssize_t count)  # of Cython: a plain PyDict_New where need be

cdef extern from "Python.h":
    const void *PyUnicode_DATA(PyObject *text)
    Py_ssize_t PyUnicode_GET_LENGTH(PyObject *text)
    long long PyLong_AsLongLongAndOverflow(object number, int *overflow) except? -1
    unsigned long long PyLong_AsUnsignedLongLong(object number) except? 0xFFFFFFFFFFFFFFFF

WITH_TABLE = 0x97
SEARCHED = 4096

cdef enum:
    _CLEARED = 1
    _TOMBSTONES = 16
    _TABLE_ENTRIES = 32
    _KNOWN_BITS = 9
    _LONGEST_KNOWN = 32
    # What a search for an entry says of a row.
    _ABSENT = 0
    _FOUND = 1
    _UNLIKE = 2

cdef object _MISSING = MISSING
cdef object _Row = Row
cdef object _encode = msgspec.msgpack.Encoder().encode


# --- writing


cpdef bytes pack_entries(uint64_t version, object entries):
    """Return the bytes of a row that has only values and tombstones, and states no expiry."""
    cdef int flags = 0
    cdef PyObject *name
    cdef PyObject *value
    cdef Py_ssize_t at = 0
    if not isinstance(entries, dict):
        entries = dict(entries)
    while PyDict_Next(entries, &at, &name, &value):
        if value is <PyObject *>None:
            flags = _TOMBSTONES
        elif not PyBytes_Check(<object>value):
            raise TypeError(f"a value must be bytes, not {type(<object>value).__name__}")
    return _packed(flags, version, False, 0, <dict>entries, None)


cpdef bytes pack(
    int flags, object version, object expires_at, object entries, object completed_at=None
):
    """Return the bytes of a row. ``version`` is at least `LEAST_VERSION`.

    ValueError if no row has such flags.
    """
    if not 0 <= flags < 128:
        raise ValueError("not a row: its flags are not known")
    cdef bint expires = expires_at is not None
    cdef uint64_t number, time = 0
    if not isinstance(entries, dict):
        entries = dict(entries)
    if not PyLong_Check(version) or (expires and not PyLong_Check(expires_at)):
        raise TypeError("a version and a time must be int")
    try:
        number = version
        if expires:
            time = expires_at
    except OverflowError as error:
        raise struct.error(f"a version or a time is out of range: {error}") from None
    return _packed(flags, number, expires, time, <dict>entries, completed_at)


cdef bytes _packed(
    int flags, uint64_t number, bint expires, uint64_t time, dict entries, object completed_at
):
    """Return the bytes of a row, in one allocation.

    Between the first look at the entries and the last, nothing runs that could change them.
    """
    cdef Py_ssize_t count = len(entries), at = 0, row
    cdef bint tabled = count > _TABLE_ENTRIES
    cdef bint completed = completed_at is not None
    cdef size_t size
    cdef list names = sorted(entries) if tabled else None
    cdef PyObject *name
    cdef PyObject *entry
    cdef uint8_t *to
    cdef uint8_t *start
    cdef uint8_t *table = NULL
    if number >> 32 == 0 and not tabled and not expires and not completed:
        return _encode((flags, number, None, entries))  # no commit has such a version
    size = (20 if expires else 12) + packed_size_of_map(count)
    while PyDict_Next(entries, &at, &name, &entry):
        size += _size_of_name(<object>name) + _size_of_entry(<object>entry)
    if tabled:
        size += 1 + packed_size_of_bin(4 * count)
    if tabled or completed:
        size += _size_of_time(completed_at)
    cdef bytes data = PyBytes_FromStringAndSize(NULL, size)
    to = start = <uint8_t *>PyBytes_AS_STRING(data)
    to[0] = 0x97 if tabled else 0x95 if completed else 0x94
    to[1], to[2] = <uint8_t>flags, 0xcf
    to = packed_store(to + 3, number, 8)
    to[0] = 0xcf if expires else 0xc0
    to = packed_store(to + 1, time, 8) if expires else to + 1
    to = packed_put_map(to, count)
    if not tabled:
        at = 0
        while PyDict_Next(entries, &at, &name, &entry):
            to = _put_entry(_put_name(to, <object>name), <object>entry)
        if completed:
            _put_time(to, completed_at)
        return data
    table = start + size - 4 * count
    for row in range(count):
        name = <PyObject *>names[row]
        entry = PyDict_GetItemWithError(entries, <object>name)
        if entry is NULL:
            raise KeyError(<object>name)
        packed_store_le32(table + 4 * row, <uint32_t>(to - start))
        to = _put_entry(_put_name(to, <object>name), <object>entry)
    to = _put_time(to, completed_at)
    to[0] = 0xc0
    packed_put_bin_head(to + 1, 4 * count)
    return data


cdef inline Py_ssize_t _size_of_name(object name) except -1:
    cdef Py_ssize_t size
    if not PyUnicode_CheckExact(name):
        raise TypeError(f"a state key must be str, not {type(name).__name__}")
    utf8_of(name, &size)
    return packed_size_of_str(size)


cdef inline uint8_t *_put_name(uint8_t *to, object name) except NULL:
    cdef Py_ssize_t size
    cdef const char *text = utf8_of(name, &size)
    return packed_put_str(to, text, size)


cdef inline Py_ssize_t _size_of_entry(object entry) except -1:
    if PyBytes_Check(entry):
        return packed_size_of_bin(PyBytes_GET_SIZE(entry))
    if entry is None:
        return 1
    if not PyTuple_Check(entry) or PyTuple_GET_SIZE(entry) != 2:
        raise TypeError(f"an entry cannot be {type(entry).__name__}")
    if not PyBytes_Check(<object>PyTuple_GET_ITEM(entry, 1)):
        raise TypeError("a value with an expiry must be bytes")
    return (
        1
        + _size_of_time(<object>PyTuple_GET_ITEM(entry, 0))
        + packed_size_of_bin(PyBytes_GET_SIZE(<object>PyTuple_GET_ITEM(entry, 1)))
    )


cdef inline uint8_t *_put_entry(uint8_t *to, object entry) except NULL:
    if PyBytes_Check(entry):
        return packed_put_bin(to, PyBytes_AS_STRING(entry), PyBytes_GET_SIZE(entry))
    if entry is None:
        to[0] = 0xc0
        return to + 1
    to[0] = 0x92
    to = _put_time(to + 1, <object>PyTuple_GET_ITEM(entry, 0))
    entry = <object>PyTuple_GET_ITEM(entry, 1)
    return packed_put_bin(to, PyBytes_AS_STRING(entry), PyBytes_GET_SIZE(entry))


cdef inline uint64_t _bits(object number, bint *negative) except? 0xFFFFFFFFFFFFFFFF:
    cdef int overflow
    cdef long long found = PyLong_AsLongLongAndOverflow(number, &overflow)
    negative[0] = found < 0 and not overflow
    if overflow:
        return PyLong_AsUnsignedLongLong(number)
    return <uint64_t>found


cdef Py_ssize_t _size_of_time(object time) except -1:
    cdef bint negative = False
    cdef uint64_t bits
    if time is None:
        return 1
    if not PyLong_Check(time):
        raise TypeError(f"a time must be int, not {type(time).__name__}")
    bits = _bits(time, &negative)
    return packed_size_of_int(bits, negative)


cdef uint8_t *_put_time(uint8_t *to, object time) except NULL:
    cdef bint negative = False
    cdef uint64_t bits
    if time is None:
        to[0] = 0xc0
        return to + 1
    bits = _bits(time, &negative)
    return packed_put_int(to, bits, negative)


# --- reading a whole row


cpdef object decode(object data):
    """Return the row that these bytes are; ValueError if they are none."""
    found = _decoded(data) if type(data) is bytes else None
    return decode_any(data) if found is None else found


cdef object _decoded(bytes data):
    """Return a row that looks as rows are written, None for any other bytes."""
    cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(data)
    cdef const uint8_t *end = at + PyBytes_GET_SIZE(data)
    cdef packed_row row
    cdef packed_text key
    cdef packed_entry entry
    cdef dict entries = {}
    cdef uint32_t _
    at = packed_take_head(at, end, &row)
    if at is NULL:
        return None
    for _ in range(row.count):
        at = packed_take_entry(packed_take_str(at, end, &key), end, &entry)
        if at is NULL:
            return None
        name = text_of(key)
        if name is None:
            return None
        entries[name] = _entry_of(&entry)
    if packed_take_tail(at, end, &row) is NULL:
        return None
    expires_at = row.expires_at if row.expires else None
    if row.form == 0x94:
        return _Row(row.flags, row.version, expires_at, entries)
    completed_at = row.completed_at if row.completed else None
    if row.form == 0x95:
        return _Row(row.flags, row.version, expires_at, entries, completed_at)
    table = PyBytes_FromStringAndSize(<const char *>row.table.at, row.table.size)
    return _Row(row.flags, row.version, expires_at, entries, completed_at, None, table)


cpdef dict values_of(bytes data):
    """Return the entries of a row in key order if its flags say that all are values, else None.

    ValueError if it is no row.
    """
    if data is None:
        raise TypeError("a row must be bytes")
    cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    if not has_head(at, size):
        raise ValueError("not a row: its fixed fields are not in their places")
    if at[1] & ~_CLEARED:
        return None
    cdef bint ordered = False
    cdef dict found = packed_values(at, at + size, &ordered)
    if found is None:
        found, ordered = decode_any(data).entries, False
    return found if ordered else {name: found[name] for name in sorted(found)}


cdef dict packed_values(const uint8_t *at, const uint8_t *end, bint *ordered):
    """Return the entries of a row that looks as rows are written, None for any other bytes.

    ``ordered`` becomes whether its state keys rise. The caller keeps the bytes alive.
    """
    cdef packed_row row
    cdef packed_text key, before = packed_text(NULL, 0)  # a compiler cannot see it set
    cdef packed_entry entry
    cdef dict entries
    cdef uint32_t number
    at = packed_take_head(at, end, &row)
    if at is NULL:
        return None
    # Room at once for as many as a row without a table has; a count that nobody checked is no size.
    entries = __Pyx_PyDict_NewPresized(min(row.count, <uint32_t>_TABLE_ENTRIES))
    ordered[0] = True
    for number in range(row.count):
        at = packed_take_entry(packed_take_str(at, end, &key), end, &entry)
        if at is NULL:
            return None
        if number and packed_order(before, key) >= 0:
            ordered[0] = False
        name = text_of(key)
        if name is None:
            return None
        entries[name] = _entry_of(&entry)
        before = key
    if packed_take_tail(at, end, &row) is NULL:
        return None
    return entries


cdef inline object _entry_of(packed_entry *entry):
    if entry.kind == PACKED_TOMBSTONE:
        return None
    value = PyBytes_FromStringAndSize(<const char *>entry.value.at, entry.value.size)
    return value if entry.kind == PACKED_VALUE else (entry.expires_at, value)


cdef list _known = [""] * (1 << _KNOWN_BITS)
"""State keys that were decoded of late, by a hash: most rows have the same few. All are ASCII."""


cdef str text_of(packed_text text):
    """Return bytes of UTF-8 as str, None if they are no UTF-8."""
    cdef uint64_t mixed
    cdef PyObject *known
    if not 0 < text.size <= _LONGEST_KNOWN:
        return _decoded_text(text)
    mixed = packed_spread(text) >> (64 - _KNOWN_BITS)
    known = <PyObject *>_known[<Py_ssize_t>mixed]
    if (
        PyUnicode_GET_LENGTH(known) == <Py_ssize_t>text.size
        and packed_same(<const uint8_t *>PyUnicode_DATA(known), text.at, text.size)
    ):
        return <str>known
    made = _decoded_text(text)
    if packed_is_ascii(text):
        _known[<Py_ssize_t>mixed] = made
    return made


cdef inline str _decoded_text(packed_text text):
    if not packed_is_utf8(text):
        return None
    return PyUnicode_DecodeUTF8(<const char *>text.at, text.size, NULL)


# --- parts of a row, without decoding the rest


cdef bint has_head(const uint8_t *data, Py_ssize_t size) noexcept nogil:
    """Return whether the fixed fields of a row are in their places; what follows relies on it."""
    if size <= 12 or data[0] < 0x94 or data[0] > 0x97 or data[2] != 0xcf:
        return False
    return data[11] == 0xc0 or (data[11] == 0xcf and size > 20)


cpdef int check_prefix(bytes data, Py_ssize_t start, Py_ssize_t stop) except -1:
    """Raise ValueError unless the fixed fields of a row stand in ``data[start:stop]``."""
    if data is None:
        raise TypeError("a row must be bytes")
    if 0 <= start <= stop <= PyBytes_GET_SIZE(data):
        if has_head(<const uint8_t *>PyBytes_AS_STRING(data) + start, stop - start):
            return 0
    raise ValueError("not a row: its fixed fields are not in their places")


def check_prefixes(bytes data not None, bounds):
    """Return the flags of rows that lie one behind the other; ValueError as in `check_prefix`.

    ``bounds``: where each starts, and where the last one ends.
    """
    cdef const uint8_t *start = <const uint8_t *>PyBytes_AS_STRING(data)
    cdef Py_ssize_t low, high, size = PyBytes_GET_SIZE(data)
    cdef set flags = set()
    cdef bint first = True
    low = -1
    for bound in bounds:
        high = bound
        if not first:
            if not 0 <= low <= high <= size or not has_head(start + low, high - low):
                raise ValueError("not a row: its fixed fields are not in their places")
            flags.add(start[low + 1])
        low, first = high, False
    if not flags:
        raise ValueError("no rows")
    return flags


cpdef object version_of(bytes data):
    """Return the version that an encoded row states."""
    if data is None or PyBytes_GET_SIZE(data) < 11:
        raise IndexError("not a row: it is cut short")
    return packed_load(<const uint8_t *>PyBytes_AS_STRING(data) + 3, 8)


cpdef object expires_at_of(bytes data):
    """Return the expiry that an encoded row states, None for never."""
    if data is None or PyBytes_GET_SIZE(data) < 12:
        raise IndexError("not a row: it is cut short")
    cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(data)
    if at[11] == 0xc0:
        return None
    return packed_load(at + 12, min(8, PyBytes_GET_SIZE(data) - 12))


cpdef Py_ssize_t entry_count(bytes data) except -1:
    """Return how many entries an encoded row names, tombstones included; 0 for a large one."""
    if data is None or PyBytes_GET_SIZE(data) < 12:
        raise IndexError("not a row: it is cut short")
    return _count(<const uint8_t *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))


cdef Py_ssize_t _count(const uint8_t *data, Py_ssize_t size) except -1:
    cdef Py_ssize_t at = 12 if data[11] == 0xc0 else 20
    if at >= size:
        raise IndexError("not a row: it is cut short")
    if data[at] < 0x90:
        return data[at] & 15
    return packed_load(data + at + 1, min(2 if data[at] == 0xde else 4, size - at - 1))


cpdef object find(bytes data, str state_key):
    """Return what an encoded row says of one entry, `MISSING` for nothing.

    ValueError if the row is so damaged that this cannot be known.
    """
    cdef packed_entry found
    cdef const uint8_t *at
    if data is None:
        raise TypeError("a row must be bytes, and a state key str")
    at = <const uint8_t *>PyBytes_AS_STRING(data)
    cdef int answer = _search(at, at + PyBytes_GET_SIZE(data), state_key, &found)
    if answer == _UNLIKE:
        return _find_decoded(data, state_key)
    return _entry_of(&found) if answer == _FOUND else _MISSING


cdef bytes packed_value(const uint8_t *at, const uint8_t *end, str state_key):
    """Return the value of an entry of a row, None if it has none, or one that must be looked into.

    ValueError as in `find`. The caller keeps the bytes alive.
    """
    cdef packed_entry found
    cdef int answer = _search(at, end, state_key, &found)
    if answer == _UNLIKE:
        entry = _find_decoded(PyBytes_FromStringAndSize(<const char *>at, end - at), state_key)
        return entry if type(entry) is bytes else None
    if answer == _ABSENT or found.kind != PACKED_VALUE:
        return None
    return PyBytes_FromStringAndSize(<const char *>found.value.at, found.value.size)


cdef int _search(
    const uint8_t *at, const uint8_t *end, str state_key, packed_entry *found
) except -1:
    """Look for an entry. Return whether it is there, or that the row is not as rows are written."""
    cdef packed_text wanted, key
    cdef packed_entry entry
    cdef packed_row row
    cdef int answer = _ABSENT
    cdef Py_ssize_t size
    cdef uint32_t _
    if state_key is None:
        raise TypeError("a row must be bytes, and a state key str")
    entry.expires_at, entry.value.at, entry.value.size = 0, NULL, 0  # a compiler cannot see it set
    wanted.at = <const uint8_t *>utf8_of(state_key, &size)
    wanted.size = size
    if at < end and at[0] == 0x97:
        return _search_table(at, end, wanted, found)
    # All of the row is walked, also behind the entry: a damaged row is found to be one whichever
    # of its entries is asked for.
    at = packed_take_head(at, end, &row)
    if at is NULL:
        return _UNLIKE
    for _ in range(row.count):
        at = packed_take_entry(packed_take_str(at, end, &key), end, &entry)
        if at is NULL:
            return _UNLIKE
        if key.size == wanted.size and packed_same(key.at, wanted.at, key.size):
            answer, found[0] = _FOUND, entry
        elif not packed_is_utf8(key):
            return _UNLIKE
    return answer if packed_take_tail(at, end, &row) is not NULL else _UNLIKE


cdef object _find_decoded(bytes data, str state_key):
    """Return what `find` does in plain Python, for a row that does not look as rows are written."""
    if len(data) > <Py_ssize_t>SEARCHED:
        return find_raw(data, state_key)
    if state_key.encode() not in data:
        return _MISSING
    return decode_any(data).entries.get(state_key, _MISSING)


# --- rows with a table


cdef struct Table:
    const uint8_t *data
    const uint8_t *end
    const uint8_t *offsets
    Py_ssize_t count


cdef int _open_table(Table *table, const uint8_t *at, const uint8_t *end) except -1:
    """Raise ValueError if the table of a row is damaged."""
    cdef Py_ssize_t length = end - at, size, width
    if not has_head(at, length):
        raise ValueError("not a row: its fixed fields are not in their places")
    table.data = at
    table.count = _count(at, length)
    size = 4 * table.count
    width = 4 if size > 65535 else 2 if size > 255 else 1
    if size == 0 or length - size - 1 - width < 20:
        raise ValueError("not a row: its table of offsets is damaged")
    table.offsets = at + length - size
    table.end = table.offsets - 1 - width
    if table.end[0] != (0xc6 if width == 4 else 0xc5 if width == 2 else 0xc4) or (
        packed_load(table.end + 1, width) != <uint64_t>size
    ):
        raise ValueError("not a row: its table of offsets is damaged")
    return 0


cdef const uint8_t *_key_at(Table *table, Py_ssize_t at, packed_text *key) except NULL:
    """Read the state key of entry number ``at``, and return where its entry starts."""
    cdef Py_ssize_t offset = packed_load_le32(table.offsets + 4 * at)
    cdef const uint8_t *found
    if offset >= table.end - table.data:
        raise ValueError("not a row: an offset leads out of it")
    found = packed_take_str(table.data + offset, table.end, key)
    if found is NULL or found >= table.end:
        raise ValueError("not a row: an offset leads to no state key")
    return found


cdef Py_ssize_t _position(Table *table, packed_text wanted) except -1:
    cdef Py_ssize_t low = 0, high = table.count, middle
    cdef packed_text key
    while low < high:
        middle = (low + high) // 2
        _key_at(table, middle, &key)
        if packed_order(key, wanted) < 0:
            low = middle + 1
        else:
            high = middle
    return low


cdef int _take_entry(Table *table, const uint8_t *at, packed_entry *entry) except -1:
    if packed_take_entry(at, table.end, entry) is NULL:
        raise ValueError("not a row: an entry is no value, or leads out of it")
    return 0


cdef int _search_table(
    const uint8_t *at, const uint8_t *end, packed_text wanted, packed_entry *found
) except -1:
    cdef Table table
    cdef packed_text key
    _open_table(&table, at, end)
    cdef Py_ssize_t number = _position(&table, wanted)
    if number == table.count:
        return _ABSENT
    at = _key_at(&table, number, &key)
    if not packed_equal(key, wanted):
        return _ABSENT
    _take_entry(&table, at, found)
    return _FOUND


def items(bytes data not None, str start not None=""):
    """Yield the entries of an encoded row in key order, from state key ``start`` on."""
    cdef Table table
    cdef packed_text wanted, key
    cdef packed_entry entry
    cdef Py_ssize_t at, size
    cdef const uint8_t *found
    if PyBytes_AS_STRING(data)[0] != <char>0x97:
        entries = decode(data).entries
        for name in sorted(entries):
            if name >= start:
                yield name, entries[name]
        return
    wanted.at = <const uint8_t *>utf8_of(start, &size)
    wanted.size = size
    found = <const uint8_t *>PyBytes_AS_STRING(data)
    _open_table(&table, found, found + PyBytes_GET_SIZE(data))
    for at in range(_position(&table, wanted), table.count):
        found = _key_at(&table, at, &key)
        name = text_of(key)
        if name is None:
            raise ValueError("not a row: a state key is no UTF-8")
        _take_entry(&table, found, &entry)
        yield name, _entry_of(&entry)
