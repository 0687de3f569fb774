"""Records of an append-only log file: the framing that WAL and manifest share.

Layout of a record, little endian (sizes in bytes):

    | offset | size | field  |                                                          |
    |--------|------|--------|----------------------------------------------------------|
    | 0      | 4    | marker | the same in every record of a file; derived from its salt |
    | 4      | 4    | crc    | CRC-32C of length, synced and payload, seeded by the salt |
    | 8      | 4    | length | of the payload                                           |
    | 12     | 8    | synced | offset below which the file was known to be synced        |
    | 20     | n    | payload|                                                          |

A record at offset p of a log is valid if and only if
1. its marker is that of the file,
2. it ends within the file,
3. its CRC matches,
4. its synced is at most p.

Bytes that are no valid record end the log. They are a *torn tail*, which a
power cut leaves, unless something proves that the log was synced beyond them:
a later valid record that says so, the next file's header, or the manifest.
Then they are damage. SQLite's WAL salts its frames for the same reason.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from crc32c import crc32c

from kvengine.storage.checksum import Buffer

_HEADER = struct.Struct("<IIIQ")
_CHECKED = struct.Struct("<II")
_COVERED = struct.Struct("<IQ")
HEADER_SIZE = _HEADER.size

assert HEADER_SIZE == _CHECKED.size + _COVERED.size == 20


class Record(NamedTuple):
    """A valid record: where it lies, what it proves to be synced, and its payload."""

    offset: int
    end: int
    synced: int
    payload: memoryview


def marker(salt: int) -> int:
    """Return the marker of all records under ``salt``. It is never zero, as unwritten space is."""
    return crc32c(b"record", salt) or 1


def header_of(pieces: Sequence[bytes], salt: int, mark: int, synced: int) -> bytes:
    """Return the header of a record whose payload is these pieces, one behind the other.

    ``mark`` is ``marker(salt)``, computed once by the caller.
    """
    length = sum(map(len, pieces))
    crc = crc32c(_COVERED.pack(length, synced), salt)
    for piece in pieces:
        crc = crc32c(piece, crc)
    return _HEADER.pack(mark, crc, length, synced)


def encode(payload: bytes, salt: int, mark: int, synced: int) -> bytes:
    """Return one record."""
    return header_of((payload,), salt, mark, synced) + payload


def decode_at(
    data: memoryview, offset: int, salt: int, mark: int, *, shifted: bool = False
) -> Record | None:
    """Return the valid record at ``offset``, or None.

    ``shifted``: bytes before it may be missing, so rule 4 is not checked.
    """
    start = offset + HEADER_SIZE
    if start > len(data):
        return None
    found, crc, length, synced = _HEADER.unpack_from(data, offset)
    end = start + length
    if found != mark or end > len(data) or (synced > offset and not shifted):
        return None
    if crc32c(data[offset + _CHECKED.size : end], salt) != crc:
        return None
    return Record(offset, end, synced, data[start:end])


def records(data: Buffer, start: int, salt: int) -> Iterator[Record]:
    """Yield the valid records from ``start`` on, up to the first bytes that are none."""
    view, mark = memoryview(data), marker(salt)
    while (record := decode_at(view, start, salt, mark)) is not None:
        yield record
        start = record.end


def proven_beyond(data: Buffer, offset: int, salt: int) -> int:
    """Return the largest ``synced`` of any record from ``offset`` on, 0 if there is none.

    Called where a log ends in bytes that are no valid record, to tell damage from a
    torn tail. A record right there that breaks only rule 4 was moved towards the start
    of the file: synced bytes are missing before it.
    """
    mark = marker(salt)
    needle, view, raw = mark.to_bytes(4, "little"), memoryview(data), bytes(data)
    best = 0
    at = raw.find(needle, offset)
    while at != -1:
        record = decode_at(view, at, salt, mark, shifted=True)
        if record is not None:
            best = max(best, record.synced)
        at = raw.find(needle, at + 1 if record is None else record.end)
    return best


def is_blank(data: Buffer, offset: int) -> bool:
    """Return whether everything from ``offset`` on is unwritten space (zeros)."""
    tail = memoryview(data)[offset:]
    return not any(tail[i : i + 65536].tobytes().strip(b"\0") for i in range(0, len(tail), 65536))
