"""The bytes on disk: layout tables agree with the structs, and golden bytes pin both.

The tables are those in docstrings and those in FORMAT.md. A change that makes one of these fail
changes the format, which is frozen with release 0.2.0: raise FORMAT_VERSION.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

import kvengine
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage import checksum, record
from kvengine.storage import row as rows
from kvengine.storage.manifest import format as manifest
from kvengine.storage.manifest.format import SegmentMeta, Shape, VersionEdit
from kvengine.storage.names import encode_object
from kvengine.storage.row import Chunk, Row
from kvengine.storage.segment import block, filter
from kvengine.storage.segment import format as segment
from kvengine.storage.segment import writer as segment_writer
from kvengine.storage.segment.format import Properties
from kvengine.storage.segment.writer import SegmentWriter
from kvengine.storage.wal import format as wal
from tests.twins.forms import plain

index = plain("kvengine.storage.segment.index")

DOCUMENT = (Path(kvengine.__file__).parent / "storage" / "FORMAT.md").read_text("utf-8")
LINE = re.compile(r"^\s*\| (\d+)\s*\| (\w+)\s*\| ([\w()]+)\s*\|", re.MULTILINE)

ID = bytes(range(16))


def table(module: ModuleType) -> list[tuple[int, str, str]]:
    """(offset, size, field) of each line of the layout table in a module's docstring."""
    assert module.__doc__ is not None
    return layout_lines(module.__doc__)


def layout_lines(text: str) -> list[tuple[int, str, str]]:
    """(offset, size, field) of each line of a layout table."""
    return [(int(offset), size, name) for offset, size, name in LINE.findall(text)]


def section(heading: str) -> str:
    """What FORMAT.md says below a heading or a line, up to the next heading."""
    start = DOCUMENT.index(f"\n{heading}") + 1 + len(heading)
    stop = DOCUMENT.find("\n#", start)
    return DOCUMENT[start : stop if stop > 0 else None]


def first_table(text: str) -> list[list[str]]:
    """The cells of the first table in a text, without its head."""
    lines = text[text.index("\n|") + 1 :].split("\n\n", maxsplit=1)[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


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


@pytest.mark.parametrize(
    ("heading", "layout"),
    [
        ("## Records", record._HEADER),
        ("## WAL", wal._HEADER),
        ("## Manifest", manifest._HEADER),
        ("## Segment", segment._HEADER),
        ("A slot:", index._SLOT),
    ],
)
def test_a_table_of_the_document_says_what_the_struct_does(
    heading: str, layout: struct.Struct
) -> None:
    """The first layout table below each heading."""
    text = section(heading)
    lines = layout_lines(text[text.index("\n|") :].split("\n\n")[0])
    assert [(offset, int(size)) for offset, size, _ in lines if size != "n"] == fields(layout)


def test_the_footer_of_the_document() -> None:
    """A handle is two fields of the struct."""
    lines = layout_lines(section("Footer, the last 72 bytes:"))
    handles = [(offset, 12) for offset in (0, 12, 24, 36)]
    rest = fields(segment._FOOTER)[8:]
    assert [(offset, int(size)) for offset, size, _ in lines] == [*handles, *rest]
    assert segment.FOOTER_SIZE == 72


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("## Rows", Row),
        ("### Chunk", Chunk),
        ("The payload of a record is a MessagePack `Commit`", wal._Payload),
        ("before the record was written. The payload", VersionEdit),
        ("`Shape`:", Shape),
        ("`SegmentMeta`:", SegmentMeta),
        ("### Properties", Properties),
    ],
)
def test_an_array_of_the_document_has_the_fields_of_the_code(
    heading: str, kind: type[msgspec.Struct]
) -> None:
    """Names and order; a default in the document is one in the code, and the other way round."""
    table = first_table(section(heading))
    assert [cells[0] for cells in table] == list(kind.__struct_fields__)
    stated = [" = " in cells[1] for cells in table]
    optional = [not each.required for each in msgspec.structs.fields(kind)]
    assert stated == optional


def test_the_flags_of_the_document() -> None:
    """Frozen numbers, under the names of the code."""
    stated = {cells[1]: int(cells[0]) for cells in first_table(section("### Flags"))}
    assert stated == {
        "CLEARED": 1,
        "EXPIRES": 2,
        "EXTENDS": 4,
        "ENTRY_TTLS": 8,
        "TOMBSTONES": 16,
        "LARGE": 32,
    }
    assert stated == {name: getattr(rows, name) for name in stated}
    assert rows.BARRIER == rows.CLEARED | rows.EXPIRES | rows.EXTENDS


