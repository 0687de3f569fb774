"""Reading what is left of a damaged segment, for repair and inspection. Never for the engine.

Every block that comes out has passed its checksum, which binds it to its file
and place. So salvage may lose data, but cannot invent any.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from crc32c import crc32c

from kvengine.errors import CorruptionError
from kvengine.fs.base import FileSystem
from kvengine.storage.checksum import TRAILER_SIZE, place_seed
from kvengine.storage.frames import Frame
from kvengine.storage.range_tombstones import Tombstones
from kvengine.storage.row import LARGE, Entry, Row
from kvengine.storage.segment import block, filter
from kvengine.storage.segment import format as segment
from kvengine.storage.segment.block import RowBlock
from kvengine.storage.segment.format import Footer, Handle, Index, Properties
from kvengine.storage.segment.reader import SegmentReader

_T = TypeVar("_T")

_TRAILER_START = re.compile(rb"(?=[\x01-\x06]\x00)")
_PASS_ALL = 2**64 - 1


class Sealed(NamedTuple):
    """A sound block found by walking a file: where it lies and its kind."""

    handle: Handle
    kind: int


class SalvageReader(SegmentReader):
    """A segment of which some parts may be damaged.

    ``damage``: what was found wrong with the fixed parts. ``known``: those of
    the fixed parts ("footer", "header", "filter", "tombstones", "index",
    "properties") that are as they were written. If the index is damaged,
    blocks are found by walking the file from its start to the first bad one.
    ``walked_to`` is then the byte at which that walk ended, else None.
    ``unreachable`` is the byte behind which rows may lie that were not found.
    """

    __slots__ = ("damage", "known", "unreachable", "walked_to")

    def __init__(self, fs: FileSystem, path: str, file_id: int | None = None) -> None:
        """Raise OSError if the file cannot be opened. ``file_id``: as the manifest states it."""
        self.path = path
        self._disk = self._map = None
        self._frames = None  # a tool reads each block once: none stays in memory
        self.frames: dict[int, Frame] = {}
        self.damage: list[CorruptionError] = []
        self.known: set[str] = set()
        self.walked_to: int | None = None
        self.unreachable: int | None = None
        self._file = fs.open(path)
        self.size: int = self._file.size()
        tail_at = max(0, self.size - segment.FOOTER_SIZE)
        tail = self._file.pread(segment.FOOTER_SIZE, tail_at)
        header = self._file.pread(segment.HEADER_SIZE, 0)
        footer = self._try(
            "footer",
            lambda: self._checked(tail_at, lambda: segment.decode_footer(tail, self.size)),
        )
        own = self._try("header", lambda: self._checked(0, lambda: segment.decode_header(header)))
        if footer is not None and own is not None and own != footer.file_id:
            reason = "header and footer are of different files"
            self.damage.append(CorruptionError(path, 0, reason))
        ids = [footer.file_id if footer else None, own, file_id]
        found = next((known for known in ids if known is not None), None)
        self.file_id: int = found if found is not None else 0
        self._read_parts(footer, found is not None)

    def note(self, error: CorruptionError) -> None:
        """Add a copy of an error to ``damage``: the one raised would keep this reader open."""
        self.damage.append(CorruptionError(error.path, error.offset, error.reason))

    def whole(self, row: Row) -> tuple[Row, list[tuple[str, str | None]]]:
        """Return a row with all entries that can be read, and the ranges of state keys that cannot.

        A range is the first state key that is lost and the first that is not, None for the end.
        """
        chunks = row.chunks
        if chunks is None:
            return row, []
        entries: dict[str, Entry] = {}
        lost: list[tuple[str, str | None]] = []
        for number, chunk in enumerate(chunks):
            try:
                part = self.chunk(chunk)
            except CorruptionError as error:
                self.note(error)
                following = chunks[number + 1].first if number + 1 < len(chunks) else None
                lost.append((chunk.first, following))
                continue
            entries.update(part.entries)
        flags = row.flags & ~LARGE
        return Row(flags, row.version, row.expires_at, entries, row.completed_at), lost

    def range_of(self, at: int) -> tuple[bytes, bytes | None]:
        """Return the range of objects that block ``at`` may hold, its end None if not known."""
        index = self._index
        stop = self.properties.stop if "properties" in self.known else None
        return index.first(at), index.first(at + 1) if at + 1 < len(index) else stop

    def _read_parts(self, footer: Footer | None, identified: bool) -> None:
        nowhere = Handle(0, 0)
        self.footer: Footer = footer or Footer(nowhere, nowhere, nowhere, nowhere, self.file_id)
        places: dict[int, Handle] = {}
        if footer is not None:
            places = {
                block.FILTER: footer.filter,
                block.TOMBSTONES: footer.tombstones,
                block.INDEX: footer.block_index,
                block.PROPERTIES: footer.properties,
            }
        self._index = Index()
        index = self._fixed("index", places.get(block.INDEX), block.INDEX, segment.decode_index)
        if index is not None:
            self._index = index
        elif identified:
            places = self._walk_all() | places
        passing = filter.Filter(0, array("Q", [_PASS_ALL]))
        self._filter = (
            self._fixed("filter", places.get(block.FILTER), block.FILTER, filter.decode) or passing
        )
        marks = self._fixed(
            "tombstones",
            places.get(block.TOMBSTONES),
            block.TOMBSTONES,
            segment.decode_tombstones,
        )
        self.tombstones: Tombstones = marks if marks is not None else ()
        stated = self._fixed(
            "properties",
            places.get(block.PROPERTIES),
            block.PROPERTIES,
            segment.decode_properties,
        )
        self.properties: Properties = stated if stated is not None else _unknown()

    def _fixed(
        self,
        name: str,
        handle: Handle | None,
        kind: int,
        decode: Callable[[memoryview], _T],
    ) -> _T | None:
        """Return a fixed part, None if it cannot be found or is damaged."""
        if handle is None:
            return None
        return self._try(name, lambda: self._part(handle, kind, decode))

    def _try(self, name: str, read: Callable[[], _T]) -> _T | None:
        try:
            found = read()
        except CorruptionError as error:
            self.note(error)
            return None
        self.known.add(name)
        return found

    def _walk_all(self) -> dict[int, Handle]:
        """Rebuild the index from the blocks themselves. Return where the other parts lie."""
        places: dict[int, Handle] = {}
        self.walked_to = segment.HEADER_SIZE
        data = self._file.pread(self.size, 0)
        for handle, kind in walk(data, self.file_id):
            self.walked_to = handle.offset + handle.length
            if kind == block.ROWS:
                self._add_block(handle, data[handle.offset : self.walked_to])
            elif kind != block.CHUNK:
                places[kind] = handle
        if block.FILTER not in places:
            reason = "no block from here on can be found without the index"
            self.damage.append(CorruptionError(self.path, self.walked_to, reason))
            self.unreachable = self.unreachable or self.walked_to
        return places

    def _add_block(self, handle: Handle, data: bytes) -> None:
        """Add a block that was found by walking to the index."""
        try:
            first = RowBlock(data).names[0]
        except ValueError as error:
            self.damage.append(CorruptionError(self.path, handle.offset, str(error)))
            self.unreachable = handle.offset if self.unreachable is None else self.unreachable
        else:
            self._index.add(first, handle.offset, handle.length)


def walk(data: bytes, file_id: int) -> Iterator[Sealed]:
    """Yield sound blocks from the first on, without an index, up to the first bad one.

    A block ends where bytes that look like a trailer have the checksum of all
    bytes since its start. With 45 bits to match, that does not happen by chance.
    """
    start = segment.HEADER_SIZE
    while (found := _block_at(data, start, file_id)) is not None:
        yield found
        start = found.handle.offset + found.handle.length


def _block_at(data: bytes, start: int, file_id: int) -> Sealed | None:
    crc, upto = place_seed(file_id, start), start
    view = memoryview(data)
    for match in _TRAILER_START.finditer(data, start):
        at = match.start()
        end = at + TRAILER_SIZE
        if end > len(data):
            return None
        crc, upto = crc32c(view[upto : at + 2], crc), at + 2
        if crc == int.from_bytes(view[at + 2 : end], "little"):
            return Sealed(Handle(start, end - start), data[at])
    return None


def _unknown() -> Properties:
    """Return what stands in for properties that are lost."""
    return Properties(
        start=b"",
        stop=b"",
        rows=0,
        entries=0,
        data_bytes=0,
        tombstones=0,
        range_tombstones=0,
        tombstone_time=None,
        expiring=0,
        first_expiry=None,
        half_expiry=None,
        last_expiry=None,
        extends=0,
        first_stamp=0,
        last_stamp=0,
        barriers=0,
    )
