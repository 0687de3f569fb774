"""A backup directory: which files it has, and the record of a generation. Bytes to values, no I/O.

    BACKUP                          held while a backup is made; who makes it
    000007.generation               the record of generation 7: what it consists of
    000007-000123.wal               files of generation 7 alone: WALs, the manifest, CURRENT
    000007-000124.manifest
    000007-CURRENT
    3f0c9a1b2c3d4e5f-81920.segment  a segment, by identity and size: of any number of generations
    NAME.tmp                        a file being made: one of the above once it is whole

A record is JSON, in one object:

    {"xxh3_128": "...", "body": {"format": 1, "generation": 7, "database_id": "...",
     "stamp": 1764000000000000, "time": 1764000000.5,
     "files": [{"name": "000122.segment", "stored": "3f0c9a1b2c3d4e5f-81920.segment",
                "size": 81920, "xxh3_128": "..."}]}}

``xxh3_128`` is of the bytes of ``body`` as they stand; that of a file is of all its bytes.
``name`` is the file's name in the database, ``stored`` here. Valid: (1) the checksum holds,
(2) the format is known, (3) the number is that of the file's name, (4) names are those that a
database gives its files, each once, one manifest and CURRENT among them, (5) stored names are
those above, of this generation or of segments, so that no record leads out of the directory,
(6) CURRENT is as short as it is.
"""

from __future__ import annotations

import re

import msgspec
from xxhash import xxh3_128_hexdigest

from kvengine.errors import UnsupportedFormat
from kvengine.storage import filenames

FORMAT_VERSION = 1
LOCK = "BACKUP"
MAX_RECORD = 256 * 1024 * 1024
"""Bytes: a larger record is none, and not read."""

_RECORD = re.compile(r"(\d{6,18})\.generation", re.ASCII)
_OWN = re.compile(r"(\d{6,18})-(CURRENT|\d{6,18}\.(?:wal|manifest))", re.ASCII)
_SEGMENT = re.compile(r"[0-9a-f]{16}-\d{1,18}\.segment", re.ASCII)
_SUM = re.compile(r"[0-9a-f]{32}", re.ASCII)
_ID = _SUM
_TEMPORARY = ".tmp"
_MOST = 2**63
_LONGEST_CURRENT = 4096


class StoredFile(msgspec.Struct, frozen=True, gc=False):
    """A file of a generation: its name in the database, and here; bytes; checksum."""

    name: str
    stored: str
    size: int
    xxh3_128: str


class Record(msgspec.Struct, frozen=True):
    """A generation: the database as of its last commit, ``stamp``; ``time`` of the backup."""

    format: int
    generation: int
    database_id: str
    stamp: int
    time: float
    files: list[StoredFile]


class _Sealed(msgspec.Struct):
    xxh3_128: str
    body: msgspec.Raw


class _Version(msgspec.Struct):
    format: int


_decode = msgspec.json.Decoder(_Sealed).decode
_decode_version = msgspec.json.Decoder(_Version).decode
_decode_body = msgspec.json.Decoder(Record).decode
_BAD = (msgspec.MsgspecError, UnicodeError, RecursionError)


def encode(record: Record) -> bytes:
    body = msgspec.json.encode(record)
    return msgspec.json.encode(_Sealed(xxh3_128_hexdigest(body), msgspec.Raw(body))) + b"\n"


def decode(data: bytes, generation: int) -> Record:
    """ValueError for bytes that are no valid record of this generation."""
    try:
        sealed = _decode(data)
        if xxh3_128_hexdigest(bytes(sealed.body)) != sealed.xxh3_128:
            raise ValueError("the record does not match its checksum")
        if _decode_version(sealed.body).format != FORMAT_VERSION:
            raise UnsupportedFormat(
                "the backup was made by a newer kvengine: restore it with that release"
            )
        record = _decode_body(sealed.body)
    except _BAD as error:
        raise ValueError(f"not a record: {error}") from None
    _check(record, generation)
    return record


def _check(record: Record, generation: int) -> None:
    """Rules 3 to 6."""
    if record.generation != generation:
        raise ValueError(f"this is the record of generation {record.generation}")
    if not _ID.fullmatch(record.database_id):
        raise ValueError(f"{record.database_id!r} is no identity of a database")
    seen: set[str] = set()
    kinds: list[str] = []
    for file in record.files:
        parsed = filenames.parse(file.name)
        kind = parsed.kind if parsed is not None else file.name
        if kind not in {"wal", "segment", "manifest", filenames.CURRENT}:
            raise ValueError(f"{file.name!r} is no file of a database")
        if kind == "segment":
            sound = is_segment(file.stored) and file.stored.endswith(f"-{file.size}.segment")
        else:
            sound = file.stored == own(generation, file.name)
            sound = sound and (kind != filenames.CURRENT or file.size <= _LONGEST_CURRENT)
        if not sound or not _SUM.fullmatch(file.xxh3_128) or not 0 <= file.size < _MOST:
            raise ValueError(f"what it says of {file.name!r} is not valid")
        seen.update((file.name, file.stored))
        kinds.append(kind)
    if len(seen) != 2 * len(record.files):
        raise ValueError("it names a file twice")
    if kinds.count("manifest") != 1 or filenames.CURRENT not in kinds:
        raise ValueError("it lacks the manifest, or CURRENT")


def record_name(generation: int) -> str:
    return f"{generation:06}.generation"


def own(generation: int, name: str) -> str:
    """The name here of a file that is of one generation alone."""
    return f"{generation:06}-{name}"


def segment(file_id: int, size: int) -> str:
    """The name here of a segment."""
    return f"{file_id:016x}-{size}.segment"


def record_number(name: str) -> int | None:
    """The generation whose record bears this name; None for any other name."""
    found = _RECORD.fullmatch(name)
    return int(found[1]) if found else None


def generation_of(name: str) -> int | None:
    """The generation that a file is of, its record too; None for segments and strangers."""
    found = _RECORD.fullmatch(name) or _OWN.fullmatch(name)
    return int(found[1]) if found else None


def temporary(name: str) -> str:
    """What a file is called while it is made."""
    return f"{name}{_TEMPORARY}"


def is_temporary(name: str) -> bool:
    made = name.removesuffix(_TEMPORARY)
    return made != name and (is_segment(made) or generation_of(made) is not None)


def is_segment(name: str) -> bool:
    return _SEGMENT.fullmatch(name) is not None
