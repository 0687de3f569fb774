"""A WAL or manifest file, read piece by piece, sound or damaged or made to do harm.

Holds one record in memory at a time. Where a log ends in bytes that are no
record, records behind them are searched for, as an open does; the bytes that
may be looked at in vain are limited in proportion to the file, so that lengths
made up by somebody cost no more than the file's own.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import NamedTuple

from crc32c import crc32c

from kvengine.errors import CorruptionError
from kvengine.fs.base import FileSystem
from kvengine.storage import record
from kvengine.storage.record import Record

MAX_FOUND = 1000
"""Of one file's damage so much is told one by one."""

_WINDOW = 1 << 20
_ZEROS = bytes(_WINDOW)
_MAX_SEARCHED = 1 << 30
_LEAST_COST = 256
_SPARE = 64 << 20


class Gap(NamedTuple):
    """Bytes that are no record, up to the next one or the end. ``torn``: nothing proves them.

    None at all, where those that are missing would have been.
    """

    start: int
    stop: int
    torn: bool

    def __str__(self) -> str:
        size = self.stop - self.start
        if not size:
            return f"offset {self.start:,}: bytes are missing here"
        what = "a torn tail" if self.torn else "damaged"
        return f"offset {self.start:,}, {size:,} bytes: no record, {what}"


class LogFile:
    """Records in a file, found by the salt of its header or by `salt_of` the first one.

    Once `walk` has ended: ``end`` is where the records end that an open reads, ``proven``
    up to where some record says that the file was synced, ``written`` where the last byte
    lies that is not zero, ``torn`` whether nothing proves what is behind ``end``,
    ``gave_up`` whether the search there was not finished.
    """

    def __init__(self, fs: FileSystem, path: str, start: int) -> None:
        """OSError where the file cannot be opened. ``start``: where its header ends."""
        self.path = path
        self.start = start
        self._file = fs.open(path)
        self.size: int = self._file.size()
        self.limit: int = self.size
        self.damage: list[CorruptionError] = []
        self.salt: int | None = None
        self.end: int = min(start, self.size)
        self.proven: int = 0
        self.written: int = 0
        self.torn: bool = True
        self.gave_up: bool = False
        self._mark = 0
        self._credit = 0

    def read(self, length: int, offset: int) -> bytes:
        return self._file.pread(max(0, min(length, self.limit - offset)), offset)

    def close(self) -> None:
        self._file.close()

    def use(self, salt: int) -> None:
        """The salt of the records here."""
        self.salt, self._mark = salt, record.marker(salt)

    def note(self, offset: int, reason: str) -> CorruptionError:
        """Take down a damage. The first thousand stand for all."""
        offset = min(offset, self.size)
        error = CorruptionError(self.path, offset, reason)
        if len(self.damage) < MAX_FOUND:
            self.damage.append(error)
        elif len(self.damage) == MAX_FOUND:
            self.damage.append(CorruptionError(self.path, offset, "and more damage behind"))
        return error

    @property
    def state(self) -> str:
        """What lies behind the records: "nothing", "zeros", "torn" or "damaged"."""
        if not self.torn:
            return "damaged"
        if self.written > self.end:
            return "torn"
        return "zeros" if self.limit > self.end else "nothing"

    def walk(self, proven: int = 0) -> Iterator[Record | Gap]:
        """Every record in order, and the gaps. ``proven``: what others prove of this file.

        Records behind a gap are no part of the log for an open: it refuses the file where
        the gap was proven, or drops them with the gap.
        """
        at, going_on = self.end, True
        while going_on:
            while (found := self.at(at)) is not None:
                self.proven = max(self.proven, found.synced)
                at = self.end = found.end
                yield found
            self.written = self.written_behind(at)
            going_on = self.at(at) is not None  # an owner may write on meanwhile
        self.end = at
        behind = self._all_behind(at) if self.written > at else array("Q")
        torn = max(self.proven, proven) <= at
        self.torn = torn
        for offset in behind:
            again = self.at(offset, shifted=True)
            if again is not None:
                if offset > at or at == self.end:
                    yield Gap(at, offset, torn)
                yield again
                at = again.end
        if self.written > at or (not torn and at == self.end):
            yield Gap(at, max(self.written, at), torn)

    def at(self, offset: int, *, shifted: bool = False) -> Record | None:
        """The valid record at a place (storage/record.py), or None."""
        if self.salt is None or self.limit - offset < record.HEADER_SIZE:
            return None
        header = self.read(record.HEADER_SIZE, offset)
        if int.from_bytes(header[:4], "little") != self._mark:
            return None
        size = record.HEADER_SIZE + int.from_bytes(header[8:12], "little")
        if size > self.limit - offset:
            self._credit -= _LEAST_COST
            return None
        data = memoryview(self.read(size, offset))
        found = record.decode_at(data, 0, self.salt, self._mark, shifted=True)
        if found is None:
            self._credit -= max(size, _LEAST_COST)
            return None
        if found.synced > offset and not shifted:
            return None
        return Record(offset, offset + found.end, found.synced, found.payload)

    def _all_behind(self, end: int) -> array[int]:
        """Where records lie behind the end of the log; what they prove goes to ``proven``."""
        places = array("Q")
        self._credit = 4 * min(self.limit, _MAX_SEARCHED) + _SPARE
        needle = self._mark.to_bytes(4, "little")
        base, window, at = end, b"", 0
        while base < self.written and self._credit >= 0 and self.salt is not None:
            window = window or self.read(_WINDOW + 3, base)
            found = window.find(needle, at)
            one = self.at(base + found, shifted=True) if found >= 0 else None
            at = found + 1 if found >= 0 else _WINDOW
            if one is not None:
                self.proven = max(self.proven, one.synced)
                places.append(one.offset)
                at = one.end - base
            if at >= _WINDOW:
                base, window, at = base + at, b"", 0
        self.gave_up = self.gave_up or self._credit < 0
        return places

    def written_behind(self, end: int) -> int:
        """Where the last byte ends that is not zero; ``end`` where all behind it is zeros."""
        written = end
        stop = min(self.limit, end + _MAX_SEARCHED)
        self.gave_up = stop < self.limit
        for at in range(end, stop, _WINDOW):
            piece = self.read(min(_WINDOW, stop - at), at)
            if piece != (_ZEROS if len(piece) == _WINDOW else bytes(len(piece))):
                written = at + len(piece.rstrip(b"\0"))
        return written


def salt_of(mark: int) -> int | None:
    """The salt whose records bear this marker: what a damaged header no longer tells.

    A CRC is linear in its seed, so that the marker, which is one, can be solved for it.
    None for zero, which no marker is.
    """
    if not mark:
        return None
    zero = crc32c(b"record", 0)
    rows = [(crc32c(b"record", 1 << bit) ^ zero, 1 << bit) for bit in range(32)]
    wanted, seed = mark ^ zero, 0
    for bit in reversed(range(32)):
        pivot = next((row for row in rows if row[0] >> bit & 1), None)
        if pivot is None:
            continue
        rows.remove(pivot)
        rows = [(a ^ pivot[0], b ^ pivot[1]) if a >> bit & 1 else (a, b) for a, b in rows]
        if wanted >> bit & 1:
            wanted, seed = wanted ^ pivot[0], seed ^ pivot[1]
    return seed
