"""The commits of a log, read back and handed on one by one: decode.py in C.

What is read here is checked before it is used: no length leads out of the payload, whose checksum
has matched. A commit that looks as it is written is decoded here, its rows checked as `row.check`
does. Anything else, damage included, is left to format.py.
"""

from kvengine.errors import CorruptionError
from kvengine.storage.record import marker
from kvengine.storage.wal.format import MAX_TOKEN, Commit, decode_commit

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from kvengine.storage.checksum cimport crc32c
from kvengine.storage.packed cimport (
    PACKED_EXPIRING,
    PACKED_TOMBSTONE,
    packed_entry,
    packed_equal,
    packed_is_utf8,
    packed_load_le32,
    packed_order,
    packed_row,
    packed_size_of_bin,
    packed_size_of_int,
    packed_size_of_map,
    packed_size_of_str,
    packed_take_array,
    packed_take_bin,
    packed_take_entry,
    packed_take_head,
    packed_take_str,
    packed_take_uint,
    packed_text,
    text_of,
)

cdef enum:
    _HEADER = 20  # of a record
    _TABLE_ENTRIES = 32
    _TOKEN = 5  # among the fields of a commit
    # Flags of a row, as in decoded.py.
    _EXPIRES = 2
    _ENTRY_TTLS = 8
    _TOMBSTONES = 16
    _LARGE = 32

cdef object _Commit = Commit
cdef object _new = tuple.__new__
cdef size_t _MAX_TOKEN = MAX_TOKEN
cdef uint64_t _LEAST_VERSION = <uint64_t>1 << 32
cdef uint64_t _NUMBERS_END = <uint64_t>1 << 63


def take_commits(bytes data not None, path, Py_ssize_t start, uint32_t salt, take, note=None):
    """Give each commit to ``take``, up to the first bytes that are no valid record."""
    cdef const uint8_t *log = <const uint8_t *>PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data), end = start
    cdef const uint8_t *at
    cdef uint32_t mark = marker(salt), length
    cdef uint64_t synced, proven = 0, stamp = 0, before = 0
    if start < 0:
        raise ValueError("a log starts at 0")
    first = last = None
    while size - end >= _HEADER:
        at = log + end
        length = packed_load_le32(at + 8)
        synced = packed_load_le32(at + 12) | <uint64_t>packed_load_le32(at + 16) << 32
        if (
            packed_load_le32(at) != mark
            or <uint64_t>length > <uint64_t>(size - end - _HEADER)
            or synced > <uint64_t>end
            or packed_load_le32(at + 4) != crc32c(salt, at + 8, 12 + <size_t>length)
        ):
            break
        commit = _decoded(at + _HEADER, at + _HEADER + length, &stamp)
        if commit is None:
            try:
                payload = PyBytes_FromStringAndSize(<const char *>at + _HEADER, length)
                commit = decode_commit(payload)
            except ValueError as error:
                raise CorruptionError(path, end, str(error)) from None
            stamp = commit.stamp
        if stamp <= before:
            raise CorruptionError(path, end, "commit is older than the one before it")
        take(commit)
        if note is not None and (<tuple>commit)[_TOKEN]:
            note(commit.token, commit.stamp)
        if first is None:
            first = commit
        last, before = commit, stamp
        end += _HEADER + <Py_ssize_t>length
        proven = max(proven, synced)
    return first, last, end, proven


cdef object _decoded(const uint8_t *at, const uint8_t *end, uint64_t *stamp):
    """Return a commit that looks as it is written, None for any other bytes.

    It is valid, as `decode_commit` has it. The caller keeps the bytes alive.
    """
    cdef packed_text service, key, start, stop, token
    cdef const uint8_t *row
    cdef uint32_t count, number
    cdef uint64_t now, epoch
    cdef uint8_t form
    cdef list rows = [], ranges = []
    if at >= end or (at[0] != 0x94 and at[0] != 0x96):
        return None
    form = at[0]
    at = packed_take_array(packed_take_uint(at + 1, end, stamp), end, &count)
    if at is NULL or stamp[0] >= _NUMBERS_END:
        return None
    for number in range(count):
        if at >= end or at[0] != 0x93:
            return None
        row = packed_take_str(packed_take_str(at + 1, end, &service), end, &key)
        at = _take_row(row, end, stamp[0])
        if at is NULL or not packed_is_utf8(key):
            return None
        name = text_of(service)
        if name is None:
            return None
        rows.append((
            name,
            PyUnicode_DecodeUTF8(<const char *>key.at, key.size, NULL),
            PyBytes_FromStringAndSize(<const char *>row, at - row),
        ))
    if count > 1 and len({entry[:2] for entry in rows}) < <Py_ssize_t>count:
        return None
    at = packed_take_array(at, end, &count)
    if at is NULL:
        return None
    for number in range(count):
        if at >= end or at[0] != 0x92:
            return None
        at = packed_take_bin(packed_take_bin(at + 1, end, &start), end, &stop)
        if at is NULL or packed_order(start, stop) >= 0:
            return None
        ranges.append((_bytes_of(start), _bytes_of(stop)))
    at = packed_take_uint(at, end, &now)
    if at is NULL or now >= _NUMBERS_END:
        return None
    if form == 0x94:
        return _new(_Commit, (stamp[0], rows, ranges, now, 0, b"")) if at is end else None
    if (
        packed_take_bin(packed_take_uint(at, end, &epoch), end, &token) is not end
        or epoch >= _NUMBERS_END
        or token.size > _MAX_TOKEN
    ):
        return None
    return _new(_Commit, (stamp[0], rows, ranges, now, epoch, _bytes_of(token)))


