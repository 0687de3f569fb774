"""The bytes on disk: layout tables in docstrings agree with the structs, and golden bytes pin both.

A change that makes one of these fail changes the format: raise FORMAT_VERSION
and go on reading the old one.
"""

from __future__ import annotations

import re
import struct
from types import ModuleType

import pytest

import kvengine
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage import checksum, record
from kvengine.storage.manifest import format as manifest
from kvengine.storage.manifest.format import SegmentMeta, Shape, VersionEdit
from kvengine.storage.names import encode_object
from kvengine.storage.row import Row
from kvengine.storage.segment import block
from kvengine.storage.segment import format as segment
from kvengine.storage.segment import writer as segment_writer
from kvengine.storage.segment.format import Properties
from kvengine.storage.segment.writer import SegmentWriter
from kvengine.storage.wal import format as wal

ROW = re.compile(r"^\s*\| (\d+)\s*\| (\w+)\s*\| ([\w()]+)\s*\|", re.MULTILINE)

ID = bytes(range(16))


def table(module: ModuleType) -> list[tuple[int, str, str]]:
    """(offset, size, field) of each line of the layout table in a module's docstring."""
    assert module.__doc__ is not None
    found = ROW.findall(module.__doc__)
    return [(int(offset), size, name) for offset, size, name in found]


def fields(layout: struct.Struct) -> list[tuple[int, int]]:
    """(offset, size) of each field of a struct, runs of padding included."""
    order, codes = layout.format[0], re.findall(r"(\d*)([a-zA-Z])", layout.format[1:])
    out, offset = [], 0
    for count, code in codes:
        whole = code in "sx"
        for part in [f"{count}{code}"] if whole else [code] * int(count or 1):
            size = struct.calcsize(order + part)
            out.append((offset, size))
            offset += size
    return out


@pytest.mark.parametrize(
    ("module", "layout"),
    [
        (wal, wal._HEADER),
        (manifest, manifest._HEADER),
        (segment, segment._HEADER),
        (record, record._HEADER),
    ],
    ids=["wal", "manifest", "segment", "record"],
)
def test_a_layout_table_says_what_the_struct_does(
    module: ModuleType, layout: struct.Struct
) -> None:
    """Offsets, sizes and the number of fields; a table is never out of date."""
    rows = table(module)
    stated = [(offset, int(size)) for offset, size, _ in rows if size != "n"]
    assert stated == fields(layout)
    assert module.HEADER_SIZE == layout.size == sum(size for _, size in stated)
    if rows[-1][1] == "n":
        assert rows[-1][0] == layout.size


def test_the_tables_are_read() -> None:
    """The check, checked: tables are found and a wrong size would be seen."""
    assert [len(table(one)) for one in (wal, manifest, segment, record)] == [8, 6, 5, 5]
    wrong = ModuleType("wrong", (record.__doc__ or "").replace("| 8      | 4 ", "| 8      | 5 "))
    assert [row for row in table(wrong) if row not in table(record)] == [(8, "5", "length")]


def test_sizes_stated_in_words() -> None:
    assert segment.FOOTER_SIZE == 72 and "Footer, 72 bytes" in (segment.__doc__ or "")
    assert checksum.TRAILER_SIZE == 6
    for module, size in ((wal, 64), (manifest, 64), (segment, 32)):
        assert f"Header, {size} bytes" in (module.__doc__ or "")
        assert size == module.HEADER_SIZE


def test_magic_and_version_are_those_of_the_first_format() -> None:
    """Frozen: they stand in every file that was ever written."""
    assert (wal.MAGIC, manifest.MAGIC, segment.MAGIC) == (
        b"KVEWAL\r\n",
        b"KVEMAN\r\n",
        b"KVESEG\r\n",
    )
    assert (wal.FORMAT_VERSION, manifest.FORMAT_VERSION, segment.FORMAT_VERSION) == (1, 1, 1)
    kinds = ("ROWS", "CHUNK", "FILTER", "TOMBSTONES", "INDEX", "PROPERTIES")
    assert [getattr(block, kind) for kind in kinds] == [1, 2, 3, 4, 5, 6]


def unhex(text: str) -> bytes:
    return bytes.fromhex("".join(text.split()))


WAL_HEADER = """
4b564557414c0d0a01000000000102030405060708090a0b0c0d0e0f0700000000000000020000000000000067120000
0000000000000000000000008e73cc8f
"""

WAL_RECORD = """
0679eeb622697c366b000000400000000000000094cf00060a24181e40009293a173a16b97cf00060a24181e400083a1
6ec40576616c7565a16dc0a0c400c2c2c0c0c093a173a17897cf00060a24181e400081a174c40131c3c3cf0006651728
98800081a174cf0006379da05b6000c09192c40473000161c4047300016200
"""

MANIFEST_RECORD = """
f7e2f4b42dfb81ed4400000040000000000000009a91950901cf4000000000000000cd10009fc40473000161c4057300
017a000102cd012c0405060708c00a0b0c0d9103910a9102810a400b0d0e92cd2000ce0001000000
"""

