"""Which kind of file of a database this is, so that a dump of the wrong kind is refused."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Final

from crc32c import crc32c

from kvengine.errors import CorruptionError, KVEngineError
from kvengine.fs.base import FileSystem
from kvengine.fs.disk import DiskFileSystem
from kvengine.inspection import escape
from kvengine.storage import filenames
from kvengine.storage.manifest import format as manifest
from kvengine.storage.manifest.file import read_current
from kvengine.storage.segment import format as segment
from kvengine.storage.wal import format as wal

SEGMENT: Final = "segment"
WAL: Final = "wal"
MANIFEST: Final = "manifest"
CURRENT: Final = "CURRENT"

COMMANDS: Final = {SEGMENT: SEGMENT, WAL: WAL, MANIFEST: MANIFEST, CURRENT: MANIFEST}
"""The dump that shows each kind."""

_MAGICS = {segment.MAGIC: SEGMENT, wal.MAGIC: WAL, manifest.MAGIC: MANIFEST}
_HEADER_SIZES = {
    segment.MAGIC: segment.HEADER_SIZE,
    wal.MAGIC: wal.HEADER_SIZE,
    manifest.MAGIC: manifest.HEADER_SIZE,
}
_POINTER = re.compile(rb"\d{6,18}\.manifest [0-9a-f]{8}\n")


class WrongKind(KVEngineError):
    """The file is of another kind than the dump that was asked for."""


def kind_of(path: str, fs: FileSystem | None = None) -> str | None:
    """SEGMENT, WAL, MANIFEST or CURRENT; None where nothing tells. OSError where it cannot be read.

    By the first bytes; where those are damaged, by the last ones of a segment, then by
    the file's name.
    """
    seam = fs if fs is not None else DiskFileSystem()
    file = seam.open(path)
    try:
        size = file.size()
        header = file.pread(8, 0)
        tail = file.pread(8, max(0, size - 8))
        line = file.pread(64, 0) if size < 64 else b""
    finally:
        file.close()
    if header in _MAGICS:
        return _MAGICS[header]
    if _POINTER.fullmatch(line):
        return CURRENT
    if tail == segment.MAGIC:
        return SEGMENT
    name = path.rpartition("/")[2]
    parsed = filenames.parse(name)
    if parsed is not None:
        return parsed.kind
    return CURRENT if name == filenames.CURRENT else None


def check_format(path: str, fs: FileSystem | None = None) -> None:
    """Raise UnsupportedFormat for a file with a sound header of another format than ours.

    OSError where it cannot be read.
    """
    file = (fs if fs is not None else DiskFileSystem()).open(path)
    try:
        header = file.pread(max(_HEADER_SIZES.values()), 0)
    finally:
        file.close()
    size = _HEADER_SIZES.get(header[:8], 0)
    if not size or len(header) < size:
        return
    crc = int.from_bytes(header[size - 4 : size], "little")
    if crc32c(header[: size - 4]) == crc:
        manifest.check_version(int.from_bytes(header[8:12], "little"))


def check_database(directory: str, fs: FileSystem | None = None) -> None:
    """Raise UnsupportedFormat for a database of another format than ours; damage is not told."""
    seam = fs if fs is not None else DiskFileSystem()
    with suppress(CorruptionError, OSError):
        number = read_current(seam, directory)
        check_format(filenames.join(directory, filenames.manifest(number)), seam)


def expect(path: str, command: str, fs: FileSystem | None = None) -> None:
    """WrongKind, which names the right command, if ``dump COMMAND`` cannot show the file.

    UnsupportedFormat for one of another format. A file of no known kind passes: it may be so
    damaged that only its owner knows it.
    """
    seam = fs if fs is not None else DiskFileSystem()
    shown = escape.text(path)
    if seam.isdir(path):
        raise WrongKind(
            f"{shown} is a directory: name a file in it, or check all of it with"
            f" kvengine verify {shown}"
        )
    kind = kind_of(path, seam)
    if kind is not None and COMMANDS[kind] != command:
        article = {SEGMENT: "a segment", WAL: "a WAL", MANIFEST: "a manifest"}.get(kind, kind)
        raise WrongKind(
            f"{shown} is {article}, not a {command.replace('wal', 'WAL')}:"
            f" use kvengine dump {COMMANDS[kind]} {shown}"
        )
    check_format(path, seam)
    if kind == CURRENT:
        check_database(path.rpartition("/")[0] or ".", seam)
