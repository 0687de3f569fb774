"""Files made to do harm: dumps and the audit end soon, in little memory, and without a traceback.

Each was at first one that did not end, or took what it claimed. Where a test hangs, the
bound that it is about is gone.
"""

from __future__ import annotations

import os
import struct
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path

import msgspec
import pytest

from kvengine.fs.disk import DiskFileSystem
from kvengine.fs.faulty import FaultyFileSystem
from kvengine.fs.memory import MemoryFileSystem
from kvengine.inspection.audit.verify import audit
from kvengine.inspection.dump import manifest, wal
from kvengine.inspection.dump import segment as segments
from kvengine.inspection.dump.logs import MAX_FOUND, LogFile
from kvengine.storage import record
from kvengine.storage import row as rows
from kvengine.storage.checksum import place_seed, salt, seal
from kvengine.storage.manifest.format import encode_header as manifest_header
from kvengine.storage.row import LEAST_VERSION, Chunk
from kvengine.storage.segment import block
from kvengine.storage.segment import format as segment
from kvengine.storage.segment.format import Footer, Handle, Index
from kvengine.storage.wal.format import Header, encode_commit
from kvengine.storage.wal.format import encode_header as wal_header
from tests.inspection.damage_forge import forge_segment, large, put
from tests.inspection.damage_subjects import Subject, rich

ID = bytes(range(16))
SEED = salt(ID, 7)
MARK = record.marker(SEED)
HEADER = wal_header(Header(ID, 7, 0, 0))
HUGE = 1 << 40
NOW = 1_700_000_000_000_000


