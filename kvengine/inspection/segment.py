"""A segment file as text: its parts, its rows, and what is damaged. Needs the file alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kvengine.errors import CorruptionError
from kvengine.files.segment_reader import SegmentReader
from kvengine.files.segment_salvage import SalvageReader
from kvengine.format.segment import FORMAT_VERSION
from kvengine.fs.base import FileSystem
from kvengine.fs.disk import DiskFileSystem
from kvengine.inspection import escape
from kvengine.operations.verify_segment import verify_segment
from kvengine.rows import Row

_PARTS = ("filter", "tombstones", "index", "properties")
_TIMES = ("tombstone_time", "first_expiry", "half_expiry", "last_expiry")
_STAMPS = ("first_stamp", "last_stamp")
_BOUNDS = ("start", "stop")


def read(path: str, fs: FileSystem | None = None) -> SalvageReader:
    """The segment, with what is damaged left out and named in ``damage``. OSError if absent."""
    return SalvageReader(fs if fs is not None else DiskFileSystem(), path)


def damage(path: str, fs: FileSystem | None = None) -> list[CorruptionError]:
    """Check every checksum, order, range and count: all damage found, empty for a sound file."""
    seam = fs if fs is not None else DiskFileSystem()
    try:
        return list(verify_segment(SegmentReader(seam, path)))
    except CorruptionError:
        return _partial(SalvageReader(seam, path))


def _partial(found: SalvageReader) -> list[CorruptionError]:
    """The damage in a file that does not open as a segment."""
    for _, (_, rows, _) in found.sound_blocks():
        for row in rows:
            found.whole(row)
    return found.damage


def describe(found: SalvageReader, rows: int | None = 0) -> Iterator[str]:
    """All of it in lines, with ``rows`` rows, None for every one. ``found.damage`` grows."""
    yield f"segment {escape.text(found.path)}, {found.size:,} bytes"
    yield from footer(found)
    yield from properties(found)
    yield from index(found)
    yield from range_tombstones(found)
    yield from listed(found, rows)


def footer(found: SalvageReader) -> Iterator[str]:
    """Identity, format, and where the parts lie."""
    if not found.known & {"footer", "header"}:
        yield "footer: lost, and the header too: without the file's identity nothing can be read"
        return
    yield f"identity {found.file_id:#018x}, format {FORMAT_VERSION}"
    if "footer" not in found.known:
        yield "footer: lost"
        return
    yield "footer"
    stated = found.footer
    handles = (stated.filter, stated.tombstones, stated.block_index, stated.properties)
    for name, handle in zip(_PARTS, handles, strict=True):
        state = "" if name in found.known else ", damaged"
        yield f"  {name:<11} offset {handle.offset:,}, {handle.length:,} bytes{state}"


def properties(found: SalvageReader) -> Iterator[str]:
    if "properties" not in found.known:
        yield "properties: lost"
        return
    yield "properties"
    for name in found.properties.__struct_fields__:
        yield f"  {name:<17}{_property(name, getattr(found.properties, name))}"


def _property(name: str, what: Any) -> str:
    if name in _BOUNDS:
        return escape.bound(what)
    if name in _TIMES:
        return escape.moment(what)
    if name in _STAMPS:
        return f"{what} ({escape.moment(what)})"
    return f"{what:,}"


def index(found: SalvageReader) -> Iterator[str]:
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


def range_tombstones(found: SalvageReader) -> Iterator[str]:
    if "tombstones" not in found.known:
        yield "range tombstones: lost"
        return
    yield f"range tombstones: {len(found.tombstones):,}"
    for start, stop, stamp in found.tombstones:
        at = escape.moment(stamp)
        yield f"  from {escape.bound(start)} to before {escape.bound(stop)}, stamp {stamp} ({at})"


def listed(found: SalvageReader, limit: int | None) -> Iterator[str]:
    """Up to ``limit`` rows (None: all), block by block; unreadable blocks are named in place."""
    if limit == 0:
        return
    yield "rows"
    shown = 0
    for at in range(found.block_count):
        try:
            names, rows, _ = found.read_block(at)
        except CorruptionError as error:
            found.note(error)
            yield f"  block {at}, offset {error.offset:,}: {error.reason}"
            continue
        for name, row in zip(names, rows, strict=True):
            if limit is not None and shown >= limit:
                yield "  …"
                return
            yield from _row(found, name, row)
            shown += 1


def _row(found: SalvageReader, name: bytes, head: Row) -> Iterator[str]:
    row, lost = found.whole(head)
    marks = [f"version {row.version} ({escape.moment(row.version)})"]
    marks += ["cleared"] * row.cleared + ["extends an expiry"] * row.extends
    if row.expires_at is not None:
        marks.append(f"expires {escape.moment(row.expires_at)}")
    if head.chunks is not None:
        marks.append(f"{len(head.chunks):,} chunks")
    yield f"  {escape.object_name(name)}  {', '.join(marks)}"
    for start, stop in lost:
        end = "the end" if stop is None else escape.text(stop)
        yield f"    lost: entries from {escape.text(start)} to before {end}"
    for state_key, value in row.entries.items():
        ends = (row.ttls or {}).get(state_key)
        expiry = "" if ends is None else f", expires {escape.moment(ends)}"
        if value is None:
            yield f"    {escape.text(state_key)}: tombstone"
        else:
            size = f"{len(value):,} bytes{expiry}"
            yield f"    {escape.text(state_key)} = {escape.value(value)} ({size})"
