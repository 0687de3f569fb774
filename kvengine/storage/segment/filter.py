"""A filter of what a segment names: whether a block must be read at all.

A register-blocked Bloom filter (Putze, Sanders and Singler, 2007; as in Impala and Parquet): each
item sets a few bits of one 64-bit word. One load and one comparison answer. There are three kinds
of items:

- each object that has a row,
- each entry that a row names, tombstones included,
- a *barrier* for each row that is cleared, states an expiry, or lifts one: it changes what older
  layers say of entries that it does not name.

Filters speak for rows, never for range tombstones. The hash is keyed by a seed that the segments
of one database share and nobody else knows. So nobody can choose names that collide, and one digest
serves all segments.

Bytes: seed u64 LE, then the words u64 LE.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from functools import cache
from typing import Final

from xxhash import xxh3_64_intdigest

BITS_PER_ITEM: Final = 12
_BITS_SET = 5
_MASK_BITS = 12
_MASK_COUNT = 1 << _MASK_BITS
_BARRIER = 0x9E3779B97F4A7C15  # any odd constant: a barrier's digest must not be its object's


@cache
def _masks() -> tuple[int, ...]:
    """Return the bit patterns that the low bits of a digest choose from: part of the format."""
    masks = []
    for index in range(_MASK_COUNT):
        digest, mask = xxh3_64_intdigest(index.to_bytes(8, "little")), 0
        for field in range(_BITS_SET):
            mask |= 1 << (digest >> 6 * field & 63)
        masks.append(mask)
    return tuple(masks)


def seed_of(database_id: bytes) -> int:
    """Return the seed of the filters of a database."""
    return xxh3_64_intdigest(database_id)


object_digest = xxh3_64_intdigest
"""``object_digest(name, seed)``: the digest of an encoded object."""


def entry_digest(state_key: str, object_digest: int) -> int:
    """Return the digest of an entry, given that of its object."""
    return xxh3_64_intdigest(state_key.encode(), object_digest)


def barrier_digest(object_digest: int) -> int:
    """Return the digest of an object's barrier, given that of the object."""
    return object_digest ^ _BARRIER


class Filter:
    """Answers `may_hold`, with about 1 false positive in 100 and no false negatives."""

    __slots__ = ("_count", "_masks", "_words", "seed")

    def __init__(self, seed: int, words: array[int]) -> None:
        self.seed: int = seed
        self._masks = _masks()
        self._words = words
        self._count = len(words)

    def may_hold(self, digest: int) -> bool:
        """Return whether an item with this digest may have been added."""
        mask = self._masks[digest & 0xFFF]
        return self._words[(digest >> 12) % self._count] & mask == mask


def build(digests: Sequence[int], seed: int) -> bytes:
    """Return the bytes of a filter of these items."""
    size = max(1, -(-len(digests) * BITS_PER_ITEM // 64))
    words, masks = array("Q", bytes(8 * size)), _masks()
    for digest in digests:
        words[(digest >> 12) % size] |= masks[digest & 0xFFF]
    if sys.byteorder == "big":
        words.byteswap()
    return seed.to_bytes(8, "little") + words.tobytes()


def decode(body: memoryview) -> Filter:
    """Return the filter that these bytes are; ValueError if they are none."""
    if len(body) < 16 or len(body) % 8:
        raise ValueError("filter is not made of words")
    words = array("Q", bytes(body[8:]))
    if sys.byteorder == "big":
        words.byteswap()
    return Filter(int.from_bytes(body[:8], "little"), words)