def test_numbers_that_the_document_names() -> None:
    """Kinds of block, the codec, the sizes and constants in its sentences."""
    kinds = "1 rows, 2 chunk, 3 filter, 4 tombstones, 5 index, 6 properties"
    assert kinds in section("### Sealed blocks")
    for one in kinds.split(", "):
        number, name = one.split()
        assert getattr(block, name.upper()) == int(number)
    assert block.UNCOMPRESSED == 0 and "0: uncompressed" in section("### Sealed blocks")
    assert rows.TABLE_ENTRIES == 32 and "more than 32 entries" in section("## Rows")
    assert rows.LEAST_VERSION == 1 << 32 and "at least 2^32" in section("### The fixed front")
    assert f"{filter._BARRIER:X}" in section("### Filter")
    assert filter.BITS_PER_ITEM == 12 and "items * 12 / 64" in section("### Filter")
    assert 1 << filter._MASK_BITS == 4096 and filter._BITS_SET == 5
    assert f"# Byte layouts, format {manifest.FORMAT_VERSION}\n" in DOCUMENT


def test_the_document_names_modules_that_exist() -> None:
    named = re.findall(r"^#+ .*\(`([\w/]+\.py)`\)", DOCUMENT, re.MULTILINE)
    assert len(named) >= 10
    for name in named:
        assert (Path(kvengine.__file__).parent / "storage" / name).is_file(), name


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


def test_magic_and_version_are_those_of_the_second_format() -> None:
    """Frozen: they stand in every file that is written."""
    assert (wal.MAGIC, manifest.MAGIC, segment.MAGIC) == (
        b"KVEWAL\r\n",
        b"KVEMAN\r\n",
        b"KVESEG\r\n",
    )
    assert (wal.FORMAT_VERSION, manifest.FORMAT_VERSION, segment.FORMAT_VERSION) == (2, 2, 2)


def unhex(text: str) -> bytes:
    return bytes.fromhex("".join(text.split()))


WAL_HEADER = """
4b564557414c0d0a02000000000102030405060708090a0b0c0d0e0f0700000000000000020000000000000067120000
00000000000000000000000081189366
"""

WAL_RECORD = """
0679eeb62bdb0ba1bb010000400000000000000094cf00060a24181e40009493a173a16b9410cf00060a24181e4000c0
83a16ec40576616c7565a16dc0a0c40093a173a178940fcf00060a24181e4000cf000665172898800081a17492cf0006
379da05b6000c4013193a173a1799500cf00060a24181e4000c081a16ec40131cf00060a24181e400193a173a17a9700
cf00060a24181e4000c0de0021a130c400a131c400a23130c400a23131c400a23132c400a23133c400a23134c400a231
35c400a23136c400a23137c400a23138c400a23139c400a132c400a23230c400a23231c400a23232c400a23233c400a2
3234c400a23235c400a23236c400a23237c400a23238c400a23239c400a133c400a23330c400a23331c400a23332c400
a134c400a135c400a136c400a137c400a138c400a139c400c0c0c4840f00000013000000170000001c00000021000000
260000002b00000030000000350000003a0000003f00000044000000490000004d00000052000000570000005c000000
61000000660000006b00000070000000750000007a0000007f00000083000000880000008d0000009200000096000000
9a0000009e000000a2000000a60000009192c40473000161c4047300016200
"""

MANIFEST_RECORD = """
f7e2f4b481c18cc54c00000040000000000000009c91950901cf4000000000000000cd1000dc0010c40473000161c405
7300017a000102cd012c0405060708c00a0b0c0d0e9103910a9102810a400b0d0e92cd2000ce000100000f81a1731011
"""

SEGMENT = """
4b56455345470d0a02000000efcdab89674523010000000000000000c603eb36dd000000019400cf00060a24181e4000
c081a16ec40131730001610500000017000000010000000100630333c6dd00000001940bcf00060a24181e4000cf0006
0a24181e400581a16e9209c4013273000162050000002100000001000000010089d50af6dd000000019620cf00060a24
181e4001c080c09294a26e30006d0294a26e326d400173000163050000002200000001000000010090bf74499400cf00
060a24181e4001c082a26e30c42800000000000000000000000000000000000000000000000000000000000000000000
000000000000a26e31c42800000000000000000000000000000000000000000000000000000000000000000000000000
0000000200220474cd9400cf00060a24181e4001c081a26e32c428000000000000000000000000000000000000000000
00000000000000000000000000000000000000020023af1ec8db7017f6a6e355832830144ac44312278b250806056950
000300821237889193c40473000164c40473000165cf00060a24181e400204008a0c04b2730001617300016273000163
0000000020000000000000002d000000040000004d000000000000003700000008000000840000000000000038000000
03000000050075d38041dc0010c40473000161c404730001650305ccce0101cf00060a24181e40000109c0c000cf0006
0a24181e4000cf00060a24181e4002010600214268bf69010000000000001e00000087010000000000001d000000a401
00000000000046000000ea010000000000003c000000efcdab89674523010200000010f331e84b56455345470d0a
"""

