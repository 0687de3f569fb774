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

A chunk of a large row is a row of its own that holds a part of the entries (row.py).
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from kvengine.storage.checksum import TRAILER_SIZE

_ARRAY = struct.Struct(">BI")
_COUNT = struct.Struct("<I")
_ARRAY32 = 0xDD

# Kinds of block, frozen: the numbers are on disk.
ROWS: Final = 1
CHUNK: Final = 2
FILTER: Final = 3
TOMBSTONES: Final = 4
INDEX: Final = 5
PROPERTIES: Final = 6

# Codecs, frozen. Compression gets numbers of its own when it comes.
PLAIN: Final = 0


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

    ``data`` has passed its checksum. ValueError where its structure is not that of a block of rows:
    (1) there is at least one row, (2) the slots lie in the block and never fall, (3) rows start
    behind the array's head.
    """

    __slots__ = ("_names", "count", "data", "slots")

    def __init__(self, data: bytes) -> None:
        end = len(data) - TRAILER_SIZE - _COUNT.size
        if end < _ARRAY.size:
            raise ValueError("not a block of rows: it is cut short")
        (count,) = _COUNT.unpack_from(data, end)
        table = end - 8 * count
        if count == 0 or table < _ARRAY.size:
            raise ValueError("not a block of rows: its slots do not fit")
        slots = struct.unpack_from(f"<{2 * count}I", data, table)
        if slots[0] != _ARRAY.size or slots[-1] > table or sorted(slots) != list(slots):
            raise ValueError("not a block of rows: its slots are out of order")
        self.data = data
        self.count = count
        self.slots = (*slots, table)
        self._names: list[bytes] | None = None

    @property
    def names(self) -> list[bytes]:
        """The encoded objects, in order."""
        found = self._names
        if found is None:
            data = self.data
            found = [data[low:high] for low, high in pairwise(self.slots[self.count :])]
            self._names = found
        return found

    @property
    def rows(self) -> list[bytes]:
        """The rows, in the order of their objects."""
        data = self.data
        return [data[low:high] for low, high in pairwise(self.slots[: self.count + 1])]

    def row(self, at: int) -> bytes:
        """Return row number ``at``."""
        return self.data[self.slots[at] : self.slots[at + 1]]

    def find(self, name: bytes) -> bytes | None:
        """Return the row of one encoded object, None where the block has none."""
        if self._names is not None:
            at = bisect_left(self._names, name)
            if at < self.count and self._names[at] == name:
                return self.row(at)
            return None
        data, slots, count = self.data, self.slots, self.count
        low, high = 0, count
        while low < high:
            middle = (low + high) // 2
            found = data[slots[count + middle] : slots[count + middle + 1]]
            if found == name:
                return data[slots[middle] : slots[middle + 1]]
            if found < name:
                low = middle + 1
            else:
                high = middle
        return None
