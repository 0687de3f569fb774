"""Rows of one object folded into one: fold.py in C.

Small rows are laid over each other as bytes: their entries are found, and those that count are
copied. What is rare is left to row.py: large rows, and those of completed objects.
"""

from kvengine.storage.row import decode, encode, overlay_all

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize
from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from kvengine.storage.packed cimport (
    packed_entry,
    packed_is_utf8,
    packed_put_map,
    packed_row,
    packed_same,
    packed_size_of_map,
    packed_take_entry,
    packed_take_head,
    packed_take_str,
    packed_take_tail,
    packed_text,
)

cdef enum:
    _CLEARED = 1
    _INHERITED = 1 | 4 | 8 | 16  # cleared, extends, entry ttls, tombstones: as in row.py
    _MOST = 32  # entries of a row without a table
    _SMALL = 0x94  # the first byte of a row without a table, and of no completed object

cdef struct found_entry:
    packed_text key
    packed_text bytes  # the entry with its key, encoded


cpdef bytes fold(object rows):
    """Return the overlay of encoded rows, newest first, in the encoding."""
    cdef list given = list(rows)
    if len(given) == 1:
        return given[0]
    cdef bytes folded = _fold_small(given)
    return encode(overlay_all([decode(data) for data in given])) if folded is None else folded


cdef bytes _fold_small(list rows):
    """Return the overlay of small rows, None if one of them or the overlay is not small."""
    cdef found_entry entries[_MOST]
    cdef packed_row newest, row
    cdef packed_text key
    cdef packed_entry entry
    cdef const uint8_t *at
    cdef const uint8_t *end
    cdef const uint8_t *start
    cdef uint8_t *to
    cdef Py_ssize_t shown = 0, count = 0, size, place, index
    cdef int flags = 0
    cdef uint32_t number
    newest.version, newest.expires = 0, False
    for data in rows:
        if not PyBytes_CheckExact(data):
            return None
        at = <const uint8_t *>PyBytes_AS_STRING(data)
        if packed_take_head(at, at + PyBytes_GET_SIZE(data), &row) is NULL or row.form != _SMALL:
            return None
        if shown == 0:
            newest = row
            flags = row.flags
        shown += 1
        flags |= row.flags & _INHERITED
        if row.flags & _CLEARED and shown < len(rows):
            return None  # no state has rows below one that is cleared
    if newest.version >> 32 == 0:
        return None
    for index in range(shown - 1, -1, -1):  # oldest first, so that keys stand as in a dict
        data = rows[index]
        at = <const uint8_t *>PyBytes_AS_STRING(data)
        end = at + PyBytes_GET_SIZE(data)
        at = packed_take_head(at, end, &row)
        for number in range(row.count):
            start = at
            at = packed_take_entry(packed_take_str(at, end, &key), end, &entry)
            if at is NULL or not packed_is_utf8(key):
                return None
            place = 0
            while place < count and not (
                entries[place].key.size == key.size
                and packed_same(entries[place].key.at, key.at, key.size)
            ):
                place += 1
            if place == _MOST:
                return None
            if place == count:
                count += 1
                entries[place].key = key
            entries[place].bytes.at = start
            entries[place].bytes.size = at - start
        if packed_take_tail(at, end, &row) is NULL:
            return None
    size = (20 if newest.expires else 12) + packed_size_of_map(count)
    for place in range(count):
        size += entries[place].bytes.size
    cdef bytes folded = PyBytes_FromStringAndSize(NULL, size)
    to = <uint8_t *>PyBytes_AS_STRING(folded)
    # The fixed fields are those of the newest row, all but the flags.
    memcpy(to, PyBytes_AS_STRING(rows[0]), 20 if newest.expires else 12)
    to[1] = <uint8_t>flags
    to = packed_put_map(to + (20 if newest.expires else 12), count)
    for place in range(count):
        memcpy(to, entries[place].bytes.at, entries[place].bytes.size)
        to += entries[place].bytes.size
    return folded
