"""A filter of what a segment names: filter.py in C, which describes it."""

import sys
from array import array

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from kvengine.storage.name_bytes cimport utf8_of

cdef enum:
    BITS = 5
    MASKS = 4096

BITS_PER_ITEM = 12
_BITS_SET = BITS
_MASK_BITS = 12
_BARRIER = 0x9E3779B97F4A7C15

cdef uint64_t[MASKS] _masks
"""The bit patterns that the low bits of a digest choose from: part of the format."""


cdef void _fill_masks() noexcept:
    cdef uint64_t digest, mask
    cdef int index, field
    cdef uint8_t[8] item
    for index in range(MASKS):
        for field in range(8):
            item[field] = <uint8_t>(<uint64_t>index >> 8 * field)
        digest, mask = xxh3(item, 8, 0), 0
        for field in range(BITS):
            mask |= <uint64_t>1 << (digest >> 6 * field & 63)
        _masks[index] = mask


_fill_masks()


def seed_of(bytes database_id not None):
    """Return the seed of the filters of a database."""
    return object_digest(database_id)


cpdef uint64_t object_digest(bytes name, uint64_t seed=0) except? 0:
    """Return the digest of an encoded object."""
    if name is None:
        raise TypeError("an object must be bytes")
    return xxh3(<const uint8_t *>PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), seed)


cpdef uint64_t entry_digest(str state_key, uint64_t object_digest) except? 0:
    """Return the digest of an entry, given that of its object."""
    cdef Py_ssize_t size
    if state_key is None:
        raise TypeError("a state key must be str")
    cdef const char *text = utf8_of(state_key, &size)
    return xxh3(<const uint8_t *>text, size, object_digest)


cpdef uint64_t barrier_digest(uint64_t object_digest) except? 0:
    """Return the digest of an object's barrier, given that of the object."""
    return barrier_of(object_digest)


cdef uint64_t barrier_of(uint64_t object_digest) noexcept nogil:
    return object_digest ^ <uint64_t>0x9E3779B97F4A7C15  # _BARRIER


cdef class Filter:
    """Answers `may_hold`, with about 1 false positive in 100 and no false negatives."""

    def __init__(self, seed, words not None):
        self.seed = seed
        self._words = words
        self._view = words
        if self._view.shape[0] == 0:
            raise ValueError("filter is not made of words")

    cpdef bint may_hold(self, uint64_t digest) except -1:
        """Return whether an item with this digest may have been added."""
        if self._words is None:
            raise TypeError("a filter without words")
        return holds(&self._view[0], self._view.shape[0], digest)


@cython.cdivision(True)
cdef bint holds(const uint64_t *words, uint64_t count, uint64_t digest) noexcept nogil:
    """Return whether an item may have been added to the words of a filter; ``count`` is not 0."""
    cdef uint64_t mask = _masks[digest & 0xFFF]
    return words[(digest >> 12) % count] & mask == mask


cdef uint64_t word_count(uint64_t items) noexcept nogil:
    """Return of how many words a filter of so many items is made."""
    return max(<uint64_t>1, (items * 12 + 63) // 64)  # BITS_PER_ITEM


@cython.cdivision(True)
cdef void set_items(
    uint64_t *words, uint64_t count, const uint64_t *digests, size_t items
) noexcept nogil:
    """Add items to the words of a filter."""
    cdef size_t at
    for at in range(items):
        words[(digests[at] >> 12) % count] |= _masks[digests[at] & 0xFFF]


def build(digests, seed):
    """Return the bytes of a filter of these items."""
    words = array("Q", bytes(8 * word_count(len(digests))))
    cdef uint64_t[::1] view = words
    cdef uint64_t digest
    for item in digests:
        digest = item
        set_items(&view[0], view.shape[0], &digest, 1)
    if sys.byteorder == "big":
        words.byteswap()
    return seed.to_bytes(8, "little") + words.tobytes()


def decode(body):
    """Return the filter that these bytes are; ValueError if they are none."""
    if len(body) < 16 or len(body) % 8:
        raise ValueError("filter is not made of words")
    words = array("Q", bytes(body[8:]))
    if sys.byteorder == "big":
        words.byteswap()
    return Filter(int.from_bytes(body[:8], "little"), words)
