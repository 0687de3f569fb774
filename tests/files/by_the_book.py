"""A reader of a database directory made from FORMAT.md alone, with the msgpack package.

It shares no code with the engine: what it reads is what the document says. It checks what the
document states (checksums, places, widths, orders, flags, tables) by asserting it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import msgpack
import xxhash
from crc32c import crc32c

CLEARED, EXPIRES, EXTENDS, ENTRY_TTLS, TOMBSTONES, LARGE = 1, 2, 4, 8, 16, 32
KINDS = {"rows": 1, "chunk": 2, "filter": 3, "tombstones": 4, "index": 5, "properties": 6}

COMMIT = ("stamp", "rows", "tombstones", "now", "epoch", "token")
EDIT = (
    *("added", "removed", "wals_added", "wals_removed", "wal_ends", "next_number"),
    *("last_stamp", "now", "shape", "trusted", "retention", "epoch"),
)
META = ("number", "level", "file_id", "size", "properties")
PROPERTIES = (
    *("start", "stop", "rows", "entries", "data_bytes", "tombstones", "range_tombstones"),
    *("tombstone_time", "expiring", "first_expiry", "half_expiry", "last_expiry", "extends"),
    *("first_stamp", "last_stamp", "barriers"),
)

Files = Mapping[str, bytes]
Fields = dict[str, Any]
Rows = dict[bytes, Fields]
"""Rows of a layer by encoded object."""


def unpack(data: bytes) -> Any:
    """What msgpack reads; all of the bytes, and nothing but its kinds."""
    return msgpack.unpackb(data, strict_map_key=False, raw=False)


def named(names: tuple[str, ...], fields: list[Any]) -> Fields:
    """The fields of an array by their names."""
    return dict(zip(names, fields, strict=False))


# --- rows


def row(data: bytes) -> Fields:
    """A row, checked against every rule of the document."""
    fields = unpack(data)
    assert 4 <= len(fields) <= 7 and data[0] == 0x90 | len(fields)
    flags, version, expires_at, entries = fields[:4]
    completed_at, chunks, offsets = (*fields[4:], None, None, None)[:3]
    assert data[1] == flags < 64
    assert data[2] == 0xCF and int.from_bytes(data[3:11], "big") == version >= 1 << 32
    if expires_at is None:
        assert data[11] == 0xC0 and not flags & EXPIRES
    else:
        assert data[11] == 0xCF and int.from_bytes(data[12:20], "big") == expires_at
        assert flags & EXPIRES
    assert (chunks is not None) == (flags & LARGE != 0) == (len(fields) == 6)
    assert (len(entries) > 32) == (len(fields) == 7)
    assert (completed_at is not None) or len(fields) != 5
    for key, entry in entries.items():
        assert isinstance(key, str)
        if entry is None:
            assert flags & TOMBSTONES
        elif not isinstance(entry, bytes):
            at, value = entry
            assert isinstance(at, int) and isinstance(value, bytes) and flags & ENTRY_TTLS
    if len(fields) == 7:
        table(data, entries, offsets)
    if chunks is not None:
        assert not entries and chunks
    return {
        "flags": flags,
        "version": version,
        "expires_at": expires_at,
        "entries": entries,
        "completed_at": completed_at,
        "chunks": chunks,
    }


def table(data: bytes, entries: dict[str, Any], offsets: bytes) -> None:
    """The table leads to each state key, in order, and is the end of the row."""
    keys = [key.encode() for key in entries]
    assert all(one < other for one, other in pairwise(keys))
    assert len(offsets) == 4 * len(entries) and data.endswith(offsets)
    for (at,), key in zip(struct.iter_unpack("<I", offsets), entries, strict=True):
        assert data[at:].startswith(msgpack.packb(key))


def encoded(service: str, key: str) -> bytes:
    """An object as bytes that sort as names do."""
    return service.encode().replace(b"\0", b"\0\xff") + b"\0\1" + key.encode()


# --- records


@dataclass
class Log:
    """A WAL or a manifest: the fields of its header and its payloads, with where each lies."""

    header: tuple[Any, ...]
    payloads: list[bytes]
    end: int


def log(data: bytes, magic: bytes, layout: str) -> Log:
    found, version, *header, crc = struct.unpack_from(layout, data)
    assert (found, version, crc) == (magic, 2, crc32c(data[:60]))
    salt = crc32c(header[0] + header[1].to_bytes(8, "little"))
    marker = crc32c(b"record", salt) or 1
    payloads, at = [], 64
    while at + 20 <= len(data):
        mark, crc, length, synced = struct.unpack_from("<IIIQ", data, at)
        end = at + 20 + length
        if mark != marker or end > len(data) or synced > at:
            break
        if crc32c(data[at + 8 : end], salt) != crc:
            break
        payloads.append(data[at + 20 : end])
        at = end
    return Log(tuple(header), payloads, at)


def commits(data: bytes) -> tuple[int, list[Fields]]:
    """The epoch and the commits of a WAL file; rows by encoded object."""
    found = log(data, b"KVEWAL\r\n", "<8sI16sQQQQI")
    epoch = found.header[4]
    assert not data[found.end :].strip(b"\0")
    made, last = [], 1 << 32
    for payload in found.payloads:
        one = named(COMMIT, unpack(payload))
        assert one["stamp"] > last
        if len(unpack(payload)) != 4:
            assert one["epoch"] == epoch and 0 < len(one["token"]) <= 32
        last = one["stamp"]
        rows: Rows = {}
        for (service, key, _), raw in zip(one["rows"], rows_in(payload), strict=True):
            rows[encoded(service, key)] = row(raw)
        assert all(each["version"] == last and not each["chunks"] for each in rows.values())
        assert all(start < stop for start, stop in one["tombstones"])
        made.append({**one, "rows": rows})
    return epoch, made


def rows_in(payload: bytes) -> Iterator[bytes]:
    """The bytes of the rows in a commit."""
    reader = msgpack.Unpacker(raw=False, strict_map_key=False)
    reader.feed(payload)
    reader.read_array_header()
    reader.skip()  # the stamp
    for _ in range(reader.read_array_header()):
        assert reader.read_array_header() == 3
        reader.skip()
        reader.skip()
        start = reader.tell()
        reader.skip()
        yield payload[start : reader.tell()]


# --- segments


@dataclass
class Segment:
    """A segment: rows with the entries of their chunks, range tombstones, properties."""

    rows: Rows = field(default_factory=dict)
    tombstones: list[tuple[bytes, bytes, int]] = field(default_factory=list)
    properties: Fields = field(default_factory=dict)
    heads: int = 0
    kinds: set[str] = field(default_factory=set)


class SegmentBook:
    """Reads one segment file, every byte of it."""

    def __init__(self, data: bytes, database_id: bytes) -> None:
        self.data, self.database_id = data, database_id
        magic, version, self.file_id, crc = struct.unpack_from("<8sIQ8xI", data)
        assert (magic, version, crc) == (b"KVESEG\r\n", 2, crc32c(data[:28]))
        footer = struct.unpack("<QIQIQIQIQII8s", data[-72:])
        assert footer[8:10] == (self.file_id, 2) and footer[11] == magic
        assert footer[10] == crc32c(data[-72:][:60])
        self.handles = [footer[at : at + 2] for at in range(0, 8, 2)]
        self.edge = 32
        self.found = Segment()
        self.items: list[int] = []

    def read(self) -> Segment:
        names: list[bytes] = []
        index = self._index(self._body(*self.handles[2], "index"))
        for first, offset, length in index:
            self._follows(offset, length)
            block = self._block(self._body(offset, length, "rows"))
            assert block[0][0] == first
            for name, raw in block:
                names.append(name)
                self.found.rows[name] = self._whole(name, row(raw), alone=len(block) == 1)
        assert all(one < other for one, other in pairwise(names))
        for handle in self.handles:
            self._follows(*handle)
        assert self.edge == len(self.data) - 72
        self._filter(self._body(*self.handles[0], "filter"))
        self.found.tombstones = [
            tuple(one) for one in unpack(self._body(*self.handles[1], "tombstones"))
        ]
        properties = unpack(self._body(*self.handles[3], "properties"))
        assert len(properties) == len(PROPERTIES)
        self.found.properties = named(PROPERTIES, properties)
        return self.found

    def _follows(self, offset: int, length: int) -> None:
        """There is no gap between the parts of the file."""
        assert offset == self.edge
        self.edge = offset + length

    def _body(self, offset: int, length: int, kind: str) -> bytes:
        sealed = self.data[offset : offset + length]
        assert len(sealed) == length
        place = crc32c(struct.pack("<QQ", self.file_id, offset))
        assert sealed[-6:-4] == bytes([KINDS[kind], 0])
        assert int.from_bytes(sealed[-4:], "little") == crc32c(sealed[:-4], place)
        self.found.kinds.add(kind)
        return sealed[:-6]

    def _index(self, body: bytes) -> list[tuple[bytes, int, int]]:
        (count,) = struct.unpack("<I", body[-4:])
        end = len(body) - 4 - 16 * count
        slots = list(struct.iter_unpack("<IQI", body[end:-4]))
        starts = [*(slot[0] for slot in slots), end]
        firsts = [body[low:high] for low, high in pairwise(starts)]
        return [(first, *slot[1:]) for first, slot in zip(firsts, slots, strict=True)]

    def _block(self, body: bytes) -> list[tuple[bytes, bytes]]:
        (count,) = struct.unpack("<I", body[-4:])
        end = len(body) - 4 - 8 * count
        assert body[0] == 0xDD and int.from_bytes(body[1:5], "big") == count >= 1
        slots = [*struct.unpack(f"<{2 * count}I", body[end:-4]), end]
        assert slots[0] == 5 and sorted(slots) == slots
        parts = [body[low:high] for low, high in pairwise(slots)]
        assert unpack(body[: slots[count]]) == [unpack(raw) for raw in parts[:count]]
        return list(zip(parts[count:], parts[:count], strict=True))

    def _whole(self, name: bytes, head: Fields, *, alone: bool) -> Fields:
        """A row with the entries of its chunks; its items of the filter are noted."""
        entries = dict(head["entries"])
        if head["chunks"] is not None:
            assert alone
            self.found.heads += 1
            behind = self.edge
            for first, offset, length, count in head["chunks"]:
                self._follows(behind + offset, length)
                chunk = row(self._body(behind + offset, length, "chunk"))
                assert len(chunk["entries"]) == count and next(iter(chunk["entries"])) == first
                assert chunk["version"] == head["version"] and chunk["expires_at"] is None
                assert not chunk["flags"] & ~(ENTRY_TTLS | TOMBSTONES)
                entries.update(chunk["entries"])
        keys = [key.encode() for key in entries]
        assert all(one < other for one, other in pairwise(keys))
        seed = xxhash.xxh3_64_intdigest(self.database_id)
        digest = xxhash.xxh3_64_intdigest(name, seed)
        self.items += [digest, *(xxhash.xxh3_64_intdigest(key, digest) for key in keys)]
        if head["flags"] & (CLEARED | EXPIRES | EXTENDS):
            self.items.append(digest ^ 0x9E3779B97F4A7C15)
        return {**head, "entries": entries}

    def _filter(self, body: bytes) -> None:
        """The filter is exactly that of the items."""
        seed = xxhash.xxh3_64_intdigest(self.database_id)
        size = max(1, -(-len(self.items) * 12 // 64))
        words = [0] * size
        for item in self.items:
            bits = xxhash.xxh3_64_intdigest((item % 4096).to_bytes(8, "little"))
            for part in range(5):
                words[item // 4096 % size] |= 1 << (bits >> 6 * part & 63)
        assert body == struct.pack(f"<{size + 1}Q", seed, *words)


# --- the database


@dataclass
class Book:
    """What a directory says: edits of its manifest, segments newest first, commits in order.

    ``epochs``: of its WALs, oldest first.
    """

    database_id: bytes
    edits: list[Fields]
    segments: list[Segment]
    commits: list[Fields]
    epochs: list[int]

    def objects(self, now: int) -> dict[bytes, tuple[int, int | None, dict[str, Any]]]:
        """What is live: (version, expires_at, entries) of each object, by the law of rows."""
        layers: list[tuple[Rows, list[tuple[bytes, bytes]]]] = [
            (one.rows, [mark[:2] for mark in one.tombstones]) for one in reversed(self.segments)
        ]
        layers += [(one["rows"], one["tombstones"]) for one in self.commits]
        held: Rows = {}
        for rows, tombstones in layers:
            for start, stop in tombstones:
                held = {name: one for name, one in held.items() if not start <= name < stop}
            for name, new in rows.items():
                old = held.get(name)
                if old is None or new["flags"] & CLEARED:
                    held[name] = new
                else:
                    held[name] = {**new, "entries": {**old["entries"], **new["entries"]}}
        made = {}
        for name, one in held.items():
            ends = one["expires_at"]
            entries = {
                key: value
                for key, entry in sorted(one["entries"].items())
                if (value := live(entry, now)) is not None
            }
            if entries and (ends is None or ends > now):
                made[name] = (one["version"], ends, entries)
        return made


def live(entry: Any, now: int) -> bytes | None:
    """The value of an entry at a time, None where it has none."""
    if isinstance(entry, list):
        at, value = entry
        return value if at > now else None
    return entry


def read(files: Files) -> Book:
    """All of a directory. ``files``: its files by name."""
    line = files["CURRENT"]
    name = line[: line.index(b" ")]
    assert line == name + b" %08x\n" % crc32c(name)
    manifest = log(files[name.decode()], b"KVEMAN\r\n", "<8sI16sQ24xI")
    assert manifest.end == len(files[name.decode()])
    database_id, number = manifest.header
    assert int(name[:-9]) == number
    edits, metas, wals = [], {}, []
    for payload in manifest.payloads:
        fields = unpack(payload)
        assert len(fields) == len(EDIT)
        edit = named(EDIT, fields)
        for gone in edit["removed"]:
            del metas[gone]
        metas |= {one[0]: named(META, one) for one in edit["added"]}
        wals = [one for one in wals + edit["wals_added"] if one not in edit["wals_removed"]]
        edits.append(edit)
    segments = []
    for meta in sorted(metas.values(), key=lambda one: (one["level"], -one["number"])):
        data = files[f"{meta['number']:06}.segment"]
        found = SegmentBook(data, database_id).read()
        assert len(data) == meta["size"]
        assert named(PROPERTIES, meta["properties"]) == found.properties
        segments.append(found)
    read_wals = [commits(files[f"{number:06}.wal"]) for number in sorted(wals)]
    epochs = [epoch for epoch, _ in read_wals]
    assert epochs == sorted(epochs) and all(epochs)
    made = [one for _, commits_of_wal in read_wals for one in commits_of_wal]
    assert [one["stamp"] for one in made] == sorted(one["stamp"] for one in made)
    return Book(database_id, edits, segments, made, epochs)
