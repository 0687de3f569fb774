"""Reading what is left of a damaged WAL file. For repair, never for the engine."""

from __future__ import annotations

from typing import NamedTuple

from kvengine.storage import record
from kvengine.storage.checksum import salt
from kvengine.storage.wal.format import HEADER_SIZE, Commit, decode_commit


class Hole(NamedTuple):
    """Bytes that are no commit. ``after``: the stamp of the commit before it, 0 for none."""

    start: int
    end: int
    after: int


class WalSalvage(NamedTuple):
    """Every whole commit, in order, and the holes. All below ``proven`` had been synced."""

    commits: list[Commit]
    holes: list[Hole]
    proven: int


def salvage(data: bytes, database_id: bytes, number: int) -> WalSalvage:
    """Return the commits in ``data``, the bytes of a WAL file, wherever they lie.

    Checksums are salted by database and file number, and stamps must grow, so
    neither another file's records nor a copy of one inside a value passes.
    """
    seed = salt(database_id, number)
    mark = record.marker(seed)
    needle, view = mark.to_bytes(4, "little"), memoryview(data)
    commits: list[Commit] = []
    holes: list[Hole] = []
    at, edge, last, proven = HEADER_SIZE, HEADER_SIZE, 0, 0
    while at != -1:
        found = record.decode_at(view, at, seed, mark, shifted=True)
        commit = _commit(found)
        if found is None or commit is None or commit.stamp <= last:
            at = data.find(needle, at + 1)
            continue
        if found.offset > edge:
            holes.append(Hole(edge, found.offset, last))
        commits.append(commit)
        at = edge = found.end
        last, proven = commit.stamp, max(proven, found.synced)
    if edge < len(data) and not record.is_blank(data, edge):
        holes.append(Hole(edge, len(data), last))
    return WalSalvage(commits, holes, proven)


def _commit(found: record.Record | None) -> Commit | None:
    if found is None:
        return None
    try:
        return decode_commit(found.payload)
    except ValueError:
        return None
