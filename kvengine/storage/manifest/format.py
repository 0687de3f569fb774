"""The manifest: a log of version edits, and CURRENT, which names the manifest.

Header, 64 bytes, little endian:

    | offset | size | field       |                                                |
    |--------|------|-------------|------------------------------------------------|
    | 0      | 8    | magic       | b"KVEMAN\\r\\n"                                 |
    | 8      | 4    | version     | FORMAT_VERSION of the database                 |
    | 12     | 16   | database_id | random, made with the database                 |
    | 28     | 8    | number      | of this file                                   |
    | 36     | 24   | (zero)      |                                                |
    | 60     | 4    | crc         | CRC-32C of the 60 bytes before                 |

Each record (record.py) is MessagePack of a `VersionEdit` and was synced before
the next was written, so only the last can be torn. The first edit of a file
states everything; no edit changes what a read returns.

CURRENT is one line of text: the manifest's file name, a space, and the CRC-32C
of that name in eight hexadecimal digits.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

import msgspec
from crc32c import crc32c

from kvengine.errors import UnsupportedFormat
from kvengine.storage.checksum import Buffer
from kvengine.storage.segment.format import Properties

FORMAT_VERSION = 2
MAGIC = b"KVEMAN\r\n"
_HEADER = struct.Struct("<8sI16sQ24xI")
HEADER_SIZE = _HEADER.size

assert HEADER_SIZE == 64


class Header(NamedTuple):
    """Whose manifest this is."""

    database_id: bytes
    number: int


class SegmentMeta(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A live segment: its file number, level, identity, size in bytes, properties."""

    number: int
    level: int
    file_id: int
    size: int
    properties: Properties

    @property
    def start(self) -> bytes:
        return self.properties.start

    @property
    def stop(self) -> bytes:
        return self.properties.stop


class Shape(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The options that are fixed when a database is created, in bytes."""

    block_size: int
    chunk_size: int


class VersionEdit(msgspec.Struct, frozen=True, array_like=True, gc=False, kw_only=True):
    """A change of which files make up the database.

    ``wal_ends``: the lengths at which the content of WAL files is known to end, synced:
    of recovered ones, and of the last one of a clean close. ``now``: the engine's time;
    ``trusted``: the last time that was not in doubt (clock.py). ``retention``: how long completed
    workflows are kept, in microseconds, of services for which it is set here. ``epoch``: the number
    of the ownership under which it was made; 0 leaves it as it is.
    """

    added: list[SegmentMeta] = []
    removed: list[int] = []
    wals_added: list[int] = []
    wals_removed: list[int] = []
    wal_ends: dict[int, int] = {}
    next_number: int = 0
    last_stamp: int = 0
    now: int = 0
    shape: Shape | None = None
    trusted: int = 0
    retention: dict[str, int] = {}
    epoch: int = 0


encode_edit: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode
_decode_edit = msgspec.msgpack.Decoder(VersionEdit).decode


def decode_edit(payload: Buffer) -> VersionEdit:
    """Return the version edit that a payload holds; ValueError if it holds none."""
    try:
        return _decode_edit(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, MemoryError, RecursionError) as error:
        raise ValueError(f"not a version edit: {error}") from None


def encode_header(header: Header) -> bytes:
    data = _HEADER.pack(MAGIC, FORMAT_VERSION, *header, 0)
    return data[:-4] + crc32c(data[:-4]).to_bytes(4, "little")


def decode_header(data: Buffer) -> Header:
    """Return a manifest's header.

    Raise ValueError if the bytes are none, UnsupportedFormat if they are of another format.
    """
    if len(data) < HEADER_SIZE:
        raise ValueError("manifest header is cut short")
    magic, version, database_id, number, crc = _HEADER.unpack_from(data)
    if crc32c(bytes(data[: HEADER_SIZE - 4])) != crc:
        raise ValueError("manifest header checksum does not match")
    if magic != MAGIC or version < 1:
        raise ValueError(f"manifest header has magic {magic!r}, version {version}")
    check_version(version)
    return Header(database_id, number)


def check_version(version: int) -> None:
    """Raise UnsupportedFormat, which says what to do, for another format than this release's."""
    if version == 1:
        raise UnsupportedFormat(
            "the database has format 1, of kvengine 0.1, which this release does not read: with"
            " kvengine 0.1.0 run 'kvengine export', and 'kvengine import' with this one"
        )
    if version > FORMAT_VERSION:
        raise UnsupportedFormat(
            f"the database has format {version}, this release reads up to {FORMAT_VERSION}:"
            " open it with a newer kvengine"
        )


def encode_current(name: str) -> bytes:
    return b"%s %08x\n" % (name.encode(), crc32c(name.encode()))


def decode_current(data: bytes) -> str:
    """Return the manifest's file name; ValueError for anything but a sound CURRENT."""
    name, _, crc = data.removesuffix(b"\n").partition(b" ")
    if not data.endswith(b"\n") or crc != b"%08x" % crc32c(name):
        raise ValueError("CURRENT does not match its checksum")
    return name.decode()
