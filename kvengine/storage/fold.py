"""Rows of one object folded into one, as bytes.

Beside this stands a compiled twin. Each eighth commit to an object folds its rows, and to decode
them costs more than all else that these commits do in memory.
"""

from __future__ import annotations

from collections.abc import Sequence

from kvengine.storage.row import decode, encode, overlay_all


def fold(rows: Sequence[bytes]) -> bytes:
    """Return the overlay of encoded rows, newest first, in the encoding."""
    if len(rows) == 1:
        return rows[0]
    return encode(overlay_all([decode(data) for data in rows]))