STAMP = 1_700_000_000_000_000
ROWS = [
    (("s", "k"), rows.pack(rows.TOMBSTONES, STAMP, None, {"n": b"value", "m": None, "": b""})),
    (
        ("s", "x"),
        rows.pack(
            rows.CLEARED | rows.EXPIRES | rows.EXTENDS | rows.ENTRY_TTLS,
            STAMP,
            1_800_000_000_000_000,
            {"t": (1_750_000_000_000_000, b"1")},
        ),
    ),
    (("s", "y"), rows.pack(0, STAMP, None, {"n": b"1"}, STAMP + 1)),
    (("s", "z"), rows.pack(0, STAMP, None, {f"{number}": b"" for number in range(33)})),
]
RANGES = [(encode_object("s", "a"), encode_object("s", "b"))]


def wal_bytes() -> tuple[bytes, bytes]:
    seed = checksum.salt(ID, 7)
    payload = wal.encode_commit(STAMP, ROWS, RANGES, 0)
    data = record.encode(payload, seed, record.marker(seed), 64)
    return wal.encode_header(wal.Header(ID, 7, 2, 4711)), data


def test_wal_bytes() -> None:
    """A header and a record with each form of row, written and read."""
    header, data = wal_bytes()
    assert header == unhex(WAL_HEADER)
    assert data == unhex(WAL_RECORD)
    assert wal.decode_header(unhex(WAL_HEADER)) == wal.Header(ID, 7, 2, 4711)
    (found,) = record.records(bytes(64) + unhex(WAL_RECORD), 64, checksum.salt(ID, 7))
    wanted = [(service, key, data) for (service, key), data in ROWS]
    assert wal.decode_commit(found.payload) == wal.Commit(STAMP, wanted, RANGES)
    assert found.synced == 64


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
    barriers=14,
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
    trusted=15,
    retention={"s": 16},
    epoch=17,
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


LARGE = {f"n{number}": bytes(40) for number in range(3)}


def segment_bytes(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A segment of a plain block, an expiring row, a large row and a range tombstone."""

    class Fixed:
        def getrandbits(self, bits: int) -> int:
            return 0x0123456789ABCDEF

    monkeypatch.setattr(segment_writer.random, "SystemRandom", Fixed)
    fs = MemoryFileSystem()
    writer = SegmentWriter(fs, "/one", 64, 64, filter.seed_of(ID))
    expiring = rows.make(STAMP, {"n": (9, b"2")}, cleared=True, expires_at=STAMP + 5)
    writer.add(encode_object("s", "a"), rows.make(STAMP, {"n": b"1"}))
    writer.add(encode_object("s", "b"), expiring)
    writer.add(encode_object("s", "c"), rows.make(STAMP + 1, LARGE))
    writer.finish(((encode_object("s", "d"), encode_object("s", "e"), STAMP + 2),), STAMP)
    return fs.read_bytes("/one")


def test_segment_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole segment file, byte by byte, written and read."""
    assert segment_bytes(monkeypatch) == unhex(SEGMENT)
    fs = MemoryFileSystem()
    file = fs.create("/old")
    file.write(unhex(SEGMENT))
    from kvengine.storage.repair.verify import verify_segment
    from kvengine.storage.segment.reader import SegmentReader

    reader = SegmentReader(fs, "/old")
    assert list(verify_segment(reader)) == []
    name = encode_object("s", "c")
    row = reader.find(name)
    assert row is not None and row[1] & rows.LARGE
    assert reader.load(row, name).entries == LARGE
    assert reader.tombstones == ((b"s\0\x01d", b"s\0\x01e", STAMP + 2),)


def test_a_row_is_seven_fields() -> None:
    """Rows are arrays on disk: a field added or moved anywhere but at the end changes them all."""
    assert Row.__struct_fields__ == (
        "flags",
        "version",
        "expires_at",
        "entries",
        "completed_at",
        "chunks",
        "offsets",
    )
    assert rows.pack(0, STAMP, None, {})[:3] == b"\x94\x00\xcf"
