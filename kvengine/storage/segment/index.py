"""The index of a segment: the first object of each block of rows, and where the block lies.

The body of an index, integers little endian:

    | field  | size   | field                                                                |
    |--------|--------|----------------------------------------------------------------------|
    | firsts |        | the first encoded object of each block of rows, one behind the other |
    | slots  | 16 * n | for each: where it starts here (u32), its block's offset (u64) and   |
    |        |        | length, trailer included (u32)                                       |
    | count  | 4      | n, u32                                                               |

index.pyx is the same in C. It keeps the names one behind the other as they lie in the file, and
before them, in one array, the eight bytes of each name that follow what all have in common: most
searches compare numbers that lie close together, where a list of ``bytes`` is a cache miss a step.
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left, bisect_right
from itertools import pairwise

from kvengine.storage.checksum import Buffer

_SLOT = struct.Struct("<IQI")
_COUNT = struct.Struct("<I")


class Index:
    """Blocks of rows in order: the first encoded object of each, and where it lies."""

    __slots__ = ("firsts", "lengths", "offsets")

    def __init__(self) -> None:
        self.firsts: list[bytes] = []
        self.offsets: array[int] = array("Q")
        self.lengths: array[int] = array("I")

    def __len__(self) -> int:
        return len(self.firsts)

    def __sizeof__(self) -> int:
        """Return the bytes of memory that it takes in all."""
        parts = (self.offsets, self.lengths, self.firsts, *self.firsts)
        return object.__sizeof__(self) + sum(map(sys.getsizeof, parts))

    def add(self, first: bytes, offset: int, length: int) -> None:
        """Append the next block."""
        self.firsts.append(first)
        self.offsets.append(offset)
        self.lengths.append(length)

    def find(self, name: bytes) -> int:
        """Return the number of the one block that may hold an object, -1 if none may."""
        return bisect_right(self.firsts, name) - 1

    def before(self, stop: bytes) -> int:
        """Return the number of the last block that begins below an object, -1 if none does."""
        return bisect_left(self.firsts, stop) - 1

    def first(self, at: int) -> bytes:
        """Return the first object of block number ``at``."""
        return self.firsts[at]

    def offset(self, at: int) -> int:
        """Return where block number ``at`` lies in the file."""
        return self.offsets[at]

    def length(self, at: int) -> int:
        """Return the bytes of block number ``at``, trailer included."""
        return self.lengths[at]


def encode_index(index: Index) -> bytes:
    """Return the body of an index."""
    slots, at = bytearray(), 0
    for first, offset, length in zip(index.firsts, index.offsets, index.lengths, strict=True):
        slots += _SLOT.pack(at, offset, length)
        at += len(first)
    return b"".join((*index.firsts, slots, _COUNT.pack(len(index.firsts))))


def decode_index(body: Buffer) -> Index:
    """Return the index that these bytes are; ValueError if they are none.

    It is valid if (1) the slots fit, (2) they lead to first objects in strictly rising order, (3)
    no block begins before the one before it ends, so that no part of the file is read twice.
    """
    table = len(body) - _COUNT.size
    if table < 0:
        raise ValueError("index is cut short")
    (count,) = _COUNT.unpack_from(body, table)
    end = table - _SLOT.size * count
    if end < 0:
        raise ValueError("index is shorter than its slots")
    index, starts, edge = Index(), [], 0
    for start, offset, length in _SLOT.iter_unpack(body[end:table]):
        if offset < edge or length == 0 or offset >> 63:
            raise ValueError("index names blocks that overlap")
        edge = offset + length
        starts.append(start)
        index.offsets.append(offset)
        index.lengths.append(length)
    starts.append(end)
    if starts[0] != 0 or sorted(starts) != starts:
        raise ValueError("index slots are out of order")
    data = bytes(body[:end])
    index.firsts += [data[low:high] for low, high in pairwise(starts)]
    if any(first >= following for first, following in pairwise(index.firsts)):
        raise ValueError("index is out of order")
    return index
