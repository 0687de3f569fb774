"""The manifest file and CURRENT: which files make up the database."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from kvengine.errors import CorruptionError
from kvengine.fs.base import FileSystem
from kvengine.storage import filenames, record
from kvengine.storage.checksum import salt
from kvengine.storage.manifest.format import (
    HEADER_SIZE,
    Header,
    SegmentMeta,
    Shape,
    VersionEdit,
    decode_current,
    decode_edit,
    decode_header,
    encode_current,
    encode_edit,
    encode_header,
)
from kvengine.storage.times import MAX_TIME

MAX_LEVELS = 64
"""More levels than a database of any size has: each is at least twice the size of the last."""


EPOCHS_END = 1 << 63
"""Epochs of ownership, in a manifest and in a WAL, are below this."""


@dataclass
class Catalog:
    """The sum of a manifest's edits: live files, and the counters that only grow.

    ``epoch``: how many owners the database has had, the present one included.
    """

    database_id: bytes
    shape: Shape
    segments: dict[int, SegmentMeta] = field(default_factory=dict)
    wals: list[int] = field(default_factory=list)
    wal_ends: dict[int, int] = field(default_factory=dict)
    next_number: int = 1
    last_stamp: int = 0
    now: int = 0
    trusted: int = 0
    retention: dict[str, int] = field(default_factory=dict)
    epoch: int = 0

    def check(self, edit: VersionEdit) -> None:
        """Raise ValueError for an edit that does not fit what came before, or makes no sense."""
        if len(set(edit.removed)) < len(edit.removed):
            raise ValueError("edit removes a segment twice")
        for number in edit.removed:
            if number not in self.segments:
                raise ValueError(f"edit removes segment {number}, which is not there")
        for meta in edit.added:
            if not 0 <= meta.level < MAX_LEVELS:
                raise ValueError(f"edit adds segment {meta.number} to level {meta.level}")
            if meta.number in self.segments and meta.number not in edit.removed:
                raise ValueError(f"edit adds segment {meta.number}, which is there")
        for number in edit.wals_removed:
            if number not in self.wals:
                raise ValueError(f"edit removes WAL {number}, which is not there")
        for service, kept in edit.retention.items():
            if not 0 <= kept <= MAX_TIME:
                raise ValueError(f"edit states a retention of {kept} microseconds for {service!r}")
        if edit.epoch and not self.epoch <= edit.epoch < EPOCHS_END:
            raise ValueError(f"edit has epoch {edit.epoch}, after epoch {self.epoch}")

    def apply(self, edit: VersionEdit) -> None:
        """Make the change. Raise ValueError, and change nothing, if the edit does not fit."""
        self.check(edit)
        for number in edit.removed:
            del self.segments[number]
        for meta in edit.added:
            self.segments[meta.number] = meta
        for number in edit.wals_removed:
            self.wals.remove(number)
            self.wal_ends.pop(number, None)
        self.wals += edit.wals_added
        self.wal_ends.update(edit.wal_ends)
        self.next_number = max(self.next_number, edit.next_number)
        self.last_stamp = max(self.last_stamp, edit.last_stamp)
        self.now = edit.now or self.now
        self.trusted = edit.trusted or self.trusted
        self.retention.update(edit.retention)
        self.epoch = edit.epoch or self.epoch

    def whole(self) -> VersionEdit:
        """Return one edit that states everything."""
        return VersionEdit(
            added=list(self.segments.values()),
            wals_added=list(self.wals),
            wal_ends=dict(self.wal_ends),
            next_number=self.next_number,
            last_stamp=self.last_stamp,
            now=self.now,
            shape=self.shape,
            trusted=self.trusted,
            retention=dict(self.retention),
            epoch=self.epoch,
        )


class ManifestWriter:
    """Appends version edits; each is durable before `append` returns.

    A new file is made at every open, so no manifest is appended to after a
    crash. After an I/O error the file refuses edits: whether the last one is on
    the medium is unknown, and only a reopen can tell.
    """

    def __init__(self, fs: FileSystem, directory: str, catalog: Catalog, number: int) -> None:
        """Create manifest ``number`` stating ``catalog`` and make it the one in force.

        Steps, and what a crash after each leaves: (1) write and sync the new
        file: an unknown file, the old manifest in force; (2) sync the directory:
        the same; (3) write a temporary CURRENT, sync it, rename it over CURRENT,
        sync the directory: either manifest in force, and both state the same.
        """
        self.number = number
        self.path: str = filenames.join(directory, filenames.manifest(number))
        self._salt = salt(catalog.database_id, number)
        self._mark = record.marker(self._salt)
        self._file = fs.create(self.path)
        self.failed: OSError | None = None
        try:
            self._file.write(encode_header(Header(catalog.database_id, number)))
            self._end = HEADER_SIZE
            self.append(catalog.whole())
            self.began_with: int = self._end
            fs.sync_dir(directory)
            set_current(fs, directory, number)
        except BaseException:
            self._file.close()
            raise

    def append(self, edit: VersionEdit) -> None:
        """Make one edit durable. After an OSError the manifest refuses edits until reopen."""
        if self.failed is not None:
            raise self.failed
        data = record.encode(encode_edit(edit), self._salt, self._mark, self._end)
        try:
            self._file.write(data)
            self._file.datasync()
        except OSError as error:
            self.failed = error
            raise
        self._end += len(data)

    @property
    def size(self) -> int:
        return self._end

    def close(self) -> None:
        self._file.close()


def set_current(fs: FileSystem, directory: str, number: int) -> None:
    """Make manifest ``number`` the one in force, atomically and durably."""
    path = filenames.join(directory, filenames.temporary(number, os.getpid()))
    file = fs.create(path)
    try:
        file.write(encode_current(filenames.manifest(number)))
        file.sync()
    finally:
        file.close()
    fs.rename(path, filenames.join(directory, filenames.CURRENT))
    fs.sync_dir(directory)


def read_current(fs: FileSystem, directory: str) -> int:
    """Return the number of the manifest in force; raise CorruptionError if CURRENT is damaged."""
    path = filenames.join(directory, filenames.CURRENT)
    try:
        name = decode_current(fs.read_bytes(path)[:4096])
    except ValueError as error:
        raise CorruptionError(path, 0, str(error)) from None
    parsed = filenames.parse(name)
    if parsed is None or parsed.kind != "manifest":
        raise CorruptionError(path, 0, f"CURRENT names {name!r}, which is no manifest")
    return parsed.number


def read(fs: FileSystem, directory: str, number: int) -> Catalog:
    """Return the sum of a manifest's edits; raise CorruptionError if its bytes are damaged.

    A torn last edit is left out: `append` had not returned for it. If it is bit rot
    instead, nothing is lost: no edit changes what a read returns, if it removed files,
    recovery finds them missing and refuses to open, and one that sets a retention is
    followed by a new manifest.
    """
    path = filenames.join(directory, filenames.manifest(number))
    try:
        data = fs.read_bytes(path)
    except FileNotFoundError:
        raise CorruptionError(path, 0, "CURRENT names a manifest that is missing") from None
    try:
        header = decode_header(data[:HEADER_SIZE])
    except ValueError as error:
        raise CorruptionError(path, 0, str(error)) from None
    if header.number != number:
        raise CorruptionError(path, 0, f"this is manifest {header.number}, not {number}")
    seed = salt(header.database_id, number)
    catalog: Catalog | None = None
    end = HEADER_SIZE
    for logged in record.records(data, HEADER_SIZE, seed):
        try:
            edit = decode_edit(logged.payload)
            if catalog is None:
                if edit.shape is None:
                    raise ValueError("first edit does not state everything")
                catalog = Catalog(header.database_id, edit.shape)
            catalog.apply(edit)
        except ValueError as error:
            raise CorruptionError(path, logged.offset, str(error)) from None
        end = logged.end
    if catalog is None:
        raise CorruptionError(path, end, "manifest states nothing")
    if record.proven_beyond(data, end, seed) > end:
        raise CorruptionError(path, end, "version edit is damaged")
    return catalog