cdef inline bytes _bytes_of(packed_text text):
    return PyBytes_FromStringAndSize(<const char *>text.at, text.size)


cdef const uint8_t *_take_row(
    const uint8_t *at, const uint8_t *end, uint64_t version
) noexcept:
    """Read a row that `pack` could have written, of that version; NULL for anything else.

    Its rules are those of `row.check`. A number or text has the shortest form if it takes as many
    bytes as it does when it is written.
    """
    cdef const uint8_t *start = at
    cdef const uint8_t *next
    cdef packed_row row
    cdef packed_text keys[_TABLE_ENTRIES]
    cdef packed_text key, last = packed_text(NULL, 0)  # a compiler cannot see it set
    cdef packed_entry entry
    cdef bint ordered = True
    cdef uint32_t number, other
    at = packed_take_head(at, end, &row) if at is not NULL else NULL
    if (
        at is NULL
        or row.flags >= _LARGE
        or row.version != version
        or version < _LEAST_VERSION
        or row.expires != (row.flags & _EXPIRES != 0)
        or (row.expires and row.expires_at >= _NUMBERS_END)
        or (row.form == 0x97) != (row.count > _TABLE_ENTRIES)
        or <size_t>(at - start) != (20 if row.expires else 12) + packed_size_of_map(row.count)
    ):
        return NULL
    for number in range(row.count):
        next = packed_take_str(at, end, &key)
        if (
            next is NULL
            or <size_t>(next - at) != packed_size_of_str(key.size)
            or not packed_is_utf8(key)
        ):
            return NULL
        if number and packed_order(last, key) >= 0:
            ordered = False
        if row.form != 0x97:
            keys[number] = key
        elif not ordered:
            return NULL
        last = key
        at = _take_entry(next, end, &entry)
        if (
            at is NULL
            or (entry.kind == PACKED_TOMBSTONE and not row.flags & _TOMBSTONES)
            or (entry.kind == PACKED_EXPIRING and not row.flags & _ENTRY_TTLS)
        ):
            return NULL
    if not ordered:
        for number in range(row.count):
            for other in range(number):
                if packed_equal(keys[number], keys[other]):
                    return NULL
    if row.form == 0x94:
        return at
    if row.form == 0x95:
        return _take_time(at, end, &row.completed_at)
    return _take_table(start, at, end, &row) if row.form == 0x97 else NULL


cdef const uint8_t *_take_entry(
    const uint8_t *at, const uint8_t *end, packed_entry *entry
) noexcept:
    """Read an entry in its shortest form, NULL for anything else."""
    cdef const uint8_t *next = packed_take_entry(at, end, entry)
    cdef size_t size = 1
    if next is NULL:
        return NULL
    if entry.kind != PACKED_TOMBSTONE:
        size = packed_size_of_bin(entry.value.size)
    if entry.kind == PACKED_EXPIRING:
        if entry.expires_at >= _NUMBERS_END:
            return NULL
        size += 1 + packed_size_of_int(entry.expires_at, False)
    return next if <size_t>(next - at) == size else NULL


cdef const uint8_t *_take_time(
    const uint8_t *at, const uint8_t *end, uint64_t *time
) noexcept:
    """Read a time in its shortest form, NULL for anything else."""
    cdef const uint8_t *next = packed_take_uint(at, end, time)
    if next is NULL or time[0] >= _NUMBERS_END:
        return NULL
    return next if <size_t>(next - at) == packed_size_of_int(time[0], False) else NULL


cdef const uint8_t *_take_table(
    const uint8_t *start, const uint8_t *at, const uint8_t *end, packed_row *row
) noexcept:
    """Read what follows the entries of a row with a table; NULL unless all of that is right.

    The entries from ``start`` on have been read.
    """
    cdef const uint8_t *next
    cdef const uint8_t *entry_at = start + (20 if row.expires else 12)
    cdef packed_text key
    cdef packed_entry entry
    cdef uint32_t number
    at = at + 1 if at < end and at[0] == 0xc0 else _take_time(at, end, &row.completed_at)
    if at is NULL or at >= end or at[0] != 0xc0:
        return NULL
    at += 1
    next = packed_take_bin(at, end, &row.table)
    if (
        next is NULL
        or row.table.size != 4 * <size_t>row.count
        or <size_t>(next - at) != packed_size_of_bin(row.table.size)
    ):
        return NULL
    entry_at += packed_size_of_map(row.count)
    for number in range(row.count):
        if packed_load_le32(row.table.at + 4 * number) != <uint64_t>(entry_at - start):
            return NULL
        entry_at = packed_take_entry(packed_take_str(entry_at, end, &key), end, &entry)
    return next
