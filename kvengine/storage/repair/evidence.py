"""What a damaged directory still proves: rows, range tombstones, and a list of what is lost.

Reads only. Every row that comes out has passed its checksums.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from kvengine.errors import CorruptionError
from kvengine.fs.base import FileSystem
from kvengine.storage import filenames
from kvengine.storage import range_tombstones as tombstones
from kvengine.storage.manifest import file as manifest
from kvengine.storage.manifest.file import Catalog
from kvengine.storage.manifest.format import HEADER_SIZE, Shape, decode_header
from kvengine.storage.names import Name, after, decode_object, encode_object, is_object
from kvengine.storage.range_tombstones import Tombstones
from kvengine.storage.row import Row, decode, has_sound_numbers, make, overlay
from kvengine.storage.segment.salvage import SalvageReader
from kvengine.storage.wal import format as wal_format
from kvengine.storage.wal.salvage import Hole, WalSalvage, salvage

NamedRow = tuple[bytes, Row]


class Loss(NamedTuple):
    """Something that could not be read at ``offset`` of ``file``, and why.

    ``start``, ``stop``: the objects that it may concern lie in ``[start, stop)``;
    None if that is not known. Older values of these objects may show again.
    """

    file: str
    offset: int
    reason: str
    start: Name | None = None
    stop: Name | None = None

    def __str__(self) -> str:
        what = f"{self.file}, offset {self.offset:,}: {self.reason}"
        if self.start is None and self.stop is None:
            return f"{what}; of any object, older state may show"
        low = "the first object" if self.start is None else repr(self.start)
        high = "the last" if self.stop is None else f"before {self.stop!r}"
        return f"{what}; from {low} to {high}, older state may show"


class RepairReport(NamedTuple):
    """What `kvengine.repair` saved and what it could not.

    ``objects`` and ``entries`` are those in the new database, expired ones that
    were still on disk included. ``lost`` is empty if nothing was lost. ``notes``
    says what else was found, also damage that lost nothing.
    """

    path: str
    into: str
    objects: int
    entries: int
    lost: list[Loss]
    notes: list[str]

    def __str__(self) -> str:
        saved = f"{self.into}: {self.objects:,} objects, {self.entries:,} entries of {self.path}"
        lost = [f"lost: {loss}" for loss in self.lost] or ["nothing was lost"]
        return "\n".join([saved, *lost, *(f"note: {note}" for note in self.notes)])


@dataclass
class Evidence:
    """What was found. ``lost`` is complete only after ``pieces`` have been walked."""

    pieces: list[Iterable[NamedRow]] = field(default_factory=list)
    tombstones: Tombstones = ()
    lost: list[Loss] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    shape: Shape | None = None
    last_stamp: int = 0
    now: int = 0
    retention: dict[str, int] = field(default_factory=dict)


def gather(fs: FileSystem, directory: str) -> Evidence:
    """Return all that can be read in a directory; raise UnsupportedFormat for another format."""
    found = _Search(fs, directory)
    found.find_catalog()
    found.read_wals()
    found.read_segments()
    return found.evidence


class _Search:
    """One look through a directory."""

    def __init__(self, fs: FileSystem, directory: str) -> None:
        self._fs, self._directory = fs, directory
        self.evidence = Evidence()
        self._catalog: Catalog | None = None
        self._database_id: bytes | None = None
        self._numbers: dict[str, list[int]] = {"wal": [], "segment": [], "manifest": []}
        for name in fs.listdir(directory):
            parsed = filenames.parse(name)
            if parsed is not None:
                self._numbers[parsed.kind].append(parsed.number)
            elif name not in (filenames.CURRENT, filenames.LOCK, filenames.LIVE) and not (
                filenames.is_temporary(name)
            ):
                self.evidence.notes.append(f"file {name!r} is not of the database; not copied")

    # --- which files

    def find_catalog(self) -> None:
        """Read the manifest in force, or the newest sound one if CURRENT is lost."""
        try:
            candidates = [manifest.read_current(self._fs, self._directory)]
        except (CorruptionError, OSError) as error:
            self._lose_manifest(filenames.CURRENT, error)
            candidates = sorted(self._numbers["manifest"], reverse=True)
        for number in candidates:
            self._identify(number)
            try:
                self._adopt(manifest.read(self._fs, self._directory, number))
            except (CorruptionError, OSError) as error:
                self._lose_manifest(filenames.manifest(number), error)
            else:
                break
        else:
            self.evidence.notes.append(
                "the retention of services is not known; if it was set, set it again"
            )
        self._choose_files()

    def _lose_manifest(self, name: str, error: Exception) -> None:
        self.evidence.notes.append(f"{name}: {_reason(error)}")

    def _identify(self, number: int) -> None:
        """Take the database's identity from a manifest's header, even if the rest is damaged."""
        path = filenames.join(self._directory, filenames.manifest(number))
        try:
            header = decode_header(self._fs.read_bytes(path)[:HEADER_SIZE])
        except (ValueError, OSError):
            return
        self._database_id = self._database_id or header.database_id

    def _adopt(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.evidence.shape = catalog.shape
        self.evidence.last_stamp, self.evidence.now = catalog.last_stamp, catalog.now
        self.evidence.retention = catalog.retention

    def _choose_files(self) -> None:
        """Choose only the files that the manifest states if all are there, else every file."""
        catalog, numbers = self._catalog, self._numbers
        if catalog is not None:
            gone = [filenames.segment(n) for n in catalog.segments if n not in numbers["segment"]]
            gone += [filenames.wal(n) for n in catalog.wals if n not in numbers["wal"]]
            for name in gone:
                self._lose(name, 0, "the file is missing")
            if not gone:
                newest = max(catalog.wals, default=0)
                numbers["segment"] = sorted(catalog.segments)
                numbers["wal"] = [n for n in numbers["wal"] if n in catalog.wals or n > newest]
                return
        self.evidence.notes.append(
            "which files were in force is not known: all were read, and state that was"
            " cleared or had been replaced may show where a newer file is lost"
        )

    # --- WAL files

    def read_wals(self) -> None:
        headers = {number: self._wal_header(number) for number in self._numbers["wal"]}
        if self._database_id is None:
            ids = [header.database_id for header in headers.values() if header is not None]
            self._database_id = ids[0] if ids else None
        proofs = {h.previous: h.proven for h in headers.values() if h is not None and h.previous}
        if self._catalog is not None:
            proofs |= self._catalog.wal_ends
        for number in sorted(headers):
            self._read_wal(number, headers[number], proofs.get(number))

    def _wal_header(self, number: int) -> wal_format.Header | None:
        """Return the header of a WAL file, None if it is damaged."""
        try:
            return wal_format.decode_header(self._bytes(filenames.wal(number))[:64])
        except (ValueError, OSError):
            return None

    def _read_wal(self, number: int, header: wal_format.Header | None, end: int | None) -> None:
        """Read what can be read of a WAL file.

        ``end``: where its content is known to end, synced. What lies behind was dropped.
        """
        name = filenames.wal(number)
        try:
            data = self._bytes(name)
        except OSError as error:
            self._lose(name, 0, _reason(error))
            return
        if self._database_id is None:
            if data.strip(b"\0"):
                self._lose(name, 0, "no header tells which database this WAL belongs to")
            return
        if header is not None and header.database_id != self._database_id:
            self._lose(name, 0, "the WAL is of another database")
            return
        found = salvage(data[:end], self._database_id, number)
        if header is None and (found.commits or (end or 0) > wal_format.HEADER_SIZE):
            self.evidence.notes.append(f"{name}: header is damaged; its commits were found by scan")
        self._report_holes(name, found, len(data), end)
        marks, rows = _layer_of(found.commits)
        self.evidence.pieces.append(sorted(rows.items()))
        self._hide(marks)
        if found.commits:
            stamp = found.commits[-1].stamp
            self.evidence.last_stamp = max(self.evidence.last_stamp, stamp)

    def _report_holes(self, name: str, found: WalSalvage, size: int, end: int | None) -> None:
        proven = max(found.proven, end or 0)
        holes = list(found.holes)
        if end is not None and size < end:
            last = found.commits[-1].stamp if found.commits else 0
            holes.append(Hole(size, end, last))
        behind = {hole: [c.stamp for c in found.commits if c.stamp > hole.after] for hole in holes}
        for hole in holes:
            length = hole.end - hole.start
            if hole.start >= proven and not behind[hole]:
                self.evidence.notes.append(
                    f"{name}: a torn tail of {length:,} bytes at offset {hole.start:,} was dropped"
                )
                continue
            span = f"after stamp {hole.after}"
            if behind[hole]:
                span += f" and before {behind[hole][0]}"
            self._lose(name, hole.start, f"{length:,} bytes are damaged: commits {span}")

    # --- segments

    def read_segments(self) -> None:
        stated = self._catalog.segments if self._catalog is not None else {}
        ids = {meta.file_id for meta in stated.values()}
        for number in self._numbers["segment"]:
            name = filenames.segment(number)
            meta = stated.get(number)
            path = filenames.join(self._directory, name)
            try:
                reader = SalvageReader(self._fs, path, meta.file_id if meta is not None else None)
            except OSError as error:
                self._lose_segment(name, _reason(error), number)
                continue
            if meta is not None and reader.file_id not in ids:
                self._lose_segment(name, "this is not the segment that the manifest names", number)
            elif not reader.file_id:
                self._lose_segment(name, "header and footer are damaged: lost whole", number)
            else:
                self._read_segment(name, number, reader)

    def _read_segment(self, name: str, number: int, reader: SalvageReader) -> None:
        for error in reader.damage:
            self.evidence.notes.append(f"{name}, offset {error.offset:,}: {error.reason}")
        if "tombstones" in reader.known:
            self._hide(reader.tombstones)
        else:
            self._lose_segment(name, "range tombstones are lost: what they cleared", number)
        if reader.unreachable is not None:
            at = reader.unreachable
            self._lose_segment(name, "the index and a block are damaged: all behind", number, at)
        self.evidence.pieces.append(self._rows(name, reader))

    def _rows(self, name: str, reader: SalvageReader) -> Iterator[NamedRow]:
        """Yield the rows of a segment in order. What is damaged is left out and reported."""
        last = b""
        for at in range(reader.block_count):
            _, handle = reader.block_handle(at)
            try:
                names, rows = reader.read_block(at)
            except (CorruptionError, OSError) as error:
                self._lose(name, handle.offset, _reason(error), *reader.range_of(at))
                continue
            for encoded, stored in zip(names, rows, strict=True):
                try:
                    row, gaps = reader.whole(stored)
                    sound = _sound(encoded, last, row)
                except (ValueError, OSError) as error:
                    self._lose(name, handle.offset, _reason(error), encoded, after(encoded))
                    continue
                for first, following in gaps:
                    end = "the last" if following is None else f"before {following!r}"
                    reason = f"a chunk is damaged: entries from {first!r} to {end}"
                    self._lose(name, handle.offset, reason, encoded, after(encoded))
                last = encoded
                yield encoded, sound

    # --- shared

    def _bytes(self, name: str) -> bytes:
        return self._fs.read_bytes(filenames.join(self._directory, name))

    def _hide(self, marks: Tombstones) -> None:
        self.evidence.tombstones = tombstones.union(marks, self.evidence.tombstones)

    def _lose_segment(self, name: str, reason: str, number: int, offset: int = 0) -> None:
        """Report a loss, with the range that the manifest states for the segment."""
        meta = self._catalog.segments.get(number) if self._catalog is not None else None
        if meta is None:
            self._lose(name, offset, reason)
        else:
            self._lose(name, offset, reason, meta.start, meta.stop)

    def _lose(
        self,
        name: str,
        offset: int,
        reason: str,
        start: bytes | None = None,
        stop: bytes | None = None,
    ) -> None:
        self.evidence.lost.append(Loss(name, offset, reason, _name(start), _name(stop)))


def _layer_of(commits: Iterable[wal_format.Commit]) -> tuple[Tombstones, dict[bytes, Row]]:
    """Return the range tombstones and rows of the layer that a WAL's commits, in order, make."""
    rows: dict[bytes, Row] = {}
    marks: Tombstones = ()
    for commit in commits:
        for start, stop in commit.tombstones:
            marks = tombstones.add(marks, start, stop, commit.stamp)
        for service, key, data in commit.rows:
            name, row = encode_object(service, key), decode(data)
            old = rows.get(name)
            if old is None or old.version < tombstones.covering(marks, name):
                rows[name] = row
            else:
                rows[name] = overlay(row, old)
    if marks:
        rows = {n: r for n, r in rows.items() if r.version >= tombstones.covering(marks, n)}
    return marks, rows


def _name(encoded: bytes | None) -> Name | None:
    try:
        return decode_object(encoded) if encoded is not None else None
    except ValueError:
        return None


def _sound(name: bytes, last: bytes, row: Row) -> Row:
    """Return a row whose checksum matched, with the flags that its content has.

    Raise ValueError if it or its object cannot follow object ``last`` in a segment.
    """
    if not is_object(name) or name <= last:
        raise ValueError("an object is not encoded as one, or is out of order")
    made = make(
        row.version,
        row.entries,
        cleared=row.cleared,
        extends=row.extends,
        expires_at=row.expires_at,
        completed_at=row.completed_at,
    )
    if not has_sound_numbers(made):
        raise ValueError("a row has a version or a time that is out of range")
    return made


def _reason(error: Exception) -> str:
    if isinstance(error, CorruptionError):
        return error.reason
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
