"""Checksums that bind bytes to their file and place.

CRC-32C (Castagnoli) finds flipped bits; seeding it with the file's identity and
the offset finds blocks that are sound but belong elsewhere: a block of another
file, of another place, of an earlier life of the same file. RocksDB's
context checksums and ZFS's self-validating pointers have the same aim.
"""

from __future__ import annotations

import struct

from crc32c import crc32c

_PLACE = struct.Struct("<QQ")
_TRAILER = struct.Struct("<BBI")
TRAILER_SIZE = _TRAILER.size
"""Length of the trailer behind a block's body: kind u8, codec u8, CRC-32C u32."""

Buffer = bytes | bytearray | memoryview


def place_seed(file_id: int, offset: int) -> int:
    """Return the CRC seed of a block at ``offset`` of the file with identity ``file_id``."""
    return crc32c(_PLACE.pack(file_id, offset))


def salt(database_id: bytes, number: int) -> int:
    """Return the CRC seed of the records of log file ``number`` of a database.

    It does not depend on the file's own header, so that records can be told
    from garbage where the header is damaged, and nobody who only chooses
    values can forge a record inside one.
    """
    return crc32c(database_id + number.to_bytes(8, "little"))


def seal(body: bytes, kind: int, codec: int, seed: int) -> bytes:
    """Return ``body`` with its trailer."""
    return body + trailer_of(body, kind, codec, seed)


def trailer_of(body: bytes, kind: int, codec: int, seed: int) -> bytes:
    """Return the trailer that stands behind ``body``."""
    tag = bytes((kind, codec))
    return tag + crc32c(tag, crc32c(body, seed)).to_bytes(4, "little")


def check_block(data: bytes, kind: int, file_id: int, offset: int) -> int:
    """Return the codec of a sealed block of a file; ValueError if it is not valid, as `unseal`."""
    return unseal(data, kind, place_seed(file_id, offset))[1]


def unseal(data: bytes, kind: int, seed: int) -> tuple[memoryview, int]:
    """Return the body and codec of a sealed block. Raise ValueError if it is not valid.

    It is valid if (1) it has room for a trailer, (2) the CRC of body, kind and codec
    under the seed of its place matches, (3) it is of the kind asked for.
    """
    if len(data) < TRAILER_SIZE:
        raise ValueError("block is cut short")
    view = memoryview(data)
    found_kind, codec, crc = _TRAILER.unpack(view[-TRAILER_SIZE:])
    if crc32c(view[:-4], seed) != crc:
        raise ValueError("block checksum does not match its bytes and place")
    if found_kind != kind:
        raise ValueError(f"block is of kind {found_kind}, not {kind}")
    return view[:-TRAILER_SIZE], codec
