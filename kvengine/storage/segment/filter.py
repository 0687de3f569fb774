"""A filter of objects: whether a segment may hold one, without reading a block.

A register-blocked Bloom filter (Putze, Sanders and Singler, 2007; as in Impala
and Parquet): each object sets a few bits of one 64-bit word. One load and one
comparison answer, which suits Python. The hash is keyed by a random seed per
segment, so that nobody can choose names that all collide.

Bytes: seed u64 LE, then the words u64 LE.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable
from functools import cache

from xxhash import xxh3_64_intdigest

BITS_PER_OBJECT = 12
_BITS_SET = 5
_MASK_BITS = 12
_MASK_COUNT = 1 << _MASK_BITS


@cache
def _masks() -> tuple[int, ...]:
    """The bit patterns that the low bits of a hash choose from. Part of the format."""
    masks = []
    for index in range(_MASK_COUNT):
        digest, mask = xxh3_64_intdigest(index.to_bytes(8, "little")), 0
        for field in range(_BITS_SET):
            mask |= 1 << (digest >> 6 * field & 63)
        masks.append(mask)
    return tuple(masks)


class Filter:
    """Answers `may_hold`; false positives about 1 in 100, false negatives never."""

    __slots__ = ("_count", "_masks", "_words", "seed")

    def __init__(self, seed: int, words: array[int]) -> None:
        self.seed = seed
        self._masks = _masks()
        self._words = words
        self._count = len(words)

    def may_hold(self, name: bytes) -> bool:
        digest = xxh3_64_intdigest(name, self.seed)
        mask = self._masks[digest & 0xFFF]
        return self._words[(digest >> 12) % self._count] & mask == mask


def build(names: Iterable[bytes], count: int, seed: int) -> bytes:
    """The bytes of a filter of ``count`` encoded objects."""
    size = max(1, -(-count * BITS_PER_OBJECT // 64))
    words, masks = array("Q", bytes(8 * size)), _masks()
    for name in names:
        digest = xxh3_64_intdigest(name, seed)
        words[(digest >> 12) % size] |= masks[digest & 0xFFF]
    if sys.byteorder == "big":
        words.byteswap()
    return seed.to_bytes(8, "little") + words.tobytes()


def decode(body: memoryview) -> Filter:
    """ValueError for bytes that are no filter."""
    if len(body) < 16 or len(body) % 8:
        raise ValueError("filter is not made of words")
    words = array("Q", bytes(body[8:]))
    if sys.byteorder == "big":
        words.byteswap()
    return Filter(int.from_bytes(body[:8], "little"), words)
