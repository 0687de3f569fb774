"""Files whose every checksum holds and whose content does not: what no flipped byte makes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
from msgspec import structs

from kvengine.fs.memory import MemoryFileSystem
from kvengine.inspection.audit.findings import Audit
from kvengine.storage import filenames, record
from kvengine.storage import row as rows
from kvengine.storage.checksum import TRAILER_SIZE, place_seed, salt, seal
from kvengine.storage.manifest import file as manifest
from kvengine.storage.manifest.file import Catalog, ManifestWriter
from kvengine.storage.manifest.format import SegmentMeta
from kvengine.storage.range_tombstones import Tombstones
from kvengine.storage.row import Row
from kvengine.storage.segment import block, filter
from kvengine.storage.segment import format as segment
from kvengine.storage.segment.format import Footer, Handle, Index, Properties
from kvengine.storage.segment.reader import SegmentReader
from kvengine.storage.wal import file as wal
from kvengine.storage.wal import format as wal_format
from kvengine.storage.wal.format import Commit, Header
from tests.inspection.damage_subjects import Subject


def put(fs: MemoryFileSystem, path: str, data: bytes) -> None:
    """Replace a file, or make it."""
    if fs.exists(path):
        fs.unlink(path)
    file = fs.create(path)
    file.write(data)
    file.sync()
    file.close()


def encoded(row: Row) -> bytes:
    """A row as it lies in a file, whatever it says: `row.encode` writes sound heads only."""
    if row.chunks is None:
        return rows.encode(row)
    fields = (row.flags, row.version, row.expires_at, row.entries, row.completed_at, row.chunks)
    return msgspec.msgpack.encode(fields)


@dataclass
class Rows:
    """A block of rows. ``shift``: what is added to the places that its slots state.

    ``raw``: rows by number that stand there as these bytes. ``count``: what its array states.
    """

    names: list[bytes]
    rows: list[Row]
    shift: list[int] = field(default_factory=list)
    raw: dict[int, bytes] = field(default_factory=dict)
    count: int | None = None

    def body(self) -> bytes:
        made = [self.raw.get(at, encoded(row)) for at, row in enumerate(self.rows)]
        body = bytearray(block.encode_rows(self.names, made))
        table = len(body) - 4 - 8 * len(made)
        for number, more in enumerate(self.shift):
            (stated,) = struct.unpack_from("<I", body, table + 4 * number)
            struct.pack_into("<I", body, table + 4 * number, stated + more)
        if self.count is not None:
            struct.pack_into(">I", body, 1, self.count)
        return bytes(body)


@dataclass
class Forgery:
    """A segment taken apart: blocks and chunks in the order of the file, then the rest.

    ``seed``: of the filter. ``unfiltered``: the kinds of items that it leaves out. ``firsts``,
    ``places``: what the index states instead of the first object, or the offset, of a block.
    ``gaps``: bytes put before a part (its number; those behind the blocks go on counting).
    """

    file_id: int
    parts: list[Rows | Row]
    seed: int
    tombstones: Tombstones
    properties: Properties
    unfiltered: set[str] = field(default_factory=set)
    firsts: dict[int, bytes] = field(default_factory=dict)
    places: dict[int, int] = field(default_factory=dict)
    gaps: dict[int, int] = field(default_factory=dict)

    def blocks(self) -> list[Rows]:
        return [part for part in self.parts if isinstance(part, Rows)]

    def chunks(self) -> list[Row]:
        return [part for part in self.parts if isinstance(part, Row)]

    def head(self) -> tuple[Rows, Row]:
        """The first head of a large row."""
        return next((b, r) for b in self.blocks() for r in b.rows if r.chunks is not None)

    def relink(self) -> None:
        """Let heads name their chunks where they lie after a change."""
        for at, part in enumerate(self.parts):
            if isinstance(part, Rows) and part.rows[0].chunks is not None:
                chunks, offset = [], 0
                for old, chunk in zip(part.rows[0].chunks, self.parts[at + 1 :], strict=False):
                    assert isinstance(chunk, Row)
                    length = len(encoded(chunk)) + TRAILER_SIZE
                    chunks.append(structs.replace(old, offset=offset, length=length))
                    offset += length
                part.rows[0] = structs.replace(part.rows[0], chunks=chunks)

    def items(self) -> list[int]:
        """What the filter knows."""
        found: list[tuple[str, int]] = []
        digest = 0
        for part in self.parts:
            held = zip(part.names, part.rows, strict=True) if isinstance(part, Rows) else ()
            for name, row in held:
                digest = filter.object_digest(name, self.seed)
                found.append(("object", digest))
                if row.flags & rows.BARRIER:
                    found.append(("barrier", filter.barrier_digest(digest)))
                found += [("entry", filter.entry_digest(key, digest)) for key in row.entries]
            if isinstance(part, Row):
                found += [("entry", filter.entry_digest(key, digest)) for key in part.entries]
        return [item for kind, item in found if kind not in self.unfiltered]

    def written(self) -> bytes:
        data, index = segment.encode_header(self.file_id), Index()
        handles: list[Handle] = []

        def add(body: bytes, kind: int) -> Handle:
            nonlocal data
            data += bytes(self.gaps.get(len(handles), 0))
            at = len(data)
            data += seal(body, kind, block.UNCOMPRESSED, place_seed(self.file_id, at))
            handles.append(Handle(at, len(data) - at))
            return handles[-1]

        for part in self.parts:
            if isinstance(part, Rows):
                number = len(index.firsts)
                handle = add(part.body(), block.ROWS)
                first = self.firsts.get(number, part.names[0])
                index.add(first, self.places.get(number, handle.offset), handle.length)
            else:
                add(encoded(part), block.CHUNK)
        places = (
            add(filter.build(self.items(), self.seed), block.FILTER),
            add(segment.encode_tombstones(self.tombstones), block.TOMBSTONES),
            add(segment.encode_index(index), block.INDEX),
            add(segment.encode_properties(self.properties), block.PROPERTIES),
        )
        return data + segment.encode_footer(Footer(*places, self.file_id))


def taken_apart(fs: MemoryFileSystem, path: str) -> Forgery:
    reader = SegmentReader(fs, path)
    parts: list[Rows | Row] = []
    for at in range(reader.block_count):
        found = reader.block(at)
        parts.append(Rows(list(found.names), [rows.decode(data) for data in found.rows]))
        for row in reader.read_block(at)[1]:
            parts += [reader.chunk(chunk) for chunk in row.chunks or ()]
    return Forgery(reader.file_id, parts, reader.seed, reader.tombstones, reader.properties)


def forge_segment(fs: MemoryFileSystem, path: str, change: Callable[[Forgery], object]) -> Forgery:
    """Change a segment, and let the manifest state it as it then is."""
    forgery = taken_apart(fs, path)
    change(forgery)
    data = forgery.written()
    put(fs, path, data)
    parsed = filenames.parse(path.rpartition("/")[2])
    assert parsed is not None

    def restate(catalog: Catalog) -> None:
        old = catalog.segments[parsed.number]
        new = SegmentMeta(old.number, old.level, old.file_id, len(data), forgery.properties)
        catalog.segments[parsed.number] = new

    forge_manifest(fs, restate)
    return forgery


def forge_manifest(fs: MemoryFileSystem, change: Callable[[Catalog], object]) -> str:
    """A new manifest in force, which states what the old one did, changed."""
    number = manifest.read_current(fs, "/db")
    catalog = manifest.read(fs, "/db", number)
    fresh = catalog.next_number
    catalog.next_number += 1
    change(catalog)
    writer = ManifestWriter(fs, "/db", catalog, fresh)
    writer.close()
    fs.unlink(filenames.join("/db", filenames.manifest(number)))
    return writer.path


def forge_wal(
    fs: MemoryFileSystem,
    path: str,
    change: Callable[[list[Commit]], Sequence[Commit | bytes]] = lambda commits: commits,
    header: Callable[[Header], Header] = lambda header: header,
) -> None:
    """Other commits (or payloads) in a WAL, another header over them."""
    parsed = filenames.parse(path.rpartition("/")[2])
    assert parsed is not None
    stated = wal_format.decode_header(fs.read_bytes(path))
    commits: list[Commit] = []
    wal.read(fs, "/db", parsed.number, stated.database_id, take=commits.append)
    put(fs, path, wal_bytes(header(stated), change(commits)))


def wal_bytes(header: Header, commits: Sequence[Commit | bytes]) -> bytes:
    seed = salt(header.database_id, header.number)
    mark = record.marker(seed)
    data = wal_format.encode_header(header)
    for one in commits:
        data += record.encode(payload_of(one), seed, mark, wal_format.HEADER_SIZE)
    return data


def payload_of(one: Commit | bytes) -> bytes:
    if isinstance(one, bytes):
        return one
    objects = [((service, key), row) for service, key, row in one.rows]
    return wal_format.encode_commit(one.stamp, objects, *one[2:])


def told(found: Audit, path: str, reason: str) -> bool:
    """Whether an audit says so of the file."""
    return any(one.path == path and reason in one.reason for one in found.damage)


def large(subject: Subject) -> str:
    """The segment with the largest rows."""
    return max(subject.paths("segment"), key=subject.fs.size)


def small(subject: Subject) -> str:
    """The largest one that has blocks of several rows and no large row."""
    fs = subject.fs
    plain = [path for path in subject.paths("segment") if not taken_apart(fs, path).chunks()]
    return max(plain, key=fs.size)
