"""Audit: every byte of a database directory and every invariant, beside a running owner too.

Nothing is opened as an owner would: no lock, no write, no end at the first error.

Steps: (1) CURRENT and the manifest, edit by edit; where it is not known which one is in
force, the newest that can be read. (2) The names in the directory, and what the manifest
states held against itself. (3) Each segment that it states, whole
(repair/verify_segment.py). (4) The WALs (wal_chain.py). (5) All of it once more,
where it is not sound, until two looks in a row say the same: an owner adds, changes and
removes files meanwhile. Segments that were read are not read again. Where no two looks
agree, what both of the last found.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from kvengine.errors import NotADatabase
from kvengine.fs.base import FileSystem
from kvengine.fs.disk import DiskFileSystem
from kvengine.inspection.audit.findings import Audit, Finding, reason_of
from kvengine.inspection.audit.wal_chain import WalChain
from kvengine.inspection.dump.logs import Gap
from kvengine.inspection.dump.manifest_file import ManifestFile, by_level, read_current
from kvengine.inspection.dump.segment import SegmentFile
from kvengine.storage import filenames
from kvengine.storage.manifest.file import Catalog
from kvengine.storage.manifest.format import SegmentMeta
from kvengine.storage.repair.verify_segment import SegmentAudit
from kvengine.storage.segment.filter import seed_of

__all__ = ["Audit", "Finding", "audit"]

Progress = Callable[[int, int], None]

_RETRIES = 20
_MAX_LEVEL = 100
_NOT_OURS = "an unknown file; it is left alone"
_TEMPORARY = "a temporary file; the next open removes it"
_OBSOLETE = "not part of the database; the next open removes it"


def audit(directory: str, fs: FileSystem | None = None, progress: Progress | None = None) -> Audit:
    """Check a whole database. NotADatabase where there is none.

    ``progress`` is called with the bytes that are done and those that there are, which
    may grow.
    """
    seam = fs if fs is not None else DiskFileSystem()
    _check_place(seam, directory)
    segments: dict[SegmentMeta, Audit] = {}
    before: _Look | None = None
    for left in reversed(range(_RETRIES)):
        look = _Look(seam, directory, segments, progress)
        look.take()
        if not look.unsettled or (before and look.unsettled == before.unsettled):
            return look.result
        if before and not left:
            look.settle(before)
            return look.result
        before = look
    raise AssertionError("unreachable")


def _check_place(fs: FileSystem, directory: str) -> None:
    if not fs.isdir(directory):
        what = (
            "is a file or a broken symbolic link; a database is a directory"
            if fs.exists(directory)
            else "does not exist"
        )
        raise NotADatabase(f"{directory} {what}")
    names = fs.listdir(directory)
    if filenames.CURRENT not in names and not any(map(filenames.parse, names)):
        raise NotADatabase(f"{directory} holds no database")


class _Look:
    """One look at the directory, to ``result``."""

    def __init__(
        self,
        fs: FileSystem,
        directory: str,
        segments: dict[SegmentMeta, Audit],
        progress: Progress | None,
    ) -> None:
        """``segments``: those that were read, as the manifest stated them; grows."""
        self._fs, self._directory = fs, directory
        self._segments = segments
        self._progress = progress
        self._done = self._total = 0
        self._manifest = ""
        self._stage: tuple[str, int] | None = None  # changes with the set of files
        self._seed: int | None = None  # of the filters, where the database is known
        self.result = Audit(directory)

    @property
    def unsettled(self) -> list[Finding]:
        """What an owner at work may have caused: damage, and a tail that it is writing."""
        settled = (_NOT_OURS, _TEMPORARY, _OBSOLETE)
        return [one for one in self.result.findings if one.reason not in settled]

    def settle(self, before: _Look) -> None:
        """Beside an owner too busy for two looks to agree: what both found, and no more.

        Damage stays for as long as its file is in force; files that come and go are others
        each time.
        """
        if self._stage != before._stage:
            passing = [one for one in self.unsettled if one not in before.unsettled]
            self.result.findings = [one for one in self.result.findings if one not in passing]

    def take(self) -> None:
        catalog = self._catalog()
        self._measure()
        self._check_names(catalog)
        if catalog is None:
            self._check_alone()
        else:
            self._check_catalog(catalog)
            self._seed = seed_of(catalog.database_id)
            for meta in catalog.segments.values():
                self._check_segment(meta)
            WalChain(self._fs, self._directory, catalog, self.result, self._advance).check()
        self._advance(max(0, self._total - self._done))

    # --- the manifest, and what it says of itself

    def _catalog(self) -> Catalog | None:
        """What the manifest in force states, or the newest that states anything."""
        path = self._path(filenames.CURRENT)
        candidates = self._numbers("manifest")
        try:
            current = read_current(path, self._fs)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not self._numbers("wal", "segment"):
                self.result.noted(path, 0, "missing: the making of a database broke off")
            else:
                self.result.damaged(path, 0, reason_of(error))
        else:
            self._count(current.size)
            self.result.take(current.own_damage, current.size)
            parsed = filenames.parse(current.name)
            if parsed is not None and current.named is not None:
                candidates = [parsed.number]
        found = map(self._read_manifest, sorted(candidates, reverse=True))
        return next((one for one in found if one is not None), None)

    def _read_manifest(self, number: int) -> Catalog | None:
        path = self._path(filenames.manifest(number))
        try:
            found = ManifestFile(self._fs, path)
            self._count(found.size)
            for one in found.edits():
                if isinstance(one, Gap) and one.torn:
                    size = f"{one.stop - one.start:,} bytes"
                    self.result.noted(path, one.start, f"a torn last edit of {size}")
        except OSError as error:
            self.result.damaged(path, 0, reason_of(error))
            return None
        if found.header is not None and found.header.number != number:
            self.result.damaged(path, 0, f"this is manifest {found.header.number}, not {number}")
        self.result.take(found.damage, found.size)
        if found.catalog is not None:
            self._manifest, self._stage = path, (path, found.size)
        return found.catalog

    def _check_catalog(self, catalog: Catalog) -> None:
        """Levels are disjoint; numbers and stamps are below the counters."""
        damaged, path = self.result.damaged, self._manifest
        for level, metas in by_level(catalog):
            if not 0 <= level <= _MAX_LEVEL:
                damaged(path, 0, f"segment {metas[0].number} is in level {level}")
            for left, right in pairwise(metas if level else []):
                if left.stop > right.start:
                    other = filenames.segment(left.number)
                    damaged(self._segment_path(right), 0, f"overlaps {other} in its level")
        newest = max((m.properties.last_stamp for m in catalog.segments.values()), default=0)
        if newest > catalog.last_stamp:
            damaged(path, 0, f"a segment has stamp {newest}, the last is {catalog.last_stamp}")
        numbers = [*catalog.segments, *catalog.wals]
        if max(numbers, default=0) >= catalog.next_number:
            damaged(path, 0, f"file {max(numbers)} exists, the next is {catalog.next_number}")
        if len(set(numbers)) != len(numbers):
            damaged(path, 0, "two files have one number")

    # --- the names

    def _check_names(self, catalog: Catalog | None) -> None:
        """Files that are not part of the database; a WAL that is newer than the manifest."""
        known = {self._manifest.rpartition("/")[2], filenames.CURRENT}
        if catalog is not None:
            known |= {filenames.segment(number) for number in catalog.segments}
            known |= {filenames.wal(number) for number in catalog.wals}
        for name in self._fs.listdir(self._directory):
            path = self._path(name)
            if name in (filenames.LOCK, filenames.LIVE):
                if self._fs.isdir(path):
                    self.result.damaged(path, 0, "a directory stands where a file must be")
            elif name not in known:
                self._check_stranger(name, path, catalog)

    def _check_stranger(self, name: str, path: str, catalog: Catalog | None) -> None:
        parsed = filenames.parse(name)
        if filenames.is_temporary(name):
            self.result.noted(path, 0, _TEMPORARY)
        elif parsed is None or not filenames.is_ours(name):
            self.result.noted(path, 0, _NOT_OURS)
        elif catalog is not None:
            newest = max(catalog.wals, default=0)
            if parsed.kind == "wal" and parsed.number > newest:
                chain = WalChain(self._fs, self._directory, catalog, self.result, self._advance)
                if not chain.check_unknown(parsed.number):
                    return
            self.result.noted(path, 0, _OBSOLETE)

    # --- what the files hold

    def _check_segment(self, meta: SegmentMeta) -> None:
        """Once for each segment as the manifest states it: the file never changes."""
        known = self._segments.get(meta)
        if known is None:
            known = self._read_segment(self._segment_path(meta), meta)
            if known.files:
                self._segments[meta] = known
        else:
            self._advance(known.bytes)
        self.result.add(known)

    def _read_segment(self, path: str, meta: SegmentMeta | None) -> Audit:
        own = Audit(path)
        try:
            found = SegmentFile(self._fs, path, meta.file_id if meta is not None else None)
            own.count(found.size)
            own.take(found.damage, found.size)
            if meta is not None:
                _check_meta(found, meta, own)
            walk = SegmentAudit(found, known=found.known, seed=self._seed, advance=self._advance)
            own.take(walk.errors(), found.size)
            own.objects, own.entries = walk.objects, walk.entries
        except OSError as error:
            own.damaged(path, 0, reason_of(error))
            own.files = own.bytes = 0  # it may be read the next time
        return own

    def _check_alone(self) -> None:
        """Without a manifest: each file by itself."""
        for number in self._numbers("segment"):
            self.result.add(self._read_segment(self._path(filenames.segment(number)), None))
        for number in self._numbers("wal"):
            WalChain(self._fs, self._directory, None, self.result, self._advance).read(number)

    # --- shared

    def _measure(self) -> None:
        """Bytes of the files that may be read."""
        self._total = self._done
        for kind in ("segment", "wal"):
            for number in self._numbers(kind):
                try:
                    self._total += self._fs.size(self._path(f"{number:06}.{kind}"))
                except OSError:
                    continue

    def _advance(self, size: int) -> None:
        self._done += size
        if self._progress is not None:
            self._progress(self._done, max(self._total, self._done))

    def _count(self, size: int) -> None:
        self.result.count(size)
        self._done += size

    def _numbers(self, *kinds: str) -> list[int]:
        parsed = map(filenames.parse, self._fs.listdir(self._directory))
        return [one.number for one in parsed if one is not None and one.kind in kinds]

    def _segment_path(self, meta: SegmentMeta) -> str:
        return self._path(filenames.segment(meta.number))

    def _path(self, name: str) -> str:
        return filenames.join(self._directory, name)


def _check_meta(found: SegmentFile, meta: SegmentMeta, own: Audit) -> None:
    """Whether the file is the one that the manifest means."""
    if found.file_id != meta.file_id:
        own.damaged(found.path, 0, "this is not the segment that the manifest names")
    elif found.size != meta.size:
        own.damaged(
            found.path,
            min(found.size, meta.size),
            f"the segment has {found.size:,} bytes, the manifest states {meta.size:,}",
        )
    if "properties" in found.known and found.properties != meta.properties:
        at = found.footer.properties.offset
        own.damaged(found.path, at, "properties differ from the manifest's")
