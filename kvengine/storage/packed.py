"""Rows as bytes: writing them, decoding them, and finding one entry without decoding the others.

A row is MessagePack. It is encoded once, by the commit that makes it, and the same bytes lie in
the WAL, in the memtable and in a segment::

    [flags, version, expires_at | nil, entries]                           up to 32 entries
    [flags, version, expires_at | nil, entries, completed_at]             a completed workflow
    [flags, version, expires_at | nil, {}, completed_at | nil, chunks]    the head of a large row
    [flags, version, expires_at | nil, entries, completed_at | nil, nil, offsets]      over 32

The numbers in front have a fixed width: ``flags`` is the byte at offset 1, ``version`` the eight
bytes from 3 on, ``expires_at`` starts at 11. An entry is a value (bin), a tombstone (nil), or
``[expires_at, value]`` where it has an expiry of its own. ``offsets`` holds a u32 (little endian)
for each entry, in the order of the state keys: where it starts in the row. With it one entry
of many is found without decoding the others.

packed.pyx is the same in C. It decodes what rows look like as they are written, and leaves anything
else to the decoder that is used here, so that both accept the same bytes.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from operator import sub
from typing import Final

import msgspec

from kvengine.storage.decoded import (
    CLEARED,
    MISSING,
    TABLE_ENTRIES,
    TOMBSTONES,
    Entry,
    Missing,
    decode,
    find_raw,
)

__all__ = [
    "WITH_TABLE",
    "check_prefix",
    "check_prefixes",
    "decode",
    "entry_count",
    "expires_at_of",
    "find",
    "items",
    "pack",
    "pack_entries",
    "values_of",
    "version_of",
]

WITH_TABLE: Final = 0x97
"""The first byte of a row with a table."""

_ARRAY_OF_4, _U64, _NIL = 0x94, 0xCF, 0xC0
_ARRAYS = frozenset((0x94, 0x95, 0x96, 0x97))
_NO_EXPIRY = struct.Struct(">BBBQB")  # array, flags, uint 64, version, nil
_WITH_EXPIRY = struct.Struct(">BBBQBQ")  # array, flags, uint 64, version, uint 64, expires_at

assert _NO_EXPIRY.size == 12 and _WITH_EXPIRY.size == 20

SEARCHED: Final = 4096
"""A row of at most so many bytes is searched for the bytes of a state key before it is decoded."""

_encode = msgspec.msgpack.Encoder().encode


def pack_entries(version: int, entries: Mapping[str, bytes | None]) -> bytes:
    """Return the bytes of a row that has only values and tombstones, and states no expiry."""
    flags = TOMBSTONES if None in entries.values() else 0
    if len(entries) > TABLE_ENTRIES:
        return _pack_with_table(flags, version, None, entries, None)
    return _encode((flags, version, None, entries))


def pack(
    flags: int,
    version: int,
    expires_at: int | None,
    entries: Mapping[str, Entry],
    completed_at: int | None = None,
) -> bytes:
    """Return the bytes of a row. ``version`` is at least `LEAST_VERSION`.

    ValueError if no row has such flags.
    """
    if not 0 <= flags < 128:
        raise ValueError("not a row: its flags are not known")
    if len(entries) > TABLE_ENTRIES:
        return _pack_with_table(flags, version, expires_at, entries, completed_at)
    if completed_at is None:
        if expires_at is None:
            return _encode((flags, version, None, entries))
        prefix = _WITH_EXPIRY.pack(_ARRAY_OF_4, flags, _U64, version, _U64, expires_at)
        return prefix + _encode(entries)
    prefix = _prefix(5, flags, version, expires_at)
    return b"".join((prefix, _encode(entries), _encode(completed_at)))


def _prefix(size: int, flags: int, version: int, expires_at: int | None) -> bytes:
    if expires_at is None:
        return _NO_EXPIRY.pack(0x90 | size, flags, _U64, version, _NIL)
    return _WITH_EXPIRY.pack(0x90 | size, flags, _U64, version, _U64, expires_at)


def _pack_with_table(
    flags: int,
    version: int,
    expires_at: int | None,
    entries: Mapping[str, Entry],
    completed_at: int | None,
) -> bytes:
    prefix = _prefix(7, flags, version, expires_at)
    count = len(entries)
    size = (
        b"\xde" + count.to_bytes(2, "big") if count < 65536 else b"\xdf" + count.to_bytes(4, "big")
    )
    parts = [prefix, size]
    offsets, at = [], len(prefix) + len(size)
    for name in sorted(entries):
        key, value = _encode(name), _encode(entries[name])
        offsets.append(at)
        parts += (key, value)
        at += len(key) + len(value)
    parts += (_encode(completed_at), b"\xc0", _encode(struct.pack(f"<{count}I", *offsets)))
    return b"".join(parts)


def check_prefix(data: bytes, start: int, stop: int) -> None:
    """Raise ValueError unless the fixed fields of a row stand in ``data[start:stop]``.

    The functions below rely on this.
    """
    size = stop - start
    if size > 12 and data[start] in _ARRAYS and data[start + 2] == _U64:
        kind = data[start + 11]
        if kind == _NIL or (kind == _U64 and size > 20):
            return
    raise ValueError("not a row: its fixed fields are not in their places")


def check_prefixes(data: bytes, bounds: Sequence[int]) -> set[int]:
    """Return the flags of rows that lie one behind the other; ValueError as in `check_prefix`.

    ``bounds``: where each starts, and where the last one ends. The prefixes of all rows, twelve
    bytes each, are joined, and each field is checked for all rows at once. That costs a third of
    checking row by row.
    """
    starts = bounds[:-1]
    if min(map(sub, bounds[1:], starts)) > 12:
        prefixes = b"".join([data[start : start + 12] for start in starts])
        expiries = prefixes[11::12]
        placed = expiries.count(_NIL) == len(starts) or (
            not expiries.strip(b"\xc0\xcf")
            and all(stop - at > 20 or data[at + 11] == _NIL for at, stop in pairwise(bounds))
        )
        wide = prefixes[2::12].count(_U64) == len(starts)
        if placed and wide and not prefixes[::12].strip(b"\x94\x95\x96\x97"):
            return set(prefixes[1::12])
    raise ValueError("not a row: its fixed fields are not in their places")


def version_of(data: bytes) -> int:
    """Return the version that an encoded row states."""
    return int.from_bytes(data[3:11], "big")


def expires_at_of(data: bytes) -> int | None:
    """Return the expiry that an encoded row states, None for never."""
    return int.from_bytes(data[12:20], "big") if data[11] != _NIL else None


def entry_count(data: bytes) -> int:
    """Return how many entries an encoded row names, tombstones included; 0 for a large one."""
    at = 12 if data[11] == _NIL else 20
    kind = data[at]
    if kind < 0x90:
        return kind & 15
    return int.from_bytes(data[at + 1 : at + (3 if kind == 0xDE else 5)], "big")


def find(data: bytes, state_key: str) -> Entry | Missing:
    """Return what an encoded row says of one entry, `MISSING` for nothing.

    ValueError if the row is so damaged that this cannot be known. Most rows of a state say nothing
    of an entry: in a short row without a table, a search for the bytes of the state key shows that
    without decoding. From a longer one only the value asked for is copied.
    """
    if data[:1] == b"\x97":
        return _Table(data).find(state_key)
    if len(data) > SEARCHED:
        return find_raw(data, state_key)
    if state_key.encode() not in data:
        return MISSING
    return decode(data).entries.get(state_key, MISSING)


def values_of(data: bytes) -> dict[str, bytes] | None:
    """Return the entries of a row in key order if its flags say that all are values, else None.

    ValueError if it is no row. Values of such a row have no expiry.
    """
    check_prefix(data, 0, len(data))
    if data[1] & ~CLEARED:
        return None
    entries = decode(data).entries
    names = sorted(entries)
    if list(entries) != names:
        entries = {name: entries[name] for name in names}
    return entries  # type: ignore[return-value]


def items(data: bytes, start: str = "") -> Iterator[tuple[str, Entry]]:
    """Yield the entries of an encoded row in key order, from state key ``start`` on."""
    if data[:1] == b"\x97":
        yield from _Table(data).items(start)
        return
    entries = decode(data).entries
    for name in sorted(entries):
        if name >= start:
            yield name, entries[name]


class _Table:
    """The entries of a row with a table, found by bisection. Raises ValueError if it is damaged."""

    __slots__ = ("_data", "_end", "_offsets")

    def __init__(self, data: bytes) -> None:
        check_prefix(data, 0, len(data))
        size = 4 * entry_count(data)
        width = 4 if size > 65535 else 2 if size > 255 else 1
        table = len(data) - size
        end = table - 1 - width
        kind = b"\xc4" if width == 1 else b"\xc5" if width == 2 else b"\xc6"
        if size == 0 or end < 20 or data[end:table] != kind + size.to_bytes(width, "big"):
            raise ValueError("not a row: its table of offsets is damaged")
        self._data = data
        self._end = end
        self._offsets: memoryview | array[int] = memoryview(data)[table:].cast("I")
        if sys.byteorder == "big":
            self._offsets = array("I", data[table:])
            self._offsets.byteswap()

    def find(self, state_key: str) -> Entry | Missing:
        wanted = state_key.encode()
        at = self._position(wanted)
        if at == len(self._offsets):
            return MISSING
        key, start = self._key(at)
        if key != wanted:
            return MISSING
        return self._value(start)

    def items(self, start: str) -> Iterator[tuple[str, Entry]]:
        for at in range(self._position(start.encode()), len(self._offsets)):
            key, value = self._key(at)
            yield key.decode(), self._value(value)

    def _position(self, wanted: bytes) -> int:
        data, offsets, end = self._data, self._offsets, self._end
        low, high = 0, len(offsets)
        while low < high:
            middle = (low + high) // 2
            start = offsets[middle] + 1
            stop = start + data[start - 1] - 0xA0 if start < end else 0
            if start <= stop < start + 32 and stop < end:  # a short name: without a call
                key = data[start:stop]
            else:
                key = self._key(middle)[0]
            if key < wanted:
                low = middle + 1
            else:
                high = middle
        return low

    def _key(self, at: int) -> tuple[bytes, int]:
        """Return the state key of entry number ``at``, in UTF-8, and where its value starts."""
        data = self._data
        start = self._offsets[at]
        if start >= self._end:
            raise ValueError("not a row: an offset leads out of it")
        kind = data[start]
        if 0xA0 <= kind < 0xC0:
            size, start = kind & 31, start + 1
        elif 0xD9 <= kind <= 0xDB:
            width = 1 << (kind - 0xD9)
            size = int.from_bytes(data[start + 1 : start + 1 + width], "big")
            start += 1 + width
        else:
            raise ValueError("not a row: an offset leads to no state key")
        if start + size >= self._end:
            raise ValueError("not a row: a state key leads out of it")
        return data[start : start + size], start + size

    def _value(self, at: int) -> Entry:
        data = self._data
        kind = data[at]
        if kind == _NIL:
            return None
        if kind == 0x92:
            first = data[at + 1]
            if first < 0x80:
                return first, self._bytes(at + 2)
            if not 0xCC <= first <= 0xCF:
                raise ValueError("not a row: the expiry of an entry is no time")
            start = at + 2 + (1 << (first - 0xCC))
            return int.from_bytes(data[at + 2 : start], "big"), self._bytes(start)
        return self._bytes(at)

    def _bytes(self, at: int) -> bytes:
        data = self._data
        kind = data[at] if at < self._end else 0
        if not 0xC4 <= kind <= 0xC6:
            raise ValueError("not a row: an entry is no value")
        start = at + 1 + (1 << (kind - 0xC4))
        stop = start + int.from_bytes(data[at + 1 : start], "big")
        if stop > self._end:
            raise ValueError("not a row: a value leads out of it")
        return data[start:stop]
