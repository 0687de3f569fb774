"""The record of a commit, as it is appended to the log: header and payload, made together.

encode.pyx makes that of a small commit in one allocation. record.py and format.py have the layouts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kvengine.storage.record import header_of
from kvengine.storage.state import Change
from kvengine.storage.wal.format import encode_commit

LARGE: Final = 64 * 1024
"""A payload of more bytes than this is a piece of its own, so that it is not copied."""


def encode_record(
    stamp: int,
    changes: Sequence[Change],
    tombstones: Sequence[tuple[bytes, bytes]],
    now: int,
    salt: int,
    mark: int,
    synced: int,
) -> tuple[bytes, ...]:
    """Return the record of a commit in one piece, or in two if it is large: header and payload.

    The other arguments are those of `encode_commit`, and those of `header_of`.
    """
    objects = [(change.name, change.row) for change in changes]
    payload = encode_commit(stamp, objects, tombstones, now)
    header = header_of(payload, salt, mark, synced)
    return (header, payload) if len(payload) > LARGE else (header + payload,)
