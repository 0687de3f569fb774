"""Restore: a generation of a backup as a database."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from kvengine.errors import CorruptionError, KVEngineError
from kvengine.fs.base import FileSystem
from kvengine.inspection.backup.backup import Progress
from kvengine.inspection.backup.files import (
    Damage,
    DamagedBackup,
    Generation,
    NoBackup,
    Unreadable,
    at,
    check,
    copy_summed,
    join,
    read_generations,
    reason,
    wrong,
)
from kvengine.inspection.backup.record import Record, StoredFile, record_name
from kvengine.storage import filenames
from kvengine.storage.manifest import file as manifest
from kvengine.storage.manifest.format import decode_current


class Restored(NamedTuple):
    """What was restored: the generation, the commit it is of, its files and their bytes."""

    generation: int
    stamp: int
    files: int
    bytes: int


def restore(
    directory: str | os.PathLike[str],
    into: str | os.PathLike[str],
    generation: int | None = None,
    *,
    fs: FileSystem | None = None,
    progress: Callable[[Progress], object] | None = None,
) -> Restored:
    """Make ``into``, absent or empty, the database that a generation holds; the newest for None.

    Every byte is checked on its way. DamagedBackup lists all that is wrong with the generation;
    NoBackup, KVEngineError for a place that is taken, OSError. After an error, or a crash, nothing
    is there that opens as a database: CURRENT comes last.
    """
    disk, place = at(directory, fs)
    target = at(into, fs)[1]
    found = _chosen(disk, place, generation)
    if found.record is None:
        damage = [Damage((found.number,), record_name(found.number), found.damage)]
        raise DamagedBackup(place, damage, _OTHER)
    if disk.exists(target) and (not disk.isdir(target) or disk.listdir(target)):
        raise KVEngineError(f"{target} is taken: restore into a new directory, or an empty one")
    return _Restore(disk, place, target, found.record, progress).run()


_OTHER = "restore another generation"
_LAST = (".manifest", filenames.CURRENT)
"""Other files of a database without these are no database, and no place for a new one."""


def _chosen(fs: FileSystem, directory: str, number: int | None) -> Generation:
    every = read_generations(fs, directory)
    if not every:
        raise NoBackup(f"{directory} holds no backup: give the directory that backups went to")
    if number is None:
        return every[-1]
    for one in every:
        if one.number == number:
            return one
    there = ", ".join(str(one.number) for one in every)
    raise NoBackup(f"{directory} has no generation {number}: choose from {there}")


class _Restore:
    def __init__(
        self,
        fs: FileSystem,
        directory: str,
        into: str,
        record: Record,
        progress: Callable[[Progress], object] | None,
    ) -> None:
        self._fs, self._directory, self._into, self._record = fs, directory, into, record
        self._told = progress
        self._progress = Progress(0, sum(file.size for file in record.files))
        self._damage: list[Damage] = []

    def run(self) -> Restored:
        record, fs = self._record, self._fs
        existed = fs.exists(self._into)
        fs.makedirs(self._into)
        try:
            last = [file for file in record.files if file.name.endswith(_LAST)]
            for file in record.files:
                if file not in last:
                    self._take(file)
            fs.sync_dir(self._into)
            for file in last:
                self._take(file)
            if not self._damage:
                self._finish()
            if self._damage:
                raise DamagedBackup(self._directory, self._damage, _OTHER)
        except BaseException:
            self._undo(existed)
            raise
        size = sum(file.size for file in record.files)
        return Restored(record.generation, record.stamp, len(record.files), size)

    def _take(self, file: StoredFile) -> None:
        """Copy a file, and check it; once one is damaged the others are checked alone."""
        if file.name == filenames.CURRENT or self._damage:
            self._note(file, check(self._fs, self._directory, file, self._advance))
            return
        source, target = join(self._directory, file.stored), join(self._into, file.name)
        try:
            size = self._fs.size(source)
        except OSError as error:
            self._note(file, reason(error))
            return
        if size != file.size:
            self._note(file, wrong(file, size, ""))
            return
        try:
            self._note(file, wrong(file, *copy_summed(self._fs, source, target, self._advance)))
        except Unreadable as error:
            self._note(file, reason(error))

    def _finish(self) -> None:
        """CURRENT, where the manifest is sound and names what is there."""
        fs = self._fs
        files = {file.name: file for file in self._record.files}
        current = files[filenames.CURRENT]
        try:
            name = decode_current(fs.read_bytes(join(self._directory, current.stored)))
            parsed = filenames.parse(name)
            if parsed is None or parsed.kind != "manifest" or name not in files:
                raise ValueError(f"CURRENT names {name!r}, which the generation lacks")
            catalog = manifest.read(fs, self._into, parsed.number)
        except (ValueError, CorruptionError) as error:
            self._note(current, str(error))
            return
        needed = [*map(filenames.segment, catalog.segments), *map(filenames.wal, catalog.wals)]
        for lost in sorted(set(needed) - files.keys()):
            self._note(current, f"the generation lacks {lost}")
        if not self._damage:
            manifest.set_current(fs, self._into, parsed.number)

    def _note(self, file: StoredFile, problem: str) -> None:
        if problem:
            self._damage.append(Damage((self._record.generation,), file.stored, problem))

    def _advance(self, size: int) -> None:
        self._progress = self._progress._replace(done=self._progress.done + size)
        if self._told is not None:
            self._told(self._progress)

    def _undo(self, existed: bool) -> None:
        """Nothing stays of what was made in a directory that was empty: CURRENT goes first."""
        with suppress(OSError):
            names = self._fs.listdir(self._into)
            for name in sorted(names, key=lambda name: name != filenames.CURRENT):
                with suppress(OSError):
                    self._fs.unlink(join(self._into, name))
            if not existed:
                self._fs.rmdir(self._into)
