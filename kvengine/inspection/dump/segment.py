"""A segment file as text: its parts, its rows, and what is damaged. Needs the file alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from kvengine.errors import CorruptionError
from kvengine.fs.base import FileSystem
from kvengine.fs.disk import DiskFileSystem
from kvengine.inspection import escape
from kvengine.inspection.dump import parts
from kvengine.inspection.dump.parts import Item
from kvengine.storage import row as rows
from kvengine.storage.repair.verify_segment import SegmentAudit, verify_segment
from kvengine.storage.row import Chunk, Entry, Row
from kvengine.storage.segment.format import FORMAT_VERSION, HEADER_SIZE, Handle
from kvengine.storage.segment.reader import SegmentReader
from kvengine.storage.segment.salvage import SalvageReader

MAX_WALKED = 1 << 30
"""Bytes of the largest file that is searched for blocks where its index is damaged."""

_PARTS = ("filter", "tombstones", "index", "properties")


def read(
    path: str, fs: FileSystem | None = None, decode: Callable[[bytes], Row] = rows.decode
) -> SegmentFile:
    """Return the segment, with what is damaged left out and named in ``damage``.

    ``decode`` makes rows of their bytes, or raises ValueError. OSError where there is no file.
    """
    found = SegmentFile(fs if fs is not None else DiskFileSystem(), path)
    found.decode_row = decode
    return found


class SegmentFile(SalvageReader):
    """A segment of which some parts may be damaged, and which may be any file at all."""

    __slots__ = ("decode_row",)

    def __init__(self, fs: FileSystem, path: str, file_id: int | None = None) -> None:
        """See `SalvageReader`."""
        super().__init__(fs, path, file_id)
        self.decode_row: Callable[[bytes], Row] = rows.decode

    def read_block(self, at: int) -> tuple[list[bytes], list[Row]]:
        """Return block number ``at``: encoded objects and their rows, heads with chunks placed."""
        found, offset = self.block(at), self.block_handle(at)[1].offset
        decoded = self._checked(offset, lambda: [self.decode_row(row) for row in found.rows])
        placed = [row if row.chunks is None else self._with_places(row, at) for row in decoded]
        return found.names, placed

    def chunk(self, chunk: Chunk) -> Row:
        """Return a part of a large row's entries, as a row."""
        data = self.chunk_bytes(chunk)
        return self._checked(chunk.offset, lambda: self.decode_row(data))

    def note(self, error: CorruptionError) -> None:
        """Offsets never lie behind the file, where a damaged index may point."""
        at = max(0, min(error.offset, self.size))
        self.damage.append(CorruptionError(error.path, at, error.reason))

    def _walk_all(self) -> dict[int, Handle]:
        """Not of a file too large for any segment: the walk holds it in memory."""
        if self.size > MAX_WALKED:
            reason = "without the index a file of this size is not searched for blocks"
            self.note(CorruptionError(self.path, 0, reason))
            self.walked_to: int | None = HEADER_SIZE
            self.unreachable: int | None = HEADER_SIZE
            return {}
        told = len(self.damage)
        places = super()._walk_all()
        new, self.damage[told:] = self.damage[told:], []
        for error in new:
            self.note(error)
        return places


def damage(path: str, fs: FileSystem | None = None) -> list[CorruptionError]:
    """Check every checksum, order, range and count: all damage found, empty for a sound file."""
    seam = fs if fs is not None else DiskFileSystem()
    try:
        return list(verify_segment(SegmentReader(seam, path)))
    except CorruptionError:
        found = SegmentFile(seam, path)
        return found.damage + list(SegmentAudit(found, known=found.known).errors())


# --- lines for people


def describe(found: SegmentFile, limit: int | None = 0) -> Iterator[str]:
    """All of it in lines, with ``limit`` rows, None for every one. ``found.damage`` grows."""
    yield f"segment {escape.text(found.path)}, {found.size:,} bytes"
    yield from footer(found)
    yield from properties(found)
    yield from index(found)
    yield from range_tombstones(found)
    yield from listed(found, limit)


def footer(found: SegmentFile) -> Iterator[str]:
    """Identity, format, and where the parts lie."""
    if not found.known & {"footer", "header"}:
        yield "footer: lost, and the header too: without the file's identity nothing can be read"
        return
    yield f"identity {found.file_id:#018x}, format {FORMAT_VERSION}"
    if "footer" not in found.known:
        yield "footer: lost"
        return
    yield "footer"
    for name, handle in _handles(found):
        state = "" if name in found.known else ", damaged"
        yield f"  {name:<11} offset {handle.offset:,}, {handle.length:,} bytes{state}"


def _handles(found: SegmentFile) -> Iterator[tuple[str, Handle]]:
    stated = found.footer
    handles = (stated.filter, stated.tombstones, stated.block_index, stated.properties)
    return zip(_PARTS, handles, strict=True)


def properties(found: SegmentFile) -> Iterator[str]:
    if "properties" not in found.known:
        yield "properties: lost"
        return
    yield "properties"
    yield from parts.properties_lines(found.properties)


def index(found: SegmentFile) -> Iterator[str]:
    """The blocks of rows: where each lies and its first object."""
    if found.walked_to is not None:
        yield f"index: lost; blocks found by walking the file to offset {found.walked_to:,}"
    yield f"blocks of rows: {found.block_count:,}"
    for at in range(found.block_count):
        first, handle = found.block_handle(at)
        yield (
            f"  {at:>5}  offset {handle.offset:,}, {handle.length:,} bytes,"
            f" from {escape.object_name(first)}"
        )


