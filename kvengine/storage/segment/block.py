"""Blocks of rows: slotted, searched in place, and chunks of large rows.

A block of rows, before its trailer (checksum.py), integers little endian:

    | field  | size  |                                                              |
    |--------|-------|--------------------------------------------------------------|
    | rows   |       | MessagePack array32 of rows: DD, count u32 BE, then the rows |
    | names  |       | the encoded objects, one behind the other                    |
    | slots  | 8 * n | where each row starts, u32 each; then where each name does   |
    | count  | 4     | n, u32                                                       |

Offsets count from the start of the block and never fall: a row ends where the next one starts, the
last one where the names start; a name ends where the next one starts, the last one at the slots.
One name is found by bisection over the slots; nothing of the other rows is decoded.

A chunk of a large row is a row of its own that holds a part of the entries (packed.py).
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Sequence
from itertools import pairwise
from operator import lt
from typing import Final

from kvengine.storage import row as rows
from kvengine.storage.checksum import TRAILER_SIZE, check_block
from kvengine.storage.names import are_objects
from kvengine.storage.packed import find, values_of, version_of
from kvengine.storage.row import (
    CLEARED,
    LARGE,
    VALUES_ONLY,
    Entry,
    Row,
    check_prefix,
    check_prefixes,
    decode_array,
)

_ARRAY = struct.Struct(">BI")
_COUNT = struct.Struct("<I")
_ARRAY32 = 0xDD
_STATES_NO_EXPIRY = 0xC0

# Kinds of block, frozen: the numbers are on disk.
ROWS: Final = 1
CHUNK: Final = 2
FILTER: Final = 3
TOMBSTONES: Final = 4
INDEX: Final = 5
PROPERTIES: Final = 6

# Codecs, frozen. Compression gets numbers of its own when it comes.
UNCOMPRESSED: Final = 0


def encode_rows(names: Sequence[bytes], rows: Sequence[bytes]) -> bytes:
    """Return the body of a block of encoded rows and the objects they belong to, in order."""
    slots, at = [], _ARRAY.size
    for part in (*rows, *names):
        slots.append(at)
        at += len(part)
    count = len(rows)
    table = struct.pack(f"<{2 * count}I", *slots)
    return b"".join((_ARRAY.pack(_ARRAY32, count), *rows, *names, table, _COUNT.pack(count)))


class RowBlock:
    """A block of rows as it lies in a file, trailer included. Immutable.

    ``data`` has passed its checksum. A block of rows is valid if and only if (1) it begins with an
    array of at least one row, (2) the slots lie in the block and never fall, and the rows start
    behind the array's header, (3) each row has its fixed fields in their places, (4) the head of a
    large row is alone in its block, (5) the objects ascend, and are encoded as objects are. To make
    one costs the check of rules 1 and 2. `find` checks rules 3 and 4 of the row that it returns,
    `names` checks rule 5, and `rows` checks 3 and 4 of all rows.

    ``file_id``, ``offset``: where it was read, 0 if it was not read from a file.
    """

    __slots__ = ("_decoded", "_names", "count", "data", "file_id", "is_sound", "offset", "slots")

    def __init__(self, data: bytes) -> None:
        """Raise ValueError if rule 1 or 2 is broken."""
        end = len(data) - TRAILER_SIZE - _COUNT.size
        if end < _ARRAY.size:
            raise ValueError("not a block of rows: it is cut short")
        (count,) = _COUNT.unpack_from(data, end)
        table = end - 8 * count
        if count == 0 or table < _ARRAY.size or _ARRAY.unpack_from(data) != (_ARRAY32, count):
            raise ValueError("not a block of rows: its slots do not fit")
        slots = array("I", data[table:end])
        if sys.byteorder == "big":
            slots.byteswap()
        ordered = slots.tolist()
        if ordered[0] != _ARRAY.size or ordered[-1] > table or sorted(ordered) != ordered:
            raise ValueError("not a block of rows: its slots are out of order")
        slots.append(table)
        self.data: bytes = data
        self.count: int = count
        self.slots: array[int] = slots
        self.offset: int = 0
        self.file_id: int = 0
        self.is_sound: bool = False
        """Whether rule 5 has been checked."""
        self._names: list[bytes] | None = None
        self._decoded: list[Row] | None = None

    def for_walk(self) -> RowBlock:
        """Return a copy of the block for one walk; the names that it makes go with the copy.

        So a block that stays in memory takes no more than it did when it was read.
        """
        found = RowBlock.__new__(RowBlock)
        found.data, found.count, found.slots = self.data, self.count, self.slots
        found.file_id, found.offset = self.file_id, self.offset
        found.is_sound, found._names, found._decoded = self.is_sound, None, None
        return found

    def footprint(self) -> int:
        """Bytes that the block takes in memory, apart from a fixed number of objects."""
        return len(self.data) + sys.getsizeof(self.slots)

    def all_names(self) -> list[bytes]:
        """The encoded objects, in order. Raises ValueError if rule 5 is broken. They are kept."""
        names = self._names
        if names is None:
            data, bounds = self.data, self.slots[self.count :]
            names = [data[low:high] for low, high in pairwise(bounds)]
            if not self.is_sound:
                if not all(map(lt, names, names[1:])):
                    raise ValueError("objects are out of order")
                if not are_objects(names, data[bounds[0] : bounds[-1]]):
                    raise ValueError("an object is not encoded as one")
                self.is_sound = True
            self._names = names
        return names

    @property
    def names(self) -> list[bytes]:
        """The names of the objects, in order."""
        return self.all_names()

    @property
    def rows(self) -> list[bytes]:
        """The rows, in the order of their objects. Raises ValueError if rule 3 or 4 is broken."""
        self._check_rows()
        data = self.data
        return [data[low:high] for low, high in pairwise(self.slots[: self.count + 1])]

    def _check_rows(self) -> None:
        flags = check_prefixes(self.data, self.slots[: self.count + 1])
        if self.count > 1 and any(combination & LARGE for combination in flags):
            raise ValueError("the head of a large row is not alone in its block")

    def decode(self) -> list[Row]:
        """Return the rows, decoded in one call; ValueError if one is none."""
        return decode_array(memoryview(self.data)[: self.slots[self.count]])

    def row(self, at: int) -> bytes:
        """Return row number ``at``; ValueError if it does not begin as one."""
        data, low, high = self.data, self.slots[at], self.slots[at + 1]
        check_prefix(data, low, high)
        if data[low + 1] & LARGE and self.count > 1:
            raise ValueError("the head of a large row is not alone in its block")
        return data[low:high]

    def values(self, at: int) -> tuple[int, dict[str, Entry]] | None:
        """Return (version, entries) of row number ``at`` if its flags say that all are values.

        Else None. ValueError if it is no row. Plain Python decodes all rows at the first call,
        since one call of the decoder costs less than many: so it is for one walk, which asks for
        each row once.
        """
        if not 0 <= at < self.count:
            raise IndexError(f"there is no row number {at}")
        if self._decoded is None:
            self._decoded = self.decode()
        row = self._decoded[at]
        return (row.version, row.entries) if row.flags in VALUES_ONLY else None

    def values_of(self, name: bytes) -> tuple[int, dict[str, bytes]] | None:
        """Return (version, entries) of an object if its flags say that all are values.

        The entries are in key order. Else None, also if the block has no such row. ValueError as in
        `find`, and if it is no row.
        """
        row = self.find(name)
        entries = values_of(row) if row is not None else None
        return None if row is None or entries is None else (version_of(row), entries)

    def find(self, name: bytes) -> bytes | None:
        """Return the row of one encoded object, None if the block has none.

        Raise ValueError if that row does not begin as one.
        """
        data, slots, count = self.data, self.slots, self.count
        low, high = 0, count
        while low < high:
            middle = (low + high) // 2
            found = data[slots[count + middle] : slots[count + middle + 1]]
            if found == name:
                return self.row(middle)
            if found < name:
                low = middle + 1
            else:
                high = middle
        return None

    def value_of(self, name: bytes, state_key: str) -> bytes | RowBlock | None:
        """Return the value of an entry of an object, if the row has it and states no expiry.

        None if the block has no such row. For any other row return the block: to be asked further.
        ValueError as in `find` here and in packed.py.
        """
        row = self.find(name)
        if row is None:
            return None
        if row[1] & ~(CLEARED | rows.TOMBSTONES) or row[11] != _STATES_NO_EXPIRY:
            return self
        entry = find(row, state_key)
        return entry if isinstance(entry, bytes) else self


class Map:
    """The bytes of a mapped file. They stay mapped as long as this lives."""

    def __init__(self, data: memoryview) -> None:
        self.data = data


def checked_rows(read: bytes, start: int, length: int, file_id: int, offset: int) -> RowBlock:
    """Return the block of rows in ``read[start : start + length]``, which lies at a file's offset.

    ValueError if checksum, place or kind are wrong, or rule 1 or 2 is broken. In C the bytes are
    not copied: the block keeps all that was read with it.
    """
    data = read[start : start + length]
    codec = check_block(data, ROWS, file_id, offset)
    if codec != UNCOMPRESSED:
        raise ValueError(f"block has unknown codec {codec}")
    found = RowBlock(data)
    found.file_id, found.offset = file_id, offset
    return found


def mapped_rows(file: Map, file_id: int, offset: int, length: int) -> RowBlock:
    """Return the block of rows at an offset of a mapped file. In C the block is not copied.

    ValueError as in `checked_rows`.
    """
    data = bytes(file.data[offset : offset + length])
    if len(data) != length:
        raise ValueError("block lies outside its file")
    return checked_rows(data, 0, length, file_id, offset)
