"""Reading a manifest edit by edit, and CURRENT, sound or damaged. Never for the engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from kvengine.errors import CorruptionError, UnsupportedFormat
from kvengine.fs.base import FileSystem
from kvengine.inspection import escape
from kvengine.inspection.dump.logs import Gap, LogFile, salt_of
from kvengine.storage import filenames
from kvengine.storage.checksum import salt
from kvengine.storage.manifest.file import Catalog
from kvengine.storage.manifest.format import (
    HEADER_SIZE,
    Header,
    SegmentMeta,
    Shape,
    VersionEdit,
    decode_current,
    decode_edit,
    decode_header,
)
from kvengine.storage.record import Record

_CURRENT_BYTES = 4096


class Edited(NamedTuple):
    """A record and the edit in it, None where it holds none; ``fault`` says what is wrong."""

    record: Record
    edit: VersionEdit | None
    fault: str
    kept: bool


class ManifestFile(LogFile):
    """A manifest. ``header`` is None where it is damaged: ``header_fault``. ``catalog`` grows.

    Edits that do not fit are left out of the catalog, which is None before the first.
    """

    def __init__(self, fs: FileSystem, path: str) -> None:
        super().__init__(fs, path, HEADER_SIZE)
        self.header: Header | None = None
        self.header_fault: str = ""
        self.catalog: Catalog | None = None
        self.count: int = 0
        try:
            self.header = decode_header(self.read(HEADER_SIZE, 0))
            self.use(salt(self.header.database_id, self.header.number))
        except (ValueError, UnsupportedFormat) as error:
            self.header_fault = str(error)
            guess = salt_of(int.from_bytes(self.read(4, HEADER_SIZE), "little"))
            if guess is not None:
                self.use(guess)

    def edits(self) -> Iterator[Edited | Gap]:
        """Every edit and every gap, in order; ``damage`` grows by what an open would refuse."""
        if self.header is None:
            self.note(0, self.header_fault)
        kept = True
        for found in self.walk():
            if isinstance(found, Gap):
                kept = False
                if not found.torn:
                    self.note(found.start, "version edit is damaged")
                yield found
                continue
            yield self._edited(found, kept=kept)
        if self.catalog is None:
            self.note(self.start, "manifest states nothing")

    def _edited(self, found: Record, *, kept: bool) -> Edited:
        self.count += kept
        edit: VersionEdit | None = None
        fault = ""
        try:
            edit = decode_edit(found.payload)
            if kept:
                self._apply(edit)
        except ValueError as error:
            fault = str(error)
            self.note(found.offset, fault)
        return Edited(found, edit, fault, kept)

    def _apply(self, edit: VersionEdit) -> None:
        if self.catalog is None:
            database_id = self.header.database_id if self.header is not None else b""
            if edit.shape is None:
                self.catalog = Catalog(database_id, Shape(0, 0))
                self.catalog.apply(edit)
                raise ValueError("first edit does not state everything")
            self.catalog = Catalog(database_id, edit.shape)
        self.catalog.apply(edit)


@dataclass
class CurrentFile:
    """CURRENT: the manifest that it names, "" where that cannot be read; ``damage`` says why."""

    path: str
    size: int
    name: str
    named: ManifestFile | None
    own_damage: list[CorruptionError] = field(default_factory=list)

    @property
    def damage(self) -> list[CorruptionError]:
        """Of CURRENT, then of the manifest."""
        return self.own_damage + (self.named.damage if self.named is not None else [])


def read_current(path: str, fs: FileSystem) -> CurrentFile:
    """CURRENT, and the manifest beside it that it names."""
    file = fs.open(path)
    try:
        found = CurrentFile(path, file.size(), "", None)
        data = file.pread(_CURRENT_BYTES, 0)
    finally:
        file.close()
    try:
        name = decode_current(data)
        parsed = filenames.parse(name)
        if parsed is None or parsed.kind != "manifest":
            raise ValueError(f"CURRENT names {escape.text(name, 64)}, which is no manifest")
    except ValueError as error:
        found.own_damage.append(CorruptionError(path, 0, str(error)))
        return found
    found.name = filenames.manifest(parsed.number)
    beside = filenames.join(path.rpartition("/")[0] or ".", found.name)
    try:
        found.named = ManifestFile(fs, beside)
    except OSError:
        reason = "CURRENT names this manifest, and it is not there"
        found.own_damage.append(CorruptionError(beside, 0, reason))
    return found


def by_level(catalog: Catalog) -> list[tuple[int, list[SegmentMeta]]]:
    """The segments of each level that has any: level 0 newest first, the others in order."""
    levels: dict[int, list[SegmentMeta]] = {}
    for meta in catalog.segments.values():
        levels.setdefault(meta.level, []).append(meta)
    for level, metas in levels.items():
        metas.sort(key=lambda meta: (meta.start, meta.number))
        if level == 0:
            metas.sort(key=lambda meta: -meta.number)
    return sorted(levels.items())
