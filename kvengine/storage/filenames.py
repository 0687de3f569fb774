"""Names of the files in a database directory. Numbers come from one counter.

CURRENT            the name of the manifest in force
LOCK               locked by the owner; contains its pid
LIVE               the owner's socket (kvengine/share); nothing of the database
000007.wal         a WAL file
000008.segment     a segment
000009.manifest    a manifest
000010-12345.tmp   a file being made, by process 12345; never part of the database
"""

from __future__ import annotations

import re
from typing import NamedTuple

CURRENT = "CURRENT"
LOCK = "LOCK"
LIVE = "LIVE"

_NUMBERED = re.compile(r"(\d{6,18})\.(wal|segment|manifest)", re.ASCII)
_TEMPORARY = re.compile(r"\d{6,18}-\d+(-\d+)?\.tmp", re.ASCII)


class Numbered(NamedTuple):
    """A file name taken apart: kind is wal, segment or manifest."""

    number: int
    kind: str


def wal(number: int) -> str:
    return f"{number:06}.wal"


def segment(number: int) -> str:
    return f"{number:06}.segment"


def manifest(number: int) -> str:
    return f"{number:06}.manifest"


def temporary(number: int, pid: int, part: int = 0) -> str:
    """Return a name for a file being made: unique to a process, swept at the next open."""
    return f"{number:06}-{pid}-{part}.tmp"


def parse(name: str) -> Numbered | None:
    """Return a file name taken apart, None if it is no numbered file of a database."""
    found = _NUMBERED.fullmatch(name)
    return Numbered(int(found[1]), found[2]) if found else None


def is_ours(name: str) -> bool:
    """Return whether a database may have made a file of this name, so that an open may sweep it.

    No database ever has 10**12 files: a higher number is somebody else's, and must
    not raise the counter.
    """
    found = parse(name)
    return is_temporary(name) or (found is not None and found.number < 10**12)


def is_temporary(name: str) -> bool:
    return _TEMPORARY.fullmatch(name) is not None


def join(directory: str, name: str) -> str:
    return f"{directory}/{name}"
