"""Files whose every checksum holds and whose content does not: what no flipped byte makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from msgspec import structs

from kvengine.fs.memory import MemoryFileSystem
from kvengine.inspection.audit.findings import Audit
from kvengine.storage import filenames, record
from kvengine.storage.checksum import place_seed, salt, seal, unseal
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


@dataclass
class Rows:
    """A block of rows. ``shift``: what is added to the places that its directory states."""

    names: list[bytes]
    rows: list[Row]
    plain: bool
    shift: list[int] = field(default_factory=list)

    def body(self) -> bytes:
        encoded = [block.encode_row(row) for row in self.rows]
        offsets, at = [], 5
        for number, one in enumerate(encoded):
            offsets.append(at + (self.shift[number] if self.shift else 0))
            at += len(one)
        directory = block._encode_directory(block.Directory(b"", self.names, offsets, self.plain))
        head = b"\xdd" + len(encoded).to_bytes(4, "big")
        return b"".join((head, *encoded, directory, len(directory).to_bytes(4, "little")))


@dataclass
class Forgery:
    """A segment taken apart: blocks and chunks in the order of the file, then the rest.

    ``gaps``: bytes put before a part (its number; those behind the blocks go on counting).
    """

    file_id: int
    parts: list[Rows | block.ChunkEntries]
    filtered: list[bytes]
    tombstones: Tombstones
    properties: Properties
    firsts: dict[int, bytes] = field(default_factory=dict)
    gaps: dict[int, int] = field(default_factory=dict)

    def blocks(self) -> list[Rows]:
        return [part for part in self.parts if isinstance(part, Rows)]

    def chunks(self) -> list[block.ChunkEntries]:
        return [part for part in self.parts if not isinstance(part, Rows)]

    def head(self) -> tuple[Rows, Row]:
        """The first head of a large row."""
        return next((b, r) for b in self.blocks() for r in b.rows if r.chunks is not None)

    def relink(self) -> None:
        """Let heads name their chunks where they lie after a change."""
        for at, part in enumerate(self.parts):
            if isinstance(part, Rows) and part.rows[0].chunks is not None:
                chunks, offset = [], 0
                for old, chunk in zip(part.rows[0].chunks, self.parts[at + 1 :], strict=False):
                    assert not isinstance(chunk, Rows)
                    length = len(block.encode_chunk(chunk)) + 6
                    chunks.append(structs.replace(old, offset=offset, length=length))
                    offset += length
                part.rows[0] = structs.replace(part.rows[0], chunks=chunks)

    def written(self) -> bytes:
        data, index = segment.encode_header(self.file_id), Index([], [], [])
        handles: list[Handle] = []

        def add(body: bytes, kind: int) -> Handle:
            nonlocal data
            data += bytes(self.gaps.get(len(handles), 0))
            at = len(data)
            data += seal(body, kind, block.PLAIN, place_seed(self.file_id, at))
            handles.append(Handle(at, len(data) - at))
            return handles[-1]

        for part in self.parts:
            if isinstance(part, Rows):
                first = self.firsts.get(len(index.firsts), part.names[0])
                handle = add(part.body(), block.ROWS)
                index.firsts.append(first)
                index.offsets.append(handle.offset)
                index.lengths.append(handle.length)
            else:
                add(block.encode_chunk(part), block.CHUNK)
        places = (
            add(filter.build(self.filtered, len(self.filtered), 7), block.FILTER),
            add(segment.encode_tombstones(self.tombstones), block.TOMBSTONES),
            add(segment.encode_index(index), block.INDEX),
            add(segment.encode_properties(self.properties), block.PROPERTIES),
        )
        return data + segment.encode_footer(Footer(*places, self.file_id))


def taken_apart(fs: MemoryFileSystem, path: str) -> Forgery:
    reader, data = SegmentReader(fs, path), fs.read_bytes(path)
    parts: list[Rows | block.ChunkEntries] = []
    for at in range(reader.block_count):
        offset, length = reader.block_handle(at)[1]
        seed = place_seed(reader.file_id, offset)
        body, _ = unseal(data[offset : offset + length], block.ROWS, seed)
        parts.append(Rows(*block.decode_rows(body)))
        for row in reader.read_block(at)[1]:
            parts += [reader.chunk(chunk) for chunk in row.chunks or ()]
    names = [name for part in parts if isinstance(part, Rows) for name in part.names]
    return Forgery(reader.file_id, parts, names, reader.tombstones, reader.properties)


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
    commits = wal.read(fs, "/db", parsed.number, stated.database_id).commits
    put(fs, path, wal_bytes(header(stated), change(commits)))


def wal_bytes(header: Header, commits: Sequence[Commit | bytes]) -> bytes:
    seed = salt(header.database_id, header.number)
    mark = record.marker(seed)
    data = wal_format.encode_header(header)
    for one in commits:
        payload = one if isinstance(one, bytes) else wal_format.encode_commit(one)
        data += record.encode(payload, seed, mark, wal_format.HEADER_SIZE)
    return data


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
