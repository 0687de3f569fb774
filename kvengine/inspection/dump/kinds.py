"""Which kind of file of a database this is, so that a dump of the wrong kind is refused."""

from __future__ import annotations

import re
from typing import Final

from kvengine.errors import KVEngineError
from kvengine.fs.base import FileSystem
from kvengine.fs.disk import DiskFileSystem
from kvengine.inspection import escape
from kvengine.storage import filenames
from kvengine.storage.manifest import format as manifest
from kvengine.storage.segment import format as segment
from kvengine.storage.wal import format as wal

SEGMENT: Final = "segment"
WAL: Final = "wal"
MANIFEST: Final = "manifest"
CURRENT: Final = "CURRENT"

COMMANDS: Final = {SEGMENT: SEGMENT, WAL: WAL, MANIFEST: MANIFEST, CURRENT: MANIFEST}
"""The dump that shows each kind."""

_MAGICS = {segment.MAGIC: SEGMENT, wal.MAGIC: WAL, manifest.MAGIC: MANIFEST}
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
        head = file.pread(8, 0)
        tail = file.pread(8, max(0, size - 8))
        line = file.pread(64, 0) if size < 64 else b""
    finally:
        file.close()
    if head in _MAGICS:
        return _MAGICS[head]
    if _POINTER.fullmatch(line):
        return CURRENT
    if tail == segment.MAGIC:
        return SEGMENT
    name = path.rpartition("/")[2]
    parsed = filenames.parse(name)
    if parsed is not None:
        return parsed.kind
    return CURRENT if name == filenames.CURRENT else None


def expect(path: str, command: str, fs: FileSystem | None = None) -> None:
    """WrongKind, which names the right command, if ``dump COMMAND`` cannot show the file.

    A file of no known kind passes: it may be so damaged that only its owner knows it.
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
