"""The fixed parts of a segment file: header, index, properties, tombstones, footer.

A segment, in order of its bytes::

    header | blocks of rows and chunks | filter | tombstones | index | properties | footer

Header, 32 bytes, little endian:

    | offset | size | field   |                                        |
    |--------|------|---------|----------------------------------------|
    | 0      | 8    | magic   | b"KVESEG\\r\\n"                         |
    | 8      | 4    | version | FORMAT_VERSION                         |
    | 12     | 8    | file_id | random; binds every block to this file |
    | 20     | 8    | (zero)  |                                        |
    | 28     | 4    | crc     | CRC-32C of the 28 bytes before         |

Footer, 72 bytes, at the end of the file: four handles (offset u64, length
u32), of the filter, tombstones, index and properties blocks, then file_id
u64, version u32, crc u32 of the 60 bytes before, magic. The other parts are
sealed blocks (checksum.py): tombstones and properties of MessagePack, the index slotted.
index.py has the index.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

import msgspec
from crc32c import crc32c

from kvengine.storage.checksum import Buffer
from kvengine.storage.range_tombstones import Tombstones
from kvengine.storage.segment.index import Index, decode_index, encode_index

# What others import from here, wherever it is defined.
__all__ = [
    "FOOTER_SIZE",
    "FORMAT_VERSION",
    "HEADER_SIZE",
    "MAGIC",
    "Footer",
    "Handle",
    "Index",
    "Properties",
    "decode_footer",
    "decode_header",
    "decode_index",
    "decode_properties",
    "decode_tombstones",
    "encode_footer",
    "encode_header",
    "encode_index",
    "encode_properties",
    "encode_tombstones",
]

FORMAT_VERSION = 2
MAGIC = b"KVESEG\r\n"
_HEADER = struct.Struct("<8sIQ8xI")
_FOOTER = struct.Struct("<QIQIQIQIQII8s")
HEADER_SIZE = _HEADER.size
FOOTER_SIZE = _FOOTER.size

assert HEADER_SIZE == 32 and FOOTER_SIZE == 72


class Handle(NamedTuple):
    """Where a sealed block lies: byte offset and length, trailer included."""

    offset: int
    length: int


class Footer(NamedTuple):
    """Where the parts of a segment lie."""

    filter: Handle
    tombstones: Handle
    block_index: Handle
    properties: Handle
    file_id: int


class Properties(msgspec.Struct, frozen=True, array_like=True, gc=False, kw_only=True):
    """What a segment holds, known without reading it. Also part of the manifest.

    ``start``, ``stop``: all its rows and tombstones lie in ``[start, stop)``.
    ``data_bytes``: encoded rows and their names. ``tombstones``: cleared entries
    and cleared rows. ``range_tombstones``: fragments. ``tombstone_time``: when
    the oldest of either was written, None if there are none. ``expiring``:
    rows with an expiry. ``first_expiry``: when the first entry or row expires.
    ``half_expiry``: when half of the bytes will have expired. ``last_expiry``: when
    the last of the rows expires. None: never. ``extends``: rows that extend an
    expiry. ``barriers``: rows with a barrier (filter.py).
    """

    start: bytes
    stop: bytes
    rows: int
    entries: int
    data_bytes: int
    tombstones: int
    range_tombstones: int
    tombstone_time: int | None
    expiring: int
    first_expiry: int | None
    half_expiry: int | None
    last_expiry: int | None
    extends: int
    first_stamp: int
    last_stamp: int
    barriers: int


encode_properties: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode
encode_tombstones: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode
_decode_properties = msgspec.msgpack.Decoder(Properties).decode
_decode_tombstones = msgspec.msgpack.Decoder(tuple[tuple[bytes, bytes, int], ...]).decode

_BAD = (msgspec.MsgspecError, UnicodeDecodeError, MemoryError, RecursionError)


def encode_header(file_id: int) -> bytes:
    data = _HEADER.pack(MAGIC, FORMAT_VERSION, file_id, 0)
    return data[:-4] + crc32c(data[:-4]).to_bytes(4, "little")


def decode_header(data: Buffer) -> int:
    """Return the file's identity; ValueError if the bytes are no sound segment header."""
    if len(data) < HEADER_SIZE:
        raise ValueError("segment header is cut short")
    magic, version, file_id, crc = _HEADER.unpack_from(data)
    if crc32c(bytes(data[: HEADER_SIZE - 4])) != crc:
        raise ValueError("segment header checksum does not match")
    if magic != MAGIC or version != FORMAT_VERSION:
        raise ValueError(f"segment header has magic {magic!r}, version {version}")
    return int(file_id)


def encode_footer(footer: Footer) -> bytes:
    handles = (footer.filter, footer.tombstones, footer.block_index, footer.properties)
    parts = (part for handle in handles for part in handle)
    data = _FOOTER.pack(*parts, footer.file_id, FORMAT_VERSION, 0, MAGIC)
    crc = crc32c(data[: FOOTER_SIZE - 12])
    return _FOOTER.pack(*_FOOTER.unpack(data)[:10], crc, MAGIC)


def decode_footer(data: Buffer, file_size: int) -> Footer:
    """Return the footer of a file; ValueError if its last bytes are no sound one.

    It is valid if (1) magic and version are known, (2) the CRC matches, (3) every
    handle lies between header and footer.
    """
    if len(data) != FOOTER_SIZE or file_size < HEADER_SIZE + FOOTER_SIZE:
        raise ValueError("segment is cut short")
    *parts, file_id, version, crc, magic = _FOOTER.unpack(data)
    if crc32c(bytes(data[: FOOTER_SIZE - 12])) != crc:
        raise ValueError("segment footer checksum does not match")
    if magic != MAGIC or version != FORMAT_VERSION:
        raise ValueError(f"segment footer has magic {magic!r}, version {version}")
    handles = [Handle(parts[i], parts[i + 1]) for i in range(0, 8, 2)]
    for handle in handles:
        if not HEADER_SIZE <= handle.offset <= file_size - FOOTER_SIZE - handle.length:
            raise ValueError("segment footer points outside its file")
    return Footer(handles[0], handles[1], handles[2], handles[3], file_id)


def decode_properties(body: Buffer) -> Properties:
    """Return the properties that these bytes are; ValueError if they are none."""
    try:
        return _decode_properties(body)
    except _BAD as error:
        raise ValueError(f"not properties: {error}") from None


def decode_tombstones(body: Buffer) -> Tombstones:
    """Return range tombstones; ValueError if the bytes are none, or not disjoint and in order."""
    try:
        found: Tombstones = _decode_tombstones(body)
    except _BAD as error:
        raise ValueError(f"not tombstones: {error}") from None
    edge = b""
    for start, stop, _ in found:
        if not edge <= start < stop:
            raise ValueError("tombstones overlap or are out of order")
        edge = stop
    return found
