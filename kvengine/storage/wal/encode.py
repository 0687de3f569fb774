"""The record of a commit, as it is appended to the log: header and payload, made together.

encode.pyx makes it in one allocation. record.py and format.py have the layouts.
"""

from __future__ import annotations

from collections.abc import Sequence

from kvengine.storage.record import header_of
from kvengine.storage.state import Change
from kvengine.storage.wal.format import commit_pieces


def encode_record(
    stamp: int,
    changes: Sequence[Change],
    tombstones: Sequence[tuple[bytes, bytes]],
    now: int,
    salt: int,
    mark: int,
    synced: int,
    epoch: int = 0,
    token: bytes = b"",
) -> bytes:
    """Return the record of a commit. The arguments are those of `commit_pieces` and `header_of`."""
    objects = [(change.name, change.row) for change in changes]
    pieces = commit_pieces(stamp, objects, tombstones, now, epoch, token)
    return b"".join((header_of(pieces, salt, mark, synced), *pieces))