SEGMENT = """
4b56455345470d0a01000000efcdab89674523010000000000000000011b2f6fdd0000000297cf00060a24181e400081
a16ec40131c2c2c0c0c097cf00060a24181e400081a16ec40132c3c2cf00060a24181e400581a16e09c094c403730001
92c40161c4016292051ac2110000000100a4eb0f0fdd0000000197cf00060a24181e400180c2c2c0c09294a26e300063
0294a26e3263360194c4047300016391c4009105c20d00000001000f6ad4a49282a26e30c42800000000000000000000
000000000000000000000000000000000000000000000000000000000000a26e31c42800000000000000000000000000
000000000000000000000000000000000000000000000000000000c00200fa85270f9281a26e32c42800000000000000
000000000000000000000000000000000000000000000000000000000000000000c00200ef77b69defcdab8967452301
6a00521020002064030009c39ab19193c40473000164c40473000165cf00060a24181e40020400114d22d39392c40473
000161c4047300016392207592553a0500e8a665ab9fc40473000161c404730001650305ccd80101cf00060a24181e40
000109c0c000cf00060a24181e4000cf00060a24181e40020600940c1f024801000000000000160000005e0100000000
00001d0000007b010000000000001a000000950100000000000039000000efcdab89674523010100000058e7d8f74b56
455345470d0a
"""

COMMIT = wal.Commit(
    1_700_000_000_000_000,
    [
        ("s", "k", Row(1_700_000_000_000_000, {"n": b"value", "m": None, "": b""})),
        ("s", "x", Row(1_700_000_000_000_000, {"t": b"1"}, True, True, 1_800_000_000_000_000,
                       {"t": 1_750_000_000_000_000})),
    ],
    [(encode_object("s", "a"), encode_object("s", "b"))],
)  # fmt: skip


def wal_bytes() -> tuple[bytes, bytes]:
    seed = checksum.salt(ID, 7)
    data = record.encode(wal.encode_commit(COMMIT), seed, record.marker(seed), 64)
    return wal.encode_header(wal.Header(ID, 7, 2, 4711)), data


def test_wal_bytes() -> None:
    """A header and a record, as they were written by the first release, written and read."""
    header, data = wal_bytes()
    assert header == unhex(WAL_HEADER)
    assert data == unhex(WAL_RECORD)
    assert wal.decode_header(unhex(WAL_HEADER)) == wal.Header(ID, 7, 2, 4711)
    (found,) = record.records(bytes(64) + unhex(WAL_RECORD), 64, checksum.salt(ID, 7))
    assert wal.decode_commit(found.payload) == COMMIT and found.synced == 64


PROPERTIES = Properties(
    start=b"s\0\x01a",
    stop=b"s\0\x01z\0",
    rows=1,
    entries=2,
    data_bytes=300,
    tombstones=4,
    range_tombstones=5,
    tombstone_time=6,
    expiring=7,
    first_expiry=8,
    half_expiry=None,
    last_expiry=10,
    extends=11,
    first_stamp=12,
    last_stamp=13,
)
EDIT = VersionEdit(
    added=[SegmentMeta(9, 1, 1 << 62, 4096, PROPERTIES)],
    removed=[3],
    wals_added=[10],
    wals_removed=[2],
    wal_ends={10: 64},
    next_number=11,
    last_stamp=13,
    now=14,
    shape=Shape(8192, 65536),
)


def manifest_bytes() -> bytes:
    seed = checksum.salt(ID, 8)
    return record.encode(manifest.encode_edit(EDIT), seed, record.marker(seed), 64)


def test_manifest_bytes() -> None:
    """One version edit with every field, and CURRENT."""
    assert manifest_bytes() == unhex(MANIFEST_RECORD)
    (found,) = record.records(bytes(64) + unhex(MANIFEST_RECORD), 64, checksum.salt(ID, 8))
    assert manifest.decode_edit(found.payload) == EDIT
    assert manifest.encode_current("000008.manifest") == b"000008.manifest aded78d8\n"


def segment_bytes(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A segment of a plain block, an expiring row, a large row and a range tombstone."""

    class Fixed:
        def getrandbits(self, bits: int) -> int:
            return 0x0123456789ABCDEF

    monkeypatch.setattr(segment_writer.random, "SystemRandom", Fixed)
    fs = MemoryFileSystem()
    writer = SegmentWriter(fs, "/one", 64, 64)
    stamp = 1_700_000_000_000_000
    writer.add(encode_object("s", "a"), Row(stamp, {"n": b"1"}))
    writer.add(encode_object("s", "b"), Row(stamp, {"n": b"2"}, True, False, stamp + 5, {"n": 9}))
    writer.add(encode_object("s", "c"), Row(stamp + 1, {f"n{i}": bytes(40) for i in range(3)}))
    writer.finish(((encode_object("s", "d"), encode_object("s", "e"), stamp + 2),), stamp)
    return fs.read_bytes("/one")


def test_segment_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole segment file, byte by byte; and the bytes of the first release still read."""
    assert segment_bytes(monkeypatch) == unhex(SEGMENT)
    fs = MemoryFileSystem()
    file = fs.create("/old")
    file.write(unhex(SEGMENT))
    from kvengine.storage.repair.verify import verify_segment
    from kvengine.storage.segment.reader import SegmentReader

    reader = SegmentReader(fs, "/old")
    assert list(verify_segment(reader)) == []
    row = reader.find(encode_object("s", "c"))
    assert row is not None and row.chunks is not None
    assert reader.load(row).entries == {f"n{i}": bytes(40) for i in range(3)}
    assert reader.tombstones == ((b"s\0\x01d", b"s\0\x01e", 1_700_000_000_000_002),)


def test_a_row_is_seven_fields() -> None:
    """Rows are arrays on disk: a field added or moved anywhere but at the end changes them all."""
    assert Row.__struct_fields__ == (
        "version",
        "entries",
        "cleared",
        "extends",
        "expires_at",
        "ttls",
        "chunks",
    )
    assert kvengine.storage.segment.block.encode_row(Row(1, {"n": b"x"}))[:2] == b"\x97\x01"
