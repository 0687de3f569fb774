"""Rows: what one layer says of one object, as bytes, and the law by which rows are overlaid.

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

``overlay(new, old)`` is the row that says what both say. If new is cleared, it is new. Otherwise it
has new's entries over old's, and the expiry and the version of new. It is pure, knows no time, and
is associative, so neighbours may be replaced by their overlay and no read changes.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from operator import sub
from typing import Final, TypeVar, cast

import msgspec

from kvengine.storage.resolved import Resolved, with_ttls

T = TypeVar("T")

Entry = bytes | None | tuple[int, bytes]
"""A value, a tombstone, or (expires_at, value)."""

# Flags of a row, frozen: the numbers are on disk.
CLEARED: Final = 1
"""Nothing older shows through."""
EXPIRES: Final = 2
"""The row states an expiry of the object."""
EXTENDS: Final = 4
"""Some commit in the row lengthened or removed an expiry that an older layer may still state."""
ENTRY_TTLS: Final = 8
"""Some entry may have an expiry of its own."""
TOMBSTONES: Final = 16
"""Some entry may be a tombstone."""
LARGE: Final = 32
"""The row is the head of a large one: its entries lie in chunks."""

BARRIER: Final = CLEARED | EXPIRES | EXTENDS
"""A row with one of these changes what older layers say, even of entries that it does not name."""

_INHERITED: Final = CLEARED | EXTENDS | ENTRY_TTLS | TOMBSTONES
"""Flags that a row keeps when a newer one is laid over it."""

VALUES_ONLY: Final = (0, CLEARED)
"""The possible flags of a row whose entries are all values, without any expiry."""

TABLE_ENTRIES: Final = 32
"""A row with more entries carries a table of their offsets."""

_SEARCHED: Final = 4096
"""A row of at most so many bytes is searched for the bytes of a state key before it is decoded."""

LEAST_VERSION: Final = 1 << 32
"""Versions are at least this, so that MessagePack encodes each in eight bytes."""

_NUMBERS_END: Final = 1 << 63
"""Versions and times are below this, so that there is room for the versions that follow."""

WITH_TABLE: Final = 0x97
"""The first byte of a row with a table."""

_ARRAY_OF_4, _U64, _NIL = 0x94, 0xCF, 0xC0
_ARRAYS = frozenset((0x94, 0x95, 0x96, 0x97))
_NO_EXPIRY = struct.Struct(">BBBQB")  # array, flags, uint 64, version, nil
_WITH_EXPIRY = struct.Struct(">BBBQBQ")  # array, flags, uint 64, version, uint 64, expires_at

assert _NO_EXPIRY.size == 12 and _WITH_EXPIRY.size == 20


class Missing:
    """The type of `MISSING`."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing()
"""What `find` returns where a row says nothing of an entry."""


