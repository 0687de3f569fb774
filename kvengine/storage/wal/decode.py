"""The commits of a log, read back and handed on one by one.

decode.pyx is the same in C. It decodes what commits look like as they are written, and leaves any
other bytes to format.py, so that both forms accept the same and refuse the rest in the same words.
"""

from __future__ import annotations

from collections.abc import Callable

from kvengine.errors import CorruptionError
from kvengine.storage import record
from kvengine.storage.wal.format import Commit, decode_commit


def take_commits(
    data: bytes,
    path: str,
    start: int,
    salt: int,
    take: Callable[[Commit], object],
    note: Callable[[bytes, int], object] | None = None,
) -> tuple[Commit | None, Commit | None, int, int]:
    """Give each commit to ``take``, up to the first bytes that are no valid record.

    ``note`` gets the token and the stamp of each that has a token: few have one, and all others
    are spared a call. Return the first and the last commit, None if there is none, where the last
    one ends, and the offset up to which all of them prove the file to be synced. Raise
    CorruptionError if a valid record holds no commit, or one that is older than the commit before
    it.
    """
    first = last = None
    end, proven = start, 0
    for logged in record.records(data, start, salt):
        try:
            commit = decode_commit(logged.payload)
        except ValueError as error:
            raise CorruptionError(path, logged.offset, str(error)) from None
        if commit.stamp <= (last.stamp if last is not None else 0):
            raise CorruptionError(path, logged.offset, "commit is older than the one before it")
        take(commit)
        if commit.token and note is not None:
            note(commit.token, commit.stamp)
        first, last = first or commit, commit
        end, proven = logged.end, max(proven, logged.synced)
    return first, last, end, proven
