"""What a backup directory holds: its generations, and its files read against their checksums."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import NamedTuple

from xxhash import xxh3_128

from kvengine.errors import KVEngineError, UnsupportedFormat
from kvengine.fs.base import File, FileSystem
from kvengine.fs.disk import DiskFileSystem
from kvengine.fs.paths import check_path
from kvengine.inspection.backup import record as backup_record
from kvengine.inspection.backup.record import Record, StoredFile
from kvengine.storage import filenames

_PIECE = 1024 * 1024
join: Callable[[str, str], str] = filenames.join

Copied = Callable[[int], object]
"""Told the bytes of each piece that was read."""


class Damage(NamedTuple):
    """A file of a backup that is not what was written: who needs it, and what is wrong."""

    generations: tuple[int, ...]
    name: str
    reason: str

    def __str__(self) -> str:
        which = "generation" if len(self.generations) == 1 else "generations"
        return f"{self.name}: {self.reason} ({which} {', '.join(map(str, self.generations))})"


class DamagedBackup(KVEngineError):
    """Files of a generation are damaged or missing; ``damage`` lists them all."""

    def __init__(self, directory: str, damage: list[Damage], advice: str) -> None:
        super().__init__(directory, damage, advice)
        self.directory = directory
        self.damage = damage
        self.advice = advice

    def __str__(self) -> str:
        shown = "; ".join(f"{one.name}: {one.reason}" for one in self.damage[:3])
        more = f"; and {len(self.damage) - 3} more" if len(self.damage) > 3 else ""
        count = f"{len(self.damage)} file{'s' * (len(self.damage) > 1)}"
        return f"{count} of the backup in {self.directory} damaged ({shown}{more}): {self.advice}"


class NoBackup(KVEngineError):
    """A directory that holds no backup, or not the generation that is asked for."""


class Unreadable(OSError):
    """The file that is copied or read cannot be read: not the one that is written."""


class Generation(NamedTuple):
    """A generation in a backup directory. ``record`` is None where ``damage`` says why."""

    number: int
    record: Record | None
    damage: str = ""

    @property
    def bytes(self) -> int:
        """Of all of its files, those it shares with others too."""
        return sum(file.size for file in self.record.files) if self.record is not None else 0


def generations(
    directory: str | os.PathLike[str], *, fs: FileSystem | None = None
) -> list[Generation]:
    """The generations in a backup directory, oldest first; none where it does not exist.

    Their records alone are read: `verify_backup` reads the files.
    """
    disk, place = at(directory, fs)
    return read_generations(disk, place)


def at(directory: str | os.PathLike[str], fs: FileSystem | None) -> tuple[FileSystem, str]:
    """The file system, the disk where none is given, and the directory's full path on it."""
    disk: FileSystem = fs if fs is not None else DiskFileSystem()
    name = check_path("directory", directory)
    return disk, os.path.abspath(name) if disk.local else name


def read_generations(fs: FileSystem, directory: str) -> list[Generation]:
    """Read the records. One that a backup removes meanwhile is not damaged, but gone."""
    numbers = _numbers(fs, directory)
    while True:
        found = [_read(fs, directory, number) for number in numbers]
        before, numbers = numbers, _numbers(fs, directory)
        if numbers == before or all(one.record is not None for one in found):
            return found


def _numbers(fs: FileSystem, directory: str) -> list[int]:
    if not fs.isdir(directory):
        return []
    numbers = map(backup_record.record_number, fs.listdir(directory))
    return sorted(number for number in numbers if number is not None)


def _read(fs: FileSystem, directory: str, number: int) -> Generation:
    path = join(directory, backup_record.record_name(number))
    try:
        if fs.size(path) > backup_record.MAX_RECORD:
            return Generation(number, None, "the record is too large to be one")
        return Generation(number, backup_record.decode(fs.read_bytes(path), number))
    except (ValueError, UnsupportedFormat) as error:
        return Generation(number, None, str(error))
    except OSError as error:
        return Generation(number, None, error.strerror or str(error))


def copy_summed(fs: FileSystem, source: str, target: str, copied: Copied) -> tuple[int, str]:
    """A synced copy of a file; its bytes and their checksum. An error leaves part of a copy.

    Unreadable for what is wrong with the source, any other OSError is of the target.
    """
    original = _opened(fs, source)
    try:
        fresh = fs.create(target)
        try:
            done = _pass(original, fresh, copied)
            fresh.sync()
            return done
        finally:
            fresh.close()
    finally:
        original.close()


def summed(fs: FileSystem, path: str, read: Copied) -> tuple[int, str]:
    """A file's bytes and their checksum; Unreadable."""
    file = _opened(fs, path)
    try:
        return _pass(file, None, read)
    finally:
        file.close()


def _opened(fs: FileSystem, path: str) -> File:
    try:
        return fs.open(path)
    except OSError as error:
        raise Unreadable(*error.args) from error


def _pass(source: File, target: File | None, told: Copied) -> tuple[int, str]:
    digest = xxh3_128()
    size = 0
    while piece := _piece(source, size):
        if target is not None:
            target.write(piece)
        digest.update(piece)
        size += len(piece)
        told(len(piece))
    return size, digest.hexdigest()


def _piece(source: File, offset: int) -> bytes:
    try:
        return source.pread(_PIECE, offset)
    except OSError as error:
        raise Unreadable(*error.args) from error


def wrong(file: StoredFile, size: int, digest: str) -> str:
    """What of a file does not hold against its record; "" for nothing."""
    if size != file.size:
        return f"it has {size:,} bytes, not {file.size:,}"
    return "" if digest == file.xxh3_128 else "its bytes do not match their checksum"


def check(fs: FileSystem, directory: str, file: StoredFile, read: Copied) -> str:
    """What is wrong with a stored file, "" for nothing. Of a wrong length nothing is read."""
    path = join(directory, file.stored)
    try:
        size = fs.size(path)
        return wrong(file, *summed(fs, path, read)) if size == file.size else wrong(file, size, "")
    except OSError as error:
        return reason(error)


def reason(error: OSError) -> str:
    """Why a file cannot be read."""
    if error.errno == errno.ENOENT:
        return "it is missing"
    return f"it cannot be read: {error.strerror or error}"
