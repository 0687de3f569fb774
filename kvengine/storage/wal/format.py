"""WAL files: a header, then one record per commit holding resolved rows.

Header, 64 bytes, little endian:

    | offset | size | field       |                                                     |
    |--------|------|-------------|-----------------------------------------------------|
    | 0      | 8    | magic       | b"KVEWAL\\r\\n"                                      |
    | 8      | 4    | version     | FORMAT_VERSION                                      |
    | 12     | 16   | database_id | of the database it belongs to                       |
    | 28     | 8    | number      | of this file                                        |
    | 36     | 8    | previous    | number of the WAL before it, 0 for none              |
    | 44     | 8    | proven      | length of the previous WAL, all of it synced         |
    | 52     | 8    | (zero)      |                                                     |
    | 60     | 4    | crc         | CRC-32C of the 60 bytes before                      |

The payload of a record is MessagePack of `Commit`: what the commit resolved
to, with absolute times; replay decides nothing and reads no clock.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import msgspec
from crc32c import crc32c

from kvengine.storage import record
from kvengine.storage.checksum import Buffer
from kvengine.storage.row import Row

FORMAT_VERSION = 1
MAGIC = b"KVEWAL\r\n"
_HEADER = struct.Struct("<8sI16sQQQ8xI")
HEADER_SIZE = _HEADER.size
_KNOWN = 36  # magic, version, database_id, number

assert HEADER_SIZE == 64


class Header(NamedTuple):
    """Who a WAL file is and what it proves of the one before."""

    database_id: bytes
    number: int
    previous: int
    proven: int


class Commit(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One commit: (service, key, row) for each object, and range tombstones [start, stop).

    ``now``: the engine's time at the commit where the stamp is ahead of it, else 0.
    """

    stamp: int
    rows: list[tuple[str, str, Row]]
    tombstones: list[tuple[bytes, bytes]] = []
    now: int = 0


encode_commit = msgspec.msgpack.Encoder().encode
"""The payload of a `Commit`, or of a tuple in its form, which is made in less time."""


def record_of_sets(
    stamp: int,
    service: str,
    key: str,
    entries: dict[str, bytes],
    now: int,
    salt: int,
    mark: int,
    synced: int,
) -> bytes:
    """Return the record (storage/record.py) of a commit that sets entries of one object.

    ``now``: as in `Commit`. Tuples in the form of a Row and a Commit: the same bytes.
    """
    row = (stamp, entries, False, False, None, None, None)
    payload = encode_commit((stamp, ((service, key, row),), (), now))
    return record.encode(payload, salt, mark, synced)


_decode_commit = msgspec.msgpack.Decoder(Commit).decode


def decode_commit(payload: Buffer) -> Commit:
    """Inverse of ``encode_commit``; ValueError for bytes that are no commit."""
    try:
        return _decode_commit(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, MemoryError, RecursionError) as error:
        raise ValueError(f"not a commit: {error}") from None


def encode_header(header: Header) -> bytes:
    data = _HEADER.pack(MAGIC, FORMAT_VERSION, *header, 0)
    return data[:-4] + crc32c(data[:-4]).to_bytes(4, "little")


def is_unfinished(data: Buffer, database_id: bytes, number: int) -> bool:
    """Whether the first bytes may be what a crash left of this header: each written, or still zero.

    Of the fields that only the file before knows anything is possible.
    """
    known = _HEADER.pack(MAGIC, FORMAT_VERSION, database_id, number, 0, 0, 0)[:_KNOWN]
    return all(byte in (0, meant) for byte, meant in zip(bytes(data[:_KNOWN]), known, strict=False))


def decode_header(data: Buffer) -> Header:
    """ValueError where the first bytes of a file are no sound WAL header."""
    if len(data) < HEADER_SIZE:
        raise ValueError("WAL header is cut short")
    magic, version, database_id, number, previous, proven, crc = _HEADER.unpack_from(data)
    if crc32c(bytes(data[: HEADER_SIZE - 4])) != crc:
        raise ValueError("WAL header checksum does not match")
    if magic != MAGIC or version != FORMAT_VERSION:
        raise ValueError(f"WAL header has magic {magic!r}, version {version}")
    return Header(database_id, number, previous, proven)
