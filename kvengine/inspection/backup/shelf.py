"""A backup directory while a backup is made into it, under its lock: what comes, what goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from kvengine.errors import CorruptionError
from kvengine.fs.base import FileSystem
from kvengine.inspection.backup import record as backup_record
from kvengine.inspection.backup.files import (
    Copied,
    Generation,
    copy_summed,
    join,
    read_generations,
    summed,
)
from kvengine.inspection.backup.record import Record, StoredFile


class Shelf:
    """``number``: of the generation that is made. ``copied``: sizes of what was put there."""

    def __init__(self, fs: FileSystem, place: str, *, recheck: bool) -> None:
        """``recheck``: what is there is taken as it is only after it was read again."""
        self._fs, self._place, self._recheck = fs, place, recheck
        self._names = set(fs.listdir(place))
        self.before: list[Generation] = read_generations(fs, place)
        self._sums = {
            file.stored: file.xxh3_128
            for one in self.before
            if one.record is not None
            for file in one.record.files
        }
        numbers = [backup_record.generation_of(name) or 0 for name in self._names]
        self.number: int = max(numbers, default=0) + 1
        self.copied: list[int] = []
        self.notes: list[str] = [
            f"generation {one.number} cannot be read: {one.damage}"
            for one in self.before
            if one.record is None
        ]

    def clear_leftovers(self) -> None:
        """Remove what is of no generation, but for segments: those may save a copy."""
        there = {one.number for one in self.before}
        for name in sorted(self._names):
            number = backup_record.generation_of(name)
            if backup_record.is_temporary(name) or (number is not None and number not in there):
                self._unlink(name)

    def has(self, stored: str, size: int) -> bool:
        """Whether a file is there, and taken as it is."""
        return not self._recheck and stored in self._sums and self._is_there(stored, size)

    def put(self, source: str, name: str, stored: str, size: int, told: Copied) -> StoredFile:
        """A file of the database with its checksum: found here, or copied from ``source``.

        CorruptionError where the source is not what an earlier generation has of it.
        """
        known = self._sums.get(stored)
        if known is not None and self.has(stored, size):
            return StoredFile(name, stored, size, known)
        if self._is_there(stored, size):
            found = summed(self._fs, join(self._place, stored), told)[1]
            if found == (known or summed(self._fs, source, _nobody)[1]):
                return StoredFile(name, stored, size, found)
        if known is not None:
            self.notes.append(f"{stored} was damaged or missing in the backup: copied anew")
        with self._whole(stored) as aside:
            length, digest = copy_summed(self._fs, source, aside, told)
            if length != size or digest != (known or digest):
                reason = "these are not the bytes that earlier backups have"
                raise CorruptionError(source, 0, reason)
        self.copied.append(size)
        return StoredFile(name, stored, size, digest)

    def publish(self, record: Record) -> None:
        """Make the generation be there, once its files are durable."""
        self._fs.sync_dir(self._place)
        with self._whole(backup_record.record_name(record.generation)) as aside:
            file = self._fs.create(aside)
            try:
                file.write(backup_record.encode(record))
                file.sync()
            finally:
                file.close()
        self._fs.sync_dir(self._place)

    def prune(self, record: Record, keep: int | None) -> tuple[int, ...]:
        """Keep the newest generations that can be read, and files that some record names.

        The numbers of those that went: their records first, durably, then their files.
        """
        every = [*self.before, Generation(record.generation, record)]
        sound = [one.number for one in every if one.record is not None]
        oldest = sound[-keep] if keep is not None and keep <= len(sound) else 0
        gone = [one.number for one in every if one.number < oldest]
        for number in gone:
            self._fs.unlink(join(self._place, backup_record.record_name(number)))
        if gone:
            self._fs.sync_dir(self._place)
        self._sweep({one.number: one.record for one in every if one.number not in gone})
        return tuple(gone)

    def _sweep(self, kept: dict[int, Record | None]) -> None:
        """A record that cannot be read may name any segment: then they all stay."""
        named = {file.stored for one in kept.values() if one is not None for file in one.files}
        for name in self._fs.listdir(self._place):
            number = backup_record.generation_of(name)
            is_over = number is not None and number not in kept
            is_unnamed = backup_record.is_segment(name) and name not in named
            if is_over or (is_unnamed and None not in kept.values()):
                self._unlink(name)

    @contextmanager
    def _whole(self, name: str) -> Iterator[str]:
        """A path to make a file at, synced, which then gets its name; an error removes it."""
        path = join(self._place, name)
        aside = backup_record.temporary(path)
        try:
            yield aside
            self._fs.rename(aside, path)
        except BaseException:
            with suppress(OSError):
                self._fs.unlink(aside)
            raise

    def _is_there(self, stored: str, size: int) -> bool:
        return stored in self._names and self._fs.size(join(self._place, stored)) == size

    def _unlink(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._fs.unlink(join(self._place, name))
        self._names.discard(name)


def _nobody(size: int) -> None:
    """Told of bytes that are not counted."""
    del size