def range_tombstones(found: SegmentFile) -> Iterator[str]:
    if "tombstones" not in found.known:
        yield "range tombstones: lost"
        return
    yield f"range tombstones: {len(found.tombstones):,}"
    for start, stop, stamp in found.tombstones:
        yield f"  from {escape.bound(start)} to before {escape.bound(stop)},"
        yield f"    stamp {parts.stamp_text(stamp)}"


def listed(found: SegmentFile, limit: int | None) -> Iterator[str]:
    """Up to ``limit`` rows (None: all), block by block; unreadable blocks are named in place."""
    if limit == 0:
        return
    yield "rows"
    shown = 0
    for block in _blocks(found):
        if block.error is not None:
            yield f"  block {block.at}, offset {block.error.offset:,}: {block.error.reason}"
        for name, row in block.rows():
            if limit is not None and shown >= limit:
                yield "  …"
                return
            yield from _row(found, block, name, row)
            shown += 1


def _row(found: SegmentFile, block: _Block, name: bytes, head: Row) -> Iterator[str]:
    yield f"  {escape.object_name(name)}"
    chunks = "" if head.chunks is None else f", {len(head.chunks):,} chunks"
    yield f"    version {parts.stamp_text(head.version)}{chunks}"
    if marks := parts.row_marks(head):
        yield f"    {marks}"
    for part in _pieces(found, block, head):
        if isinstance(part, _Lost):
            end = "the end" if part.stop is None else escape.text(part.stop)
            yield f"    lost: entries from {escape.text(part.start)} to before {end}"
            continue
        for state_key, entry in part:
            yield parts.entry_line("    ", state_key, entry)


# --- dicts for programs


def records(found: SegmentFile, limit: int | None = None) -> Iterator[Item]:
    """The same as JSON-able dicts (parts.py), with up to ``limit`` rows (None: all).

    One ``segment``, then ``properties``, each ``range_tombstone``, each ``block`` followed
    by each ``row`` in it, and each ``damage`` where it was met.
    """
    met = parts.Met(found.damage)
    yield {"segment": _identity(found)}
    yield from met.new()
    if "properties" in found.known:
        yield {"properties": parts.properties_dict(found.properties)}
    for start, stop, stamp in found.tombstones:
        ends = {"from": parts.bound(start), "to": parts.bound(stop)}
        yield {"range_tombstone": {**ends, "stamp": stamp}}
    left = limit
    for block in _blocks(found):
        place = {"number": block.at, "offset": block.offset, "length": block.length}
        yield {"block": {**place, "first": parts.object_dict(block.first)}}
        for name, row in block.rows():
            if left == 0:
                break
            left = left if left is None else left - 1
            yield {"row": _row_dict(found, block, name, row)}
        yield from met.new()


def _identity(found: SegmentFile) -> dict[str, Any]:
    lost = [part for part in ("header", "footer", *_PARTS) if part not in found.known]
    made: dict[str, Any] = {"path": found.path, "bytes": found.size, "lost": lost}
    if found.known & {"footer", "header"}:
        made |= {"identity": f"{found.file_id:#018x}", "format": FORMAT_VERSION}
    if "footer" in found.known:
        made["footer"] = {name: handle._asdict() for name, handle in _handles(found)}
    return made


def _row_dict(found: SegmentFile, block: _Block, name: bytes, head: Row) -> dict[str, Any]:
    made = {**parts.object_dict(name), **parts.row_dict(head)}
    if head.chunks is not None:
        made["chunks"] = [
            {"offset": one.offset, "length": one.length, "entries": one.entries}
            for one in head.chunks
        ]
    made["entries"] = entries = []
    for part in _pieces(found, block, head):
        if isinstance(part, _Lost):
            made.setdefault("lost", []).append({"from": part.start, "to": part.stop})
            continue
        entries += [parts.entry_dict(state_key, entry) for state_key, entry in part]
    return made


# --- what both show


class _Block:
    """A block of rows: ``content`` is empty where ``error`` says why it cannot be read."""

    def __init__(self, at: int, first: bytes, handle: Handle) -> None:
        self.at, self.first = at, first
        self.offset, self.length = handle
        self.edge = handle.offset + handle.length  # behind it and its chunks
        self.content: tuple[list[bytes], list[Row]] = [], []
        self.error: CorruptionError | None = None

    def rows(self) -> Iterator[tuple[bytes, Row]]:
        return zip(*self.content, strict=True)


class _Lost(NamedTuple):
    """State keys from the first to before the second (None: the end) cannot be read."""

    start: str
    stop: str | None


def _blocks(found: SegmentFile) -> Iterator[_Block]:
    """Each block once: a damaged index that points back does not make the dump endless."""
    edge = 0
    for at in range(found.block_count):
        first, handle = found.block_handle(at)
        block = _Block(at, first, handle)
        try:
            if handle.offset < edge:
                raise CorruptionError(found.path, handle.offset, "block overlaps the one before")
            block.content = found.read_block(at)
        except CorruptionError as error:
            found.note(error)
            block.error = found.damage[-1]
        yield block
        edge = max(edge, block.edge)


def _pieces(
    found: SegmentFile, block: _Block, head: Row
) -> Iterator[Iterable[tuple[str, Entry]] | _Lost]:
    """The entries of a row: its own, or chunk by chunk, each read once."""
    chunks = head.chunks
    if chunks is None:
        yield head.entries.items()
        return
    for number, chunk in enumerate(chunks):
        try:
            if chunk.offset < block.edge:
                raise CorruptionError(found.path, chunk.offset, "chunk overlaps what is before it")
            block.edge = max(block.edge, chunk.offset + chunk.length)
            yield found.chunk(chunk).entries.items()
        except CorruptionError as error:
            found.note(error)
            following = chunks[number + 1].first if number + 1 < len(chunks) else None
            yield _Lost(chunk.first, following)
