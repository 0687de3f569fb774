"""Backup: a checkpoint carried to another directory, where those before it are, file by file.

Segments never change, so one that an earlier generation has is not copied again: a generation
costs what was flushed and compacted since the last, and reads of that. What is in the directory,
and what makes it valid, is in record.py.

Steps, and what a crash after each leaves: (1) lock, clear away what broken backups left;
(2) a checkpoint in the database's own directory, where hard links always work, under a name of
this backup directory: the next backup into it removes that, until then an open reports it as
unknown; (3) copy what is not there, each file synced, then named: files that no generation
names, of which the next backup takes the segments as they are, once it has compared them;
(4) the record, synced, then named: the generation is there; (5) remove the records of
generations beyond ``keep``, and when that is durable the files that no record names; (6) remove
the checkpoint. Earlier generations can be restored throughout.

The owner of the database makes the checkpoint. So a tool opens it with
``Access(path, write=True)``: by its socket where there is an owner, else as the owner for
as long as the backup takes. Where nothing can be written to the database, as on a read-only mount,
its files are copied in place of a checkpoint, while its locks keep owners out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple, Protocol

from xxhash import xxh3_64_hexdigest

from kvengine.errors import CorruptionError, KVEngineError
from kvengine.fs.base import FileSystem
from kvengine.inspection.backup import record as backup_record
from kvengine.inspection.backup.files import at, join
from kvengine.inspection.backup.record import FORMAT_VERSION, Record
from kvengine.inspection.backup.shelf import Shelf
from kvengine.real_time import wall
from kvengine.storage import filenames
from kvengine.storage.lifecycle.lock import holder, keep_out
from kvengine.storage.manifest import file as manifest
from kvengine.storage.manifest.file import Catalog
from kvengine.storage.wal import file as wal


class Source(Protocol):
    """What of a store a backup takes: an `Engine`, or a `SharedStore`.

    Of an engine that is open to read only, the files are copied as they are.
    """

    @property
    def path(self) -> str: ...

    def checkpoint(self, path: str) -> None: ...


class BackupRunning(KVEngineError):
    """Another process makes a backup into the same directory."""


class Progress(NamedTuple):
    """How far a backup is: bytes copied, or compared, and how many there are to be."""

    done: int
    total: int


class BackedUp(NamedTuple):
    """A backup that was made: its generation, the commit it is of, its files and their bytes.

    ``copied_files``, ``copied_bytes``: of those, what was not there before. ``removed``: the
    generations that went. ``notes``: what was found on the way.
    """

    generation: int
    stamp: int
    files: int
    bytes: int
    copied_files: int
    copied_bytes: int
    removed: tuple[int, ...]
    notes: tuple[str, ...]


def backup(
    store: Source,
    directory: str | os.PathLike[str],
    *,
    keep: int | None = None,
    recheck: bool = False,
    fs: FileSystem | None = None,
    now: Callable[[], float] = wall,
    progress: Callable[[Progress], object] | None = None,
) -> BackedUp:
    """Back up a database as of now into ``directory``, which is made if it is not there.

    ``keep``: that many generations stay, the newest, this one among them; None: all.
    ``recheck``: read again what earlier backups have copied, and copy anew what has rotted.
    ``progress`` is told after each megabyte. DatabaseLocked where ``store`` is open to read only
    and another process owns the directory, BackupRunning, KVEngineError for a directory of another
    database; CorruptionError, OSError. An error leaves the generations that were there.
    """
    if keep is not None and keep < 1:
        raise ValueError(f"keep must be 1 or more, not {keep}: a backup keeps itself")
    disk, place = at(directory, fs)
    origin = at(store.path, fs)[1]
    _check(disk, origin, place)
    disk.makedirs(place)
    path = join(place, backup_record.LOCK)
    lock = disk.lock(path)
    if lock is None:
        pid = holder(disk, path)
        who = "another process" if pid is None else f"process {pid}"
        raise BackupRunning(f"{who} is making a backup into {place}: wait until it is done")
    try:
        lock.write(b"%d\n" % os.getpid())
        mark = f"backup-{xxh3_64_hexdigest(_real(disk, place).encode(errors='surrogateescape'))}-"
        run = _Backup(store, disk, origin, Shelf(disk, place, recheck=recheck), progress)
        return run.run(mark, keep, now())
    finally:
        lock.release()


def _check(fs: FileSystem, origin: str, place: str) -> None:
    if fs.exists(join(place, filenames.CURRENT)):
        raise KVEngineError(f"{place} is a database: choose a directory for its backups")
    if f"{_real(fs, place)}/".startswith(f"{_real(fs, origin)}/"):
        raise KVEngineError(f"{place} lies in the database itself: choose another directory")


def _real(fs: FileSystem, path: str) -> str:
    return os.path.realpath(path) if fs.local else path


class _Backup:
    """One run of the steps in the module's docstring, under the lock."""

    def __init__(
        self,
        store: Source,
        fs: FileSystem,
        origin: str,
        shelf: Shelf,
        progress: Callable[[Progress], object] | None,
    ) -> None:
        self._store, self._fs, self._origin, self._shelf = store, fs, origin, shelf
        self._told = progress
        self._progress = Progress(0, 0)

    def run(self, mark: str, keep: int | None, now: float) -> BackedUp:
        """``mark``: how names of the checkpoints of this backup directory begin."""
        shelf = self._shelf
        shelf.clear_leftovers()
        with self._files_of_now(mark) as source:
            record = self._copy(source, now)
            shelf.publish(record)
            removed = shelf.prune(record, keep)
        return BackedUp(
            record.generation,
            record.stamp,
            len(record.files),
            sum(file.size for file in record.files),
            len(shelf.copied),
            sum(shelf.copied),
            removed,
            tuple(shelf.notes),
        )

    @contextmanager
    def _files_of_now(self, mark: str) -> Iterator[str]:
        """A directory whose files stay: a checkpoint, or a database that is kept from owners."""
        if getattr(getattr(self._store, "options", None), "read_only", False):
            with keep_out(self._fs, self._origin):
                yield self._origin
            return
        self._remove_checkpoints(mark)
        checkpoint = join(self._origin, f"{mark}{os.getpid()}")
        try:
            self._store.checkpoint(checkpoint)
            yield checkpoint
        finally:
            with suppress(OSError):
                self._remove_checkpoints(mark)

    def _remove_checkpoints(self, mark: str) -> None:
        """Those of this run, or of one that was killed."""
        for name in self._fs.listdir(self._origin):
            path = join(self._origin, name)
            is_link = self._fs.local and os.path.islink(path)
            if name.startswith(mark) and not is_link and self._fs.isdir(path):
                for file in self._fs.listdir(path):
                    self._fs.unlink(join(path, file))
                self._fs.rmdir(path)

    def _copy(self, checkpoint: str, now: float) -> Record:
        """Put the checkpoint's files on the shelf; the record that tells of them."""
        fs, shelf = self._fs, self._shelf
        number = manifest.read_current(fs, checkpoint)
        catalog = manifest.read(fs, checkpoint, number)
        self._check_origin(catalog)
        files = self._files(catalog, number)
        sizes = {name: fs.size(join(checkpoint, name)) for name in files}
        for one in catalog.segments.values():
            name = filenames.segment(one.number)
            if sizes[name] != one.size:
                raise CorruptionError(join(checkpoint, name), sizes[name], "segment is cut short")
        new = (size for name, size in sizes.items() if not shelf.has(files[name], size))
        self._progress = Progress(0, sum(new))
        placed = [
            shelf.put(join(checkpoint, name), name, stored, sizes[name], self._advance)
            for name, stored in files.items()
        ]
        identity, stamp = catalog.database_id.hex(), _last_stamp(fs, checkpoint, catalog)
        return Record(FORMAT_VERSION, shelf.number, identity, stamp, now, placed)

    def _files(self, catalog: Catalog, number: int) -> dict[str, str]:
        """The checkpoint's files, and what they are called on the shelf."""
        files = {
            filenames.segment(one.number): backup_record.segment(one.file_id, one.size)
            for one in catalog.segments.values()
        }
        alone = [*map(filenames.wal, catalog.wals), filenames.manifest(number), filenames.CURRENT]
        return files | {name: backup_record.own(self._shelf.number, name) for name in alone}

    def _check_origin(self, catalog: Catalog) -> None:
        for one in self._shelf.before:
            if one.record is not None and one.record.database_id != catalog.database_id.hex():
                raise KVEngineError(
                    "the directory holds backups of another database: choose one for this alone"
                )

    def _advance(self, size: int) -> None:
        done = self._progress.done + size
        self._progress = Progress(done, max(done, self._progress.total))
        if self._told is not None:
            self._told(self._progress)


def _last_stamp(fs: FileSystem, checkpoint: str, catalog: Catalog) -> int:
    """The stamp of the last commit that the files tell of; CorruptionError for a damaged WAL.

    The catalog's own is ahead of it where commits went on while the checkpoint was made.
    """
    stamp = max((one.properties.last_stamp for one in catalog.segments.values()), default=0)
    for number in sorted(catalog.wals, reverse=True):
        end = catalog.wal_ends.get(number)
        last = wal.read(fs, checkpoint, number, catalog.database_id, end).last
        if last is not None:
            return max(stamp, last.stamp)
    return stamp
