"""Blocks of rows and of chunks: encoded and decoded at C speed, a block or a row at a time.

A block of rows, before its trailer (checksum.py):

    | field     |                                                              |
    |-----------|--------------------------------------------------------------|
    | rows      | MessagePack array32 of rows: DD, count u32 BE, then the rows  |
    | directory | MessagePack of `Directory`                                   |
    | size      | u32 LE: bytes of the directory                               |

The whole array decodes in one call (scans, compactions); the directory finds
one row by binary search, which then decodes alone (a cold get).
A chunk of a large row is MessagePack of `ChunkEntries`.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Sequence

import msgspec

from kvengine.storage.row import Row

_SIZE = struct.Struct("<I")
_ARRAY = struct.Struct(">BI")
_ARRAY32 = 0xDD

# Kinds of block, frozen: the numbers are on disk.
ROWS = 1
CHUNK = 2
FILTER = 3
TOMBSTONES = 4
INDEX = 5
PROPERTIES = 6

# Codecs, frozen. Compression gets numbers of its own when it comes.
PLAIN = 0


class Directory(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Encoded objects of a block, in order: a shared prefix and suffixes; where rows start.

    ``plain``: every row has entries, none of them a tombstone, no expiry and no
    chunks, so that an object listed here and in no newer layer exists, and is
    its row, without a further look.
    """

    prefix: bytes
    suffixes: list[bytes]
    offsets: list[int]
    plain: bool


class ChunkEntries(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A part of a large row's entries, in key order."""

    entries: dict[str, bytes | None]
    ttls: dict[str, int] | None = None


encode_row = msgspec.msgpack.Encoder().encode
encode_chunk = msgspec.msgpack.Encoder().encode
_encode_directory = msgspec.msgpack.Encoder().encode
_decode_directory = msgspec.msgpack.Decoder(Directory).decode
_decode_row = msgspec.msgpack.Decoder(Row).decode
_decode_rows = msgspec.msgpack.Decoder(list[Row]).decode
_decode_chunk = msgspec.msgpack.Decoder(ChunkEntries).decode

_BAD = (msgspec.MsgspecError, UnicodeDecodeError, struct.error, MemoryError, RecursionError)


def is_plain(row: Row) -> bool:
    """Whether the row has values and nothing else: no tombstone, expiry or chunks."""
    return (
        row.expires_at is None
        and row.ttls is None
        and row.chunks is None
        and len(row.entries) > 0
        and None not in row.entries.values()
    )


def encode_rows(names: Sequence[bytes], rows: Sequence[bytes], plain: bool) -> bytes:
    """A block body of encoded rows and the encoded objects they belong to, in order."""
    cut = _shared(names[0], names[-1])
    prefix = names[0][:cut]
    offsets, at = [], _ARRAY.size
    for row in rows:
        offsets.append(at)
        at += len(row)
    directory = _encode_directory(Directory(prefix, [name[cut:] for name in names], offsets, plain))
    return b"".join(
        (_ARRAY.pack(_ARRAY32, len(rows)), *rows, directory, _SIZE.pack(len(directory)))
    )


def _shared(one: bytes, other: bytes) -> int:
    """The length of the common prefix."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def decode_directory(body: memoryview) -> tuple[Directory, int]:
    """The directory and the offset at which the rows end; ValueError for bytes that are none."""
    try:
        (size,) = _SIZE.unpack_from(body, len(body) - _SIZE.size)
        end = len(body) - _SIZE.size - size
        if end < _ARRAY.size:
            raise ValueError("directory is larger than its block")
        directory = _decode_directory(body[end : len(body) - _SIZE.size])
    except _BAD as error:
        raise ValueError(f"not a block of rows: {error}") from None
    if len(directory.suffixes) != len(directory.offsets) or not directory.suffixes:
        raise ValueError("directory does not name its rows")
    return directory, end


EXISTS = Row(0, {"": b""})
"""Stands for a plain row that was not decoded."""


def decode_rows(
    body: memoryview, *, names_only: bool = False
) -> tuple[list[bytes], list[Row], bool]:
    """All of a block: encoded objects, rows, and whether they are plain.

    ``names_only``: plain rows come as `EXISTS`.
    """
    directory, end = decode_directory(body)
    if names_only and directory.plain:
        prefix = directory.prefix
        names = [prefix + suffix for suffix in directory.suffixes]
        return names, [EXISTS] * len(names), True
    try:
        rows = _decode_rows(body[:end])
    except _BAD as error:
        raise ValueError(f"not a block of rows: {error}") from None
    if len(rows) != len(directory.suffixes):
        raise ValueError("directory does not name its rows")
    prefix = directory.prefix
    return [prefix + suffix for suffix in directory.suffixes], rows, directory.plain


def find_row(body: memoryview, name: bytes) -> Row | None:
    """The row of one encoded object, decoded alone."""
    directory, end = decode_directory(body)
    prefix, suffixes, offsets = directory.prefix, directory.suffixes, directory.offsets
    if not name.startswith(prefix):
        return None
    suffix = name[len(prefix) :]
    at = bisect_left(suffixes, suffix)
    if at == len(suffixes) or suffixes[at] != suffix:
        return None
    stop = offsets[at + 1] if at + 1 < len(offsets) else end
    try:
        return _decode_row(body[offsets[at] : stop])
    except _BAD as error:
        raise ValueError(f"not a row: {error}") from None


def decode_chunk(body: memoryview) -> ChunkEntries:
    """ValueError for bytes that are no chunk."""
    try:
        return _decode_chunk(body)
    except _BAD as error:
        raise ValueError(f"not a chunk: {error}") from None
