"""WAL files: appending commits, and reading them back after a crash or a clean close."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from kvengine.errors import CorruptionError, is_io_error
from kvengine.fs.base import FileSystem
from kvengine.fs.disk import DiskFile
from kvengine.storage import filenames, record
from kvengine.storage.checksum import salt
from kvengine.storage.wal.decode import take_commits
from kvengine.storage.wal.format import (
    HEADER_SIZE,
    Commit,
    Header,
    decode_commit,
    decode_header,
    encode_header,
    is_unfinished,
)

_STEP = 16 * 1024
_FIRST_STEP = 64 * 1024
_LAST_STEP = 256 * 1024


class WalWriter:
    """The WAL file that commits append to. One thread at a time (the commit lock).

    ``end``: where the next record goes. ``synced``: below it everything is known
    to be on the medium. ``salt`` and ``mark``: of its records (record.py). ``epoch``: of the owner.
    Space is allocated ahead: a write into it costs less. If the file is synced, in steps that grow
    with it, so that most syncs write no file size; else in small ones, so that no commit pays for
    much.
    """

    __slots__ = (
        "_allocated",
        "_database_id",
        "_disk",
        "_failed",
        "_file",
        "_writing",
        "end",
        "epoch",
        "mark",
        "number",
        "path",
        "salt",
        "synced",
    )

    def __init__(
        self, fs: FileSystem, directory: str, number: int, database_id: bytes, epoch: int
    ) -> None:
        """Create file ``number``, empty, and make it durable in its directory, or leave nothing."""
        self.number: int = number
        self.path: str = filenames.join(directory, filenames.wal(number))
        self.synced: int = HEADER_SIZE
        self.end: int = HEADER_SIZE
        self._allocated = 0
        self._database_id = database_id
        self.epoch: int = epoch
        self.salt: int = salt(database_id, number)
        self.mark: int = record.marker(self.salt)
        self._writing: bytes | None = None
        self._failed: OSError | None = None
        self._file = fs.create(self.path)
        self._disk = self._file if isinstance(self._file, DiskFile) else None
        try:
            self._reserve(HEADER_SIZE)
            self._file.sync()  # so that `begin`, which commits wait for, has less to do
            fs.sync_dir(directory)
        except BaseException:
            self._file.close()
            with suppress(OSError):
                fs.unlink(self.path)
            raise

    def begin(self, previous: int, proven: int) -> None:
        """Write the header and sync it, before the first record.

        It proves that WAL ``previous`` (0: none) was synced up to its end, ``proven``.
        """
        header = Header(self._database_id, self.number, previous, proven, self.epoch)
        self._file.write(encode_header(header))
        self._file.datasync()

    def append(self, record: bytes) -> int:
        """Append a record; return the new end.

        After an exception, call `finish_interrupted_append` or `discard`.
        """
        end = self.end + len(record)
        if end > self._allocated:
            self._reserve(end)
        self._writing = record
        if self._disk is not None:  # a call in C
            self._disk.write(record)
        else:
            self._file.write(record)
        self.end = end
        self._writing = None
        return end

    def finish_interrupted_append(self) -> None:
        """Finish a record of which an interrupted `append` has written a part, if there is one.

        Afterwards `end` tells whether the record is in the log. The position of the file
        shows how much was written, since it moves with the write. This may itself be
        interrupted, and called again.
        """
        if self._writing is None:
            return
        data = self._writing
        written = self._file.position() - self.end
        if 0 < written < len(data):
            self._file.write(data[written:])
        if written > 0:
            self.end += len(data)
        self._writing = None

    def discard(self) -> None:
        """Cut what was written of a record, if possible, after an I/O error in `append`."""
        self._writing = None
        try:
            self._file.truncate(self.end)
            self._file.seek(self.end)
            self._allocated = self.end
        except OSError:
            pass

    def sync(self) -> None:
        """Make everything appended so far durable."""
        end = self.end
        self._sync(self._file.datasync)
        self.synced = max(self.synced, end)

    def seal(self) -> int:
        """Free unused space, make the file durable, and return its length. Nothing may follow."""
        self._file.truncate(self.end)
        self._sync(self._file.sync)
        self.synced = self.end
        return self.end

    def _sync(self, sync: Callable[[], None]) -> None:
        """Sync the file. Raise the error of an earlier sync if one has failed.

        A second sync may succeed although pages were dropped. The failure is noted here at once,
        since an interrupt could keep the caller from noting it.
        """
        if self._failed is not None:
            raise self._failed
        try:
            sync()
        except OSError as error:
            if is_io_error(error):
                self._failed = error
            raise

    def close(self) -> None:
        self._file.close()

    def _reserve(self, end: int) -> None:
        step = _STEP
        if self.synced >= self._allocated // 2:  # the file is synced again and again
            step = min(max(self._allocated, _FIRST_STEP), _LAST_STEP)
        target = -(-end // step) * step
        self._file.allocate(self._allocated, target - self._allocated)
        self._allocated = target


def ignore(commit: Commit) -> None:
    """Take a commit, and do nothing with it."""


class WalContent(NamedTuple):
    """What a WAL file holds: header, its commits, their end, bytes dropped behind it.

    ``header`` is None for a file that was made and never begun: it has no commits. ``first`` and
    ``last`` are None if there are none.
    """

    header: Header | None
    first: Commit | None
    last: Commit | None
    end: int
    torn_bytes: int


def read(
    fs: FileSystem,
    directory: str,
    number: int,
    database_id: bytes,
    known_end: int | None = None,
    take: Callable[[Commit], object] = ignore,
    note: Callable[[bytes, int], object] | None = None,
) -> WalContent:
    """Read all of a WAL file, and give each commit to ``take``. Return what else it holds.

    ``note`` gets the token and the stamp of each commit that has a token.
    Raise CorruptionError if it is damaged, perhaps after some commits have been taken.

    ``known_end``: where an earlier recovery or a clean close found the content
    to end; bytes behind it are ignored. Bad bytes past the last offset that the file
    itself proves to be synced are a torn tail and are counted; before it they are
    damage (promise P5). The caller compares ``end`` with what the next file proves.
    """
    path = filenames.join(directory, filenames.wal(number))
    try:
        data = fs.read_bytes(path)
    except FileNotFoundError:
        raise CorruptionError(path, 0, "WAL file is missing") from None
    header = _header(data, path, number, database_id)
    proven = known_end or HEADER_SIZE
    if known_end is not None:
        data = data[:known_end]
    if header is None:
        if proven > HEADER_SIZE:
            raise CorruptionError(path, 0, "WAL header is damaged")
        return WalContent(None, None, None, HEADER_SIZE, 0)
    seed = salt(database_id, number)
    first, last, end, claimed = take_commits(data, path, HEADER_SIZE, seed, take, note)
    proven = max(proven, claimed)
    if end < proven:
        raise CorruptionError(path, end, f"log is damaged below {proven}, where it was synced")
    torn = 0
    if end < len(data) and not record.is_blank(data, end):
        claimed = record.proven_beyond(data, end, seed)
        if claimed > end:
            raise CorruptionError(path, end, f"log is damaged below {claimed}, where it was synced")
        torn = len(data.rstrip(b"\0")) - end  # without the zeros of space allocated ahead
    return WalContent(header, first, last, end, torn)


def read_on(
    fs: FileSystem, directory: str, number: int, database_id: bytes, at: int
) -> tuple[list[Commit], int]:
    """Return the commits appended to a WAL file since its end was ``at``, and its end now.

    For a reader beside the owner, which may be writing the next record.
    Raise FileNotFoundError if the file is gone, CorruptionError as `read` does.
    """
    path = filenames.join(directory, filenames.wal(number))
    file = fs.open(path)
    try:
        data = file.pread(max(0, file.size() - at), at)
    finally:
        file.close()
    seed = salt(database_id, number)
    view, mark = memoryview(data), record.marker(seed)
    commits: list[Commit] = []
    end = 0
    while (found := record.decode_at(view, end, seed, mark, shifted=True)) is not None:
        if found.synced > at + found.offset:
            break
        try:
            commits.append(decode_commit(found.payload))
        except ValueError as error:
            raise CorruptionError(path, at + found.offset, str(error)) from None
        end = found.end
    if record.proven_beyond(data, end, seed) > at + end:
        raise CorruptionError(path, at + end, "log is damaged where it was synced")
    return commits, at + end


def _header(data: bytes, path: str, number: int, database_id: bytes) -> Header | None:
    """Return the header of a WAL file of this database, None if it was never begun."""
    try:
        header = decode_header(data)
    except ValueError as error:
        seed = salt(database_id, number)
        first = record.decode_at(memoryview(data), HEADER_SIZE, seed, record.marker(seed))
        never_begun = is_unfinished(data, database_id, number) and record.is_blank(
            data, HEADER_SIZE
        )
        if first is None and never_begun and not record.proven_beyond(data, 0, seed):
            return None
        raise CorruptionError(path, 0, str(error)) from None
    if header.database_id != database_id or header.number != number:
        raise CorruptionError(path, 0, f"WAL belongs elsewhere: it is number {header.number}")
    return header