@contextmanager
def within(megabytes: int) -> Iterator[None]:
    """What Python takes meanwhile stays below so much."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes << 20
    finally:
        tracemalloc.stop()


def read_whole(module: object, path: str, fs: MemoryFileSystem | DiskFileSystem) -> list[str]:
    for one in (wal, manifest, segments):
        if one is module:
            lines = list(one.describe(one.read(path, fs), None))
            list(one.records(one.read(path, fs)))
            one.damage(path, fs)
            return lines
    raise AssertionError(module)


def claim(length: int, synced: int = 64) -> bytes:
    """The head of a record of this file that claims a length, with a checksum that fails."""
    return struct.pack("<IIIQ", MARK, 0x12345678, length, synced)


def claims(mark: int, count: int) -> bytes:
    """Heads of records end to end, each of which claims all that is behind it."""
    behind = (record.HEADER_SIZE * left for left in reversed(range(count)))
    return b"".join(struct.pack("<IIIQ", mark, 1, length, 64) for length in behind)


def test_a_length_beyond_the_file_is_not_believed() -> None:
    """4 GiB claimed by a record, and by a handle: nothing is allocated for it."""
    fs = MemoryFileSystem()
    put(fs, "/000007.wal", HEADER + claim(0xFFFFFFFF) + b"x" * 1000)
    with within(20):
        assert any("torn tail" in line for line in read_whole(wal, "/000007.wal", fs))
    data = manifest_header_bytes() + claim(0xFFFFFFFF) + b"x" * 1000
    put(fs, "/000007.manifest", data)
    with within(20):
        assert read_whole(manifest, "/000007.manifest", fs)


def manifest_header_bytes() -> bytes:
    from kvengine.storage.manifest.format import Header as ManifestHeader

    return manifest_header(ManifestHeader(ID, 7))


def test_many_claims_cost_no_more_than_the_file() -> None:
    """Heads of records end to end, each of which claims all behind it: a square of checksums."""
    fs = MemoryFileSystem()
    put(fs, "/000007.wal", HEADER + b"!" + claims(MARK, 200_000))
    with within(40):
        lines = read_whole(wal, "/000007.wal", fs)
    assert any("not all of it was searched" in line for line in lines)
    (end,) = [one["end"] for one in wal.records(wal.read("/000007.wal", fs)) if "end" in one]
    assert end["searched"] is False


def test_a_search_that_was_given_up_is_damage(killed: Subject) -> None:
    """Where it is not known what is proven, an audit does not say that all is well."""
    fs, path = killed.fs.copy(), killed.last_wal
    data = fs.read_bytes(path)[: killed.tail[-1].end]
    seed = salt(data[12:28], int.from_bytes(data[28:36], "little"))
    put(fs, path, data + b"!" + claims(record.marker(seed), 200_000))
    found = audit("/db", fs)
    assert any("not all of it was searched" in one.reason for one in found.damage)


def test_damage_without_number_is_told_a_thousand_times() -> None:
    """Records that are no commits, by the ten thousand: the list of damage stays short."""
    fs = MemoryFileSystem()
    one = record.encode(b"\xc1", SEED, MARK, 64)
    put(fs, "/000007.wal", HEADER + one * 20_000)
    found = wal.read("/000007.wal", fs)
    assert len(list(wal.records(found))) > 20_000
    assert len(found.damage) == MAX_FOUND + 1


def test_sparse_files_of_any_size_are_read_in_part(tmp_path: Path) -> None:
    """A terabyte of zeros behind a header takes no terabyte, of memory or of time."""
    fs = DiskFileSystem()
    for name, head, module in (
        ("000007.wal", HEADER, wal),
        ("000007.manifest", manifest_header_bytes(), manifest),
        ("000007.segment", segment.encode_header(5), segments),
    ):
        path = tmp_path / name
        path.write_bytes(head)
        os.truncate(path, HUGE)
        with within(20):
            found = module.read(str(path), fs)
            assert list(module.describe(found, None))


def written(blocks: list[tuple[bytes, int]], index: Index) -> bytes:
    """A segment of sealed blocks, under an index made up."""
    data = segment.encode_header(9)
    handles = []
    tail = [
        (bytes(16), block.FILTER),
        (segment.encode_tombstones(()), block.TOMBSTONES),
        (segment.encode_index(index), block.INDEX),
        (b"\xc0", block.PROPERTIES),
    ]
    for body, kind in [*blocks, *tail]:
        at = len(data)
        data += seal(body, kind, block.UNCOMPRESSED, place_seed(9, at))
        handles.append(Handle(at, len(data) - at))
    return data + segment.encode_footer(Footer(*handles[-4:], 9))


class Counted(FaultyFileSystem):
    """Counts the calls of a dump, so that a bound does not depend on the machine."""

    def __init__(self, path: str, data: bytes) -> None:
        fs = MemoryFileSystem()
        put(fs, path, data)
        super().__init__(fs)


def names_of(count: int) -> list[bytes]:
    return [b"s\0\x01%06d" % number for number in range(count)]


def index_of(places: list[tuple[bytes, int, int]]) -> Index:
    """An index of (first object, offset, length)."""
    made = Index()
    for place in places:
        made.add(*place)
    return made


@pytest.mark.parametrize("back", [False, True])
def test_an_index_that_names_one_block_for_ever_is_followed_once(back: bool) -> None:
    """20,000 entries of the same block; between them, perhaps, ones far behind the file."""
    names = names_of(20_000)
    body = block.encode_rows(names[:1], [rows.pack(0, NOW, None, {"k": bytes(1 << 16)})])
    size = len(body) + 6
    places = [(32, size), (HUGE, size)] if back else [(32, size)]
    index = index_of([(name, *places[at % len(places)]) for at, name in enumerate(names)])
    fs = Counted("/a.segment", written([(body, block.ROWS)], index))
    found = segments.read("/a.segment", fs)
    assert sum("65,536 bytes" in line for line in segments.describe(found, None)) == 1
    assert sum("row" in one for one in segments.records(segments.read("/a.segment", fs))) == 1
    assert segments.damage("/a.segment", fs)
    assert fs.calls < 200


def test_chunks_that_many_rows_name_are_read_once_at_most() -> None:
    """Heads of large rows, each of which names the same chunk, and again, and once more."""
    names = names_of(50)
    chunk = rows.pack(0, NOW, None, {"k": bytes(1 << 16)})
    size = len(chunk) + 6

    def body_of(name: bytes, behind: int) -> bytes:
        """A block of one head, whose chunk lies so many bytes behind it."""
        places = [
            Chunk("k", behind, size, 1),
            Chunk("k", behind, size, 1),
            Chunk("k", behind + size, -size, 1),
        ]
        return block.encode_rows([name], [rows.encode_head(rows.make(NOW, {}), places)])

    behind, blocks = 0, []
    for name in reversed(names):
        body = body_of(name, behind)
        blocks.insert(0, (body, block.ROWS))
        behind += len(body) + 6
    ends = list(accumulate((len(body) + 6 for body, _ in blocks), initial=32))
    places = zip(names, ends, (len(body) + 6 for body, _ in blocks), strict=False)
    index = index_of(list(places))
    fs = Counted("/a.segment", written([*blocks, (chunk, block.CHUNK)], index))
    found = segments.read("/a.segment", fs)
    assert sum("65,536 bytes" in line for line in segments.describe(found, None)) <= 1
    assert segments.damage("/a.segment", fs)
    assert fs.calls < 200


@pytest.mark.parametrize("length", [-(1 << 40), 0, 1 << 62])
def test_chunks_of_no_possible_length_are_damage(length: int, killed: Subject) -> None:
    """A length below zero does not lead back to what was read."""
    fs, path = killed.fs.copy(), large(killed)

    def change(forgery: object) -> None:
        part, row = forgery.head()  # type: ignore[attr-defined]
        chunks = [msgspec.structs.replace(one, length=length) for one in row.chunks]
        part.rows = [msgspec.structs.replace(row, chunks=chunks)]

    forge_segment(fs, path, change)
    assert path in {one.path for one in audit("/db", fs).damage}
    found = segments.read(path, fs)
    shown = "\n".join(segments.describe(found, None))
    assert "chunks do not follow" in shown or "chunks reach into" in shown
    assert all(0 <= one.offset <= found.size for one in found.damage)


def test_deeply_nested_bytes_are_damage() -> None:
    """A decoder that would recurse for ever says no."""
    fs = MemoryFileSystem()
    put(fs, "/000007.wal", HEADER + record.encode(b"\x91" * 100_000, SEED, MARK, 64))
    found = wal.read("/000007.wal", fs)
    assert len(list(wal.records(found))) == 4 and len(found.damage) == 1


def logged(
    stamp: int,
    entries: dict[str, rows.Entry],
    *,
    expires_at: int | None = None,
    tombstones: Sequence[tuple[bytes, bytes]] = (),
    now: int = 0,
    synced: int = 64,
) -> bytes:
    """A record of a commit of one row."""
    row = rows.encode(rows.make(stamp, entries, expires_at=expires_at, extends=True))
    payload = encode_commit(stamp, [(("s", "k"), row)], tombstones, now)
    return record.encode(payload, SEED, MARK, synced)


def test_times_and_numbers_out_of_any_range_are_shown() -> None:
    fs, far = MemoryFileSystem(), (1 << 63) - 1
    ranges = [(b"\xfe", b"\xff\xff")]
    data = logged(far, {"k": (far, b"v")}, expires_at=far, tombstones=ranges, now=far)
    put(fs, "/000007.wal", HEADER + data)
    text = "\n".join(read_whole(wal, "/000007.wal", fs))
    assert text.count("9223372036854775807 microseconds") == 4 and "x'fe'" in text


def test_a_record_is_held_one_at_a_time() -> None:
    """Memory for a record, not for the file."""
    fs = MemoryFileSystem()
    stamps = range(LEAST_VERSION + 1, LEAST_VERSION + 41)
    data = b"".join(logged(stamp, {"k": bytes(1 << 20)}) for stamp in stamps)
    put(fs, "/000007.wal", HEADER + data)
    del data
    with within(12):
        assert wal.damage("/000007.wal", fs) == []
        assert sum("stamp" in line for line in wal.describe(wal.read("/000007.wal", fs))) == 40


@pytest.mark.parametrize("shift", range(-6, 7))
def test_a_record_far_behind_is_found_wherever_it_lies(shift: int) -> None:
    """Across the edge of what is searched at a time, too."""
    fs = MemoryFileSystem()
    junk = b"x" * ((1 << 20) + shift)
    one = logged(NOW, {}, synced=500)
    put(fs, "/000007.wal", HEADER + junk + one)
    found = wal.read("/000007.wal", fs)
    (gap, last) = list(found.commits())
    assert last.record.offset == 64 + len(junk) == gap.stop
    assert [error.offset for error in found.damage] == [64] and found.proven == 500


def test_a_log_file_without_salt_finds_nothing() -> None:
    fs = MemoryFileSystem()
    put(fs, "/x", b"\1" * 5000)
    log = LogFile(fs, "/x", 64)
    assert [type(one).__name__ for one in log.walk()] == ["Gap"] and log.state == "torn"


@pytest.fixture(scope="module")
def killed() -> Subject:
    return rich("os")
