"""A manifest as text: its version edits, then the catalog they add up to. CURRENT too.

Needs the file alone. Of CURRENT it shows what that names and, where it lies beside it,
the manifest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kvengine.errors import CorruptionError
from kvengine.fs.base import FileSystem
from kvengine.fs.disk import DiskFileSystem
from kvengine.inspection import escape
from kvengine.inspection.dump import kinds, parts
from kvengine.inspection.dump.logs import Gap
from kvengine.inspection.dump.manifest_file import (
    CurrentFile,
    Edited,
    ManifestFile,
    by_level,
    read_current,
)
from kvengine.inspection.dump.parts import Item
from kvengine.storage.clock import SECOND
from kvengine.storage.manifest.file import Catalog
from kvengine.storage.manifest.format import SegmentMeta, Shape, VersionEdit


def read(path: str, fs: FileSystem | None = None) -> ManifestFile | CurrentFile:
    """The manifest, or CURRENT if that is what the file is. OSError where there is none."""
    seam = fs if fs is not None else DiskFileSystem()
    if kinds.kind_of(path, seam) == kinds.CURRENT:
        return read_current(path, seam)
    return ManifestFile(seam, path)


def damage(path: str, fs: FileSystem | None = None) -> list[CorruptionError]:
    """What an open would refuse, as far as the file alone tells; empty for a sound file."""
    found = read(path, fs)
    one = found.named if isinstance(found, CurrentFile) else found
    for _ in one.edits() if one is not None else ():
        pass
    return found.damage


# --- lines for people


def describe(found: ManifestFile | CurrentFile, limit: int | None = None) -> Iterator[str]:
    """All of it in lines, with up to ``limit`` edits (None: all). ``found.damage`` grows."""
    if isinstance(found, CurrentFile):
        yield f"CURRENT {escape.text(found.path)}, {found.size:,} bytes"
        for error in found.own_damage:
            yield f"  damaged: {error.reason}"
        if found.named is None:
            return
        yield f"  names {found.name}, its checksum holds"
        found = found.named
    yield f"manifest {escape.text(found.path)}, {found.size:,} bytes"
    if found.header is None:
        yield f"header: damaged, {found.header_fault}"
    else:
        yield f"number {found.header.number}, of database {found.header.database_id.hex()}"
    yield "edits"
    shown = 0
    for one in found.edits():
        if isinstance(one, Gap):
            yield f"  {one}"
            continue
        if limit is None or shown < limit:
            yield from _edit_lines(one)
        elif shown == limit:
            yield "  …"
        shown += 1
    yield f"{found.count:,} edits, which end at offset {found.end:,}"
    if found.gave_up:
        yield "too much lies behind them: not all of it was searched for records"
    yield from _catalog_lines(found.catalog)


def _edit_lines(one: Edited) -> Iterator[str]:
    where = one.record
    yield f"  offset {where.offset:,}, {where.end - where.offset:,} bytes"
    if not one.kept:
        yield "    behind the end: an open does not read it"
    if one.fault:
        yield f"    damaged: {one.fault}"
    if one.edit is None:
        return
    edit = one.edit
    if edit.shape is not None:
        yield (
            f"    states everything; blocks of {edit.shape.block_size:,} bytes,"
            f" chunks of {edit.shape.chunk_size:,}"
        )
    for meta in edit.added:
        yield f"    adds segment {meta.number} to level {meta.level}"
        yield from _meta_lines("      ", meta)
    for what, numbers in (
        ("removes segments", edit.removed),
        ("adds WALs", edit.wals_added),
        ("removes WALs", edit.wals_removed),
    ):
        if numbers:
            yield f"    {what} {', '.join(map(str, numbers))}"
    for number, end in edit.wal_ends.items():
        yield f"    WAL {number} ends at offset {end:,}"
    for service, kept in edit.retention.items():
        yield f"    keeps completed workflows of {escape.text(service)} for {kept / SECOND:g} s"
    yield from _counter_lines("    ", edit)


def _meta_lines(indent: str, meta: SegmentMeta) -> Iterator[str]:
    stated = meta.properties
    yield (
        f"{indent}{meta.size:,} bytes, {stated.rows:,} objects, {stated.entries:,} entries,"
        f" {stated.range_tombstones:,} range tombstones"
    )
    yield f"{indent}from {escape.bound(meta.start)} to before {escape.bound(meta.stop)}"


def _counter_lines(indent: str, one: VersionEdit | Catalog) -> Iterator[str]:
    yield f"{indent}next number {one.next_number}"
    yield f"{indent}last stamp {parts.stamp_text(one.last_stamp)}"
    if one.epoch:
        yield f"{indent}epoch {one.epoch}"
    times = [("now", one.now)] + [("trusted", one.trusted)] * (one.trusted != one.now)
    for name, at in times:
        if at:
            yield f"{indent}{name} {escape.moment(at)}"


def _catalog_lines(catalog: Catalog | None) -> Iterator[str]:
    if catalog is None:
        yield "catalog: none, no edit can be read"
        return
    yield "catalog"
    for level, metas in by_level(catalog):
        yield f"  level {level}: {len(metas):,} segments, {sum(m.size for m in metas):,} bytes"
        for meta in metas:
            yield f"    segment {meta.number}, identity {meta.file_id:#018x}"
            yield from _meta_lines("      ", meta)
    for number in catalog.wals:
        end = catalog.wal_ends.get(number)
        yield f"  WAL {number}" + ("" if end is None else f", ends at offset {end:,}")
    yield from _counter_lines("  ", catalog)


# --- dicts for programs


def records(found: ManifestFile | CurrentFile, limit: int | None = None) -> Iterator[Item]:
    """The same as JSON-able dicts (parts.py), with up to ``limit`` edits (None: all).

    ``current`` where that is the file, then one ``manifest``, each ``edit`` and each
    ``gap``, each ``damage`` where it was met, and at last the ``catalog``.
    """
    if isinstance(found, CurrentFile):
        yield {"current": {"path": found.path, "bytes": found.size, "names": found.name or None}}
        yield from map(parts.damage_item, found.own_damage)
        if found.named is None:
            return
        found = found.named
    yield {"manifest": _header_dict(found)}
    yield from parts.log_items(found.edits(), found.damage, "edit", _edit_dict, limit)
    if found.catalog is not None:
        yield {"catalog": _catalog_dict(found.catalog)}


def _header_dict(found: ManifestFile) -> dict[str, Any]:
    made: dict[str, Any] = {"path": found.path, "bytes": found.size}
    if found.header is None:
        return {**made, "header": "damaged"}
    known = {"database_id": found.header.database_id.hex(), "number": found.header.number}
    return {**made, "header": "sound", **known}


def _edit_dict(one: Edited) -> dict[str, Any]:
    where, edit = one.record, one.edit
    made: dict[str, Any] = {
        "offset": where.offset,
        "length": where.end - where.offset,
        "kept": one.kept,
    }
    if edit is None:
        return made
    return {
        **made,
        "added": [_meta_dict(meta) for meta in edit.added],
        "removed": edit.removed,
        "wals_added": edit.wals_added,
        "wals_removed": edit.wals_removed,
        "wal_ends": _ends_dict(edit.wal_ends),
        **_retention_dict(edit),
        **_counters_dict(edit),
        **_shape_dict(edit.shape),
    }


def _meta_dict(meta: SegmentMeta) -> dict[str, Any]:
    return {
        "number": meta.number,
        "level": meta.level,
        "identity": f"{meta.file_id:#018x}",
        "bytes": meta.size,
        "properties": parts.properties_dict(meta.properties),
    }


def _ends_dict(ends: dict[int, int]) -> dict[str, int]:
    return {str(number): end for number, end in ends.items()}


def _retention_dict(edit: VersionEdit) -> dict[str, Any]:
    if not edit.retention:
        return {}
    return {"retention": {name: parts.seconds(kept) for name, kept in edit.retention.items()}}


def _shape_dict(shape: Shape | None) -> dict[str, int]:
    if shape is None:
        return {}
    return {"block_size": shape.block_size, "chunk_size": shape.chunk_size}


def _counters_dict(one: VersionEdit | Catalog) -> dict[str, Any]:
    return {
        "next_number": one.next_number,
        "last_stamp": one.last_stamp,
        "now": parts.seconds(one.now or None),
        "trusted": parts.seconds(one.trusted or None),
        **({"epoch": one.epoch} if one.epoch else {}),
    }


def _catalog_dict(catalog: Catalog) -> dict[str, Any]:
    return {
        "database_id": catalog.database_id.hex(),
        "levels": [
            {"level": level, "segments": [_meta_dict(meta) for meta in metas]}
            for level, metas in by_level(catalog)
        ],
        "wals": catalog.wals,
        "wal_ends": _ends_dict(catalog.wal_ends),
        **_counters_dict(catalog),
        **_shape_dict(catalog.shape),
    }
