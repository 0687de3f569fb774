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
    | 52     | 8    | epoch       | of the owner that began it; 0: not known            |
    | 60     | 4    | crc         | CRC-32C of the 60 bytes before                      |

The payload of a record is MessagePack of a `Commit`: what the commit resolved to, with absolute
times; replay decides nothing and reads no clock. Its rows are those that the memtable keeps and
that segments hold (packed.py).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from crc32c import crc32c

from kvengine.storage import row as rows
from kvengine.storage.checksum import Buffer

FORMAT_VERSION = 2
MAGIC = b"KVEWAL\r\n"
_HEADER = struct.Struct("<8sI16sQQQQI")
HEADER_SIZE = _HEADER.size
_NUMBERS_END = 1 << 63
MAX_TOKEN = 32
"""Bytes that the token of a commit has at most."""

_LARGE = 64 * 1024
"""Bytes of rows past which a payload is put together without the encoder."""
_KNOWN = 36  # magic, version, database_id, number
EPOCH_AT = 52
"""Where the epoch stands in a header."""

assert HEADER_SIZE == 64


class Header(NamedTuple):
    """Which WAL file this is, what it proves of the one before, and which owner began it."""

    database_id: bytes
    number: int
    previous: int
    proven: int
    epoch: int = 0


class Commit(NamedTuple):
    """One commit: (service, key, row) for each object, and range tombstones [start, stop).

    ``now``: the engine's time at the commit if the stamp is ahead of it, else 0. ``token``: the
    name that a client gave it, by which it can ask whether it was made; such a commit also states
    the ``epoch`` of its owner.
    """

    stamp: int
    rows: list[tuple[str, str, bytes]]
    tombstones: list[tuple[bytes, bytes]]
    now: int = 0
    epoch: int = 0
    token: bytes = b""


class _Payload(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A `Commit` as it is written. Without a token the last two fields are left out."""

    stamp: int
    rows: list[tuple[str, str, msgspec.Raw]]
    tombstones: list[tuple[bytes, bytes]] = []
    now: int = 0
    epoch: int = 0
    token: bytes = b""


_encode = msgspec.msgpack.Encoder().encode
_decode_payload = msgspec.msgpack.Decoder(_Payload).decode
_Raw = msgspec.Raw


def encode_commit(
    stamp: int,
    objects: Sequence[tuple[tuple[str, str], bytes]],
    tombstones: Sequence[tuple[bytes, bytes]],
    now: int,
    epoch: int = 0,
    token: bytes = b"",
) -> bytes:
    """Return the payload of a commit of ((service, key), encoded row) pairs."""
    return b"".join(commit_pieces(stamp, objects, tombstones, now, epoch, token))


def commit_pieces(
    stamp: int,
    objects: Sequence[tuple[tuple[str, str], bytes]],
    tombstones: Sequence[tuple[bytes, bytes]],
    now: int,
    epoch: int = 0,
    token: bytes = b"",
) -> list[bytes]:
    """Return the payload in pieces, each of them small or one of the rows.

    ``epoch`` is written only beside a ``token``. The encoder, which makes the payload in one
    piece, would copy large rows twice.
    """
    behind = (now, epoch, token) if token else (now,)
    if sum([len(row) for _, row in objects]) <= _LARGE:
        parts = []
        for (service, key), row in objects:
            parts.append((service, key, _Raw(row)))
        return [_encode((stamp, parts, tombstones, *behind))]
    count = len(objects)
    size = bytes((0x90 | count,)) if count < 16 else b"\xdd" + count.to_bytes(4, "big")
    if 16 <= count < 65536:
        size = b"\xdc" + count.to_bytes(2, "big")
    pieces = [bytes((0x93 + len(behind),)), _encode(stamp), size]
    for (service, key), row in objects:
        pieces += (b"\x93", _encode(service), _encode(key), row)
    pieces += (_encode(tombstones), *map(_encode, behind))
    return pieces


def decode_commit(payload: Buffer) -> Commit:
    """Return the commit that a payload holds; ValueError if it holds none.

    A commit is valid if and only if (1) its fields have the right types, and its stamp, time, epoch
    and the length of its token are in range, (2) each row is valid (`row.check`: from here on it is
    searched as bytes), has the stamp of the commit as its version, and is not the head of a large
    row, (3) it names each object once, (4) each range tombstone covers something.
    """
    try:
        found = _decode_payload(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, MemoryError, RecursionError) as error:
        raise ValueError(f"not a commit: {error}") from None
    if not (0 <= found.stamp < _NUMBERS_END and 0 <= found.now < _NUMBERS_END):
        raise ValueError("not a commit: its stamp or its time is out of range")
    if not 0 <= found.epoch < _NUMBERS_END or len(found.token) > MAX_TOKEN:
        raise ValueError("not a commit: its epoch is out of range, or its token too long")
    objects = [(service, key, bytes(row)) for service, key, row in found.rows]
    for _, _, data in objects:
        row = rows.check(data)
        if row.version != found.stamp:
            raise ValueError("not a commit: the version of a row is not the commit's stamp")
        if row.chunks is not None:
            raise ValueError("not a commit: a row names chunks")
    if len(objects) > 1 and len({name[:2] for name in objects}) < len(objects):
        raise ValueError("not a commit: it names an object twice")
    if any(start >= stop for start, stop in found.tombstones):
        raise ValueError("not a commit: a range tombstone covers nothing")
    return Commit(found.stamp, objects, found.tombstones, found.now, found.epoch, found.token)


def encode_header(header: Header) -> bytes:
    data = _HEADER.pack(MAGIC, FORMAT_VERSION, *header, 0)
    return data[:-4] + crc32c(data[:-4]).to_bytes(4, "little")


def is_unfinished(data: Buffer, database_id: bytes, number: int) -> bool:
    """Return whether the first bytes may be a part of this header that a crash has left.

    Each byte must be as written, or still zero. The fields that depend on the file before may be
    anything.
    """
    known = _HEADER.pack(MAGIC, FORMAT_VERSION, database_id, number, 0, 0, 0, 0)[:_KNOWN]
    return all(byte in (0, meant) for byte, meant in zip(bytes(data[:_KNOWN]), known, strict=False))


def decode_header(data: Buffer) -> Header:
    """Return the header of a WAL file; ValueError if its first bytes are no sound one."""
    if len(data) < HEADER_SIZE:
        raise ValueError("WAL header is cut short")
    magic, version, *fields, crc = _HEADER.unpack_from(data)
    if crc32c(bytes(data[: HEADER_SIZE - 4])) != crc:
        raise ValueError("WAL header checksum does not match")
    if magic != MAGIC or version != FORMAT_VERSION:
        raise ValueError(f"WAL header has magic {magic!r}, version {version}")
    return Header(*fields)