class Chunk(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a part of a large row lies: entries from state key ``first`` on.

    ``offset`` is a byte of the file (on disk: relative to the end of the head's block), ``length``
    the bytes of the chunk with its trailer, ``entries`` their number.
    """

    first: str
    offset: int
    length: int
    entries: int


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A decoded row. Immutable. ``expires_at`` is the object's expiry in full, None for never.

    ``offsets`` is made anew when the row is encoded.
    """

    flags: int
    version: int
    expires_at: int | None
    entries: dict[str, Entry]
    completed_at: int | None = None
    chunks: list[Chunk] | None = None
    offsets: bytes = b""

    @property
    def cleared(self) -> bool:
        """Whether nothing older shows through."""
        return self.flags & CLEARED != 0

    @property
    def extends(self) -> bool:
        """Whether a commit in the row lengthened or removed an expiry."""
        return self.flags & EXTENDS != 0


class _RawRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A row whose entries are still bytes: views of the row, not copies."""

    flags: int
    version: int
    expires_at: int | None
    entries: dict[str, msgspec.Raw]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Row).decode
_decode_array = msgspec.msgpack.Decoder(list[Row]).decode
_decode_raw = msgspec.msgpack.Decoder(_RawRow).decode
_decode_entry = msgspec.msgpack.Decoder(Entry).decode
_BAD = (msgspec.MsgspecError, UnicodeDecodeError, MemoryError, RecursionError)


def make(
    version: int,
    entries: Mapping[str, Entry],
    *,
    cleared: bool = False,
    extends: bool = False,
    expires_at: int | None = None,
    completed_at: int | None = None,
) -> Row:
    """Return a row of these entries, in the order of their keys, with the flags that follow."""
    flags = CLEARED * cleared | EXTENDS * extends
    if expires_at is not None:
        flags |= EXPIRES
    values = entries.values()
    if None in values:
        flags |= TOMBSTONES
    if any(value.__class__ is tuple for value in values):
        flags |= ENTRY_TTLS
    return Row(flags, version, expires_at, in_order(entries), completed_at)


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
    """Return the bytes of a row. ``version`` is at least `LEAST_VERSION`."""
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


def encode(row: Row) -> bytes:
    """Return the bytes of a decoded row that is not the head of a large one."""
    return pack(row.flags, row.version, row.expires_at, row.entries, row.completed_at)


def encode_head(row: Row, chunks: Sequence[Chunk]) -> bytes:
    """Return the bytes of the head of a large row, whose entries lie in ``chunks``."""
    prefix = _prefix(6, row.flags | LARGE, row.version, row.expires_at)
    return b"".join((prefix, b"\x80", _encode(row.completed_at), _encode(chunks)))


def decode(data: bytes | memoryview) -> Row:
    """Return the row that these bytes are; ValueError if they are none."""
    try:
        return _decode(data)
    except _BAD as error:
        raise ValueError(f"not a row: {error}") from None


def decode_array(data: bytes | memoryview) -> list[Row]:
    """Return the rows of a MessagePack array, decoded in one call; ValueError if it is none."""
    try:
        return _decode_array(data)
    except _BAD as error:
        raise ValueError(f"not rows: {error}") from None


def decode_many(rows: Sequence[bytes]) -> list[Row]:
    """Return the rows that these bytes are; ValueError if one is none."""
    return decode_array(b"".join((b"\xdd", len(rows).to_bytes(4, "big"), *rows)))


def check(data: bytes) -> Row:
    """Return the row of bytes that nobody has checked; ValueError unless they are as `pack` writes.

    A row is valid if and only if (1) its fields have the right types and its numbers are in range,
    (2) its flags are known, state an expiry if and only if there is one, and a tombstone and an
    entry's expiry if there are any, (3) it names chunks if and only if its flags say so, and
    then holds no entries, (4) encoding it again gives the same bytes: so the numbers in front have
    their fixed width, each state key stands once, and a table is there if needed, and is right.
    """
    row = decode(data)
    flags, chunks = row.flags, row.chunks
    if not 0 <= flags < LARGE * 2:
        raise ValueError("not a row: its flags are not known")
    if not has_sound_numbers(row):
        raise ValueError("not a row: a version or a time is out of range")
    if (row.expires_at is not None) != (flags & EXPIRES != 0) or not _flags_cover(row):
        raise ValueError("not a row: it is not what its flags say")
    if (chunks is not None) != (flags & LARGE != 0):
        raise ValueError("not a row: it names chunks, or none, against its flags")
    if chunks is not None and (row.entries or not chunks):
        raise ValueError("not a row: the head of a large one holds entries, or names no chunks")
    written = encode(row) if chunks is None else encode_head(row, chunks)
    if written != data:
        raise ValueError("not a row: it is not written as rows are")
    return row


def has_sound_numbers(row: Row) -> bool:
    """Return whether version and times are in the range that a commit can write."""
    if not LEAST_VERSION <= row.version < _NUMBERS_END:
        return False
    if row.flags & ENTRY_TTLS:
        values = row.entries.values()
        if not all(0 <= entry[0] < _NUMBERS_END for entry in values if isinstance(entry, tuple)):
            return False
    times = (row.expires_at, row.completed_at)
    return all(time is None or 0 <= time < _NUMBERS_END for time in times)


def _flags_cover(row: Row) -> bool:
    """Return whether the flags state each kind of entry that the row holds; they may state more."""
    values = row.entries.values()
    return (row.flags & TOMBSTONES != 0 or None not in values) and (
        row.flags & ENTRY_TTLS != 0 or tuple not in map(type, values)
    )


# --- parts of a row, without decoding the rest


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


def has_values(data: bytes) -> bool:
    """Return whether the fixed fields alone show that an encoded row has an entry with a value.

    If it is False, the row may still have one: it must be decoded to know.
    """
    return data[1] in VALUES_ONLY and data[12] != 0x80


def find(data: bytes, state_key: str) -> Entry | Missing:
    """Return what an encoded row says of one entry, `MISSING` for nothing.

    ValueError if the row is so damaged that this cannot be known. Most rows of a state say nothing
    of an entry: in a short row without a table, a search for the bytes of the state key shows that
    without decoding. From a longer one only the value asked for is copied.
    """
    if data[:1] == b"\x97":
        return _Table(data).find(state_key)
    if len(data) > _SEARCHED:
        return _find_raw(data, state_key)
    if state_key.encode() not in data:
        return MISSING
    return decode(data).entries.get(state_key, MISSING)


def _find_raw(data: bytes, state_key: str) -> Entry | Missing:
    try:
        found = _decode_raw(data).entries.get(state_key)
        return MISSING if found is None else _decode_entry(found)
    except _BAD as error:
        raise ValueError(f"not a row: {error}") from None


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


# --- the law


def overlay(new: Row, old: Row) -> Row:
    """Return the row that says what ``new`` over ``old`` says.

    Neither may be the head of a large row.
    """
    if new.flags & CLEARED:
        return new
    return Row(
        new.flags | (old.flags & _INHERITED),
        new.version,
        new.expires_at,
        {**old.entries, **new.entries},
        new.completed_at,
    )


def overlay_all(rows: Sequence[Row]) -> Row:
    """Return the overlay of one object's rows, newest first; at least one.

    The result is that of repeated `overlay`, made in one pass.
    """
    newest = rows[0]
    if len(rows) == 1 or newest.flags & CLEARED:
        return newest
    shown = 0
    flags = newest.flags
    for row in rows:
        shown += 1
        flags |= row.flags & _INHERITED
        if row.flags & CLEARED:
            break
    entries: dict[str, Entry] = {}
    for row in reversed(rows[:shown]):
        entries.update(row.entries)
    return Row(flags, newest.version, newest.expires_at, entries, newest.completed_at)


def fold(rows: Sequence[bytes]) -> bytes:
    """Return the overlay of encoded rows, newest first, in the encoding."""
    if len(rows) == 1:
        return rows[0]
    return encode(overlay_all([decode(data) for data in rows]))


# --- objects: rows with the time applied


def resolve(rows: Sequence[Row]) -> Resolved | None:
    """Return one object from its rows, newest first; None if no entry has a value."""
    if not rows:
        return None
    row = rows[0] if len(rows) == 1 else overlay_all(rows)
    entries = row.entries
    if not is_sorted(entries):
        entries = in_order(entries)
    if row.flags in VALUES_ONLY:
        values = cast("dict[str, bytes]", entries)
        return Resolved(row.version, None, values, None, None) if values else None
    ttls: dict[str, int] = {}
    values = {}
    for name, entry in entries.items():
        if isinstance(entry, tuple):
            ttls[name], values[name] = entry
        elif entry is not None:
            values[name] = entry
    return with_ttls(row.version, row.expires_at, values, ttls)


def extend(base: Resolved | None, row: Row) -> Resolved | None:
    """Return ``row``, of a newer commit, laid over a resolved object."""
    if base is None or row.flags & CLEARED:
        return resolve((row,))
    if base.ttls is None and row.flags == 0 and base.expires_at is None:
        together = base.entries | cast("dict[str, bytes]", row.entries)
        if len(together) != len(base.entries):
            together = in_order(together)
        return Resolved(row.version, None, together, None, None)
    entries: dict[str, Entry] = dict(base.entries)
    for name, at in (base.ttls or {}).items():
        entries[name] = (at, base.entries[name])
    return resolve((row, make(base.version, entries, cleared=True)))


def in_order(entries: Mapping[str, T]) -> dict[str, T]:
    """Return the entries in key order."""
    return {name: entries[name] for name in sorted(entries)}


def is_sorted(entries: Iterable[str]) -> bool:
    """Return whether the state keys stand in order."""
    names = list(entries)
    return names == sorted(names)
