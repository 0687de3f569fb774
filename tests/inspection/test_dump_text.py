"""What dumps show of sound files, word for word; the clock stands still, identities are masked."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType

import pytest

import kvengine
from kvengine.fs.memory import MemoryFileSystem
from kvengine.inspection.dump import manifest, parts, segment, wal
from kvengine.inspection.dump.parts import WIDTH
from kvengine.storage import record
from kvengine.storage import row as rows
from kvengine.storage.checksum import salt
from kvengine.storage.clock import ManualClock
from kvengine.storage.manifest.format import (
    Header,
    Shape,
    VersionEdit,
    encode_edit,
    encode_header,
)
from kvengine.storage.wal.format import Header as WalHeader
from kvengine.storage.wal.format import encode_commit
from kvengine.storage.wal.format import encode_header as encode_wal_header
from tests.inspection.damage_forge import put

GOLDEN = Path(__file__).parent / "dump_golden"
DUMPS = {"wal": wal, "segment": segment, "manifest": manifest}
_MASKED = re.compile(r"\b[0-9a-f]{32}\b|\b0x[0-9a-f]{16}\b")


@pytest.fixture(scope="module")
def fs() -> MemoryFileSystem:
    """A database with two segments of level 0, a WAL behind them, and a manifest."""
    fs, clock = MemoryFileSystem(), ManualClock()
    db = kvengine.open("db", fs=fs, clock=clock, background="none", durability="os", chunk_size=300)
    for service in ("Gone", "Greeter", "Old"):
        db.set(service, "carol\x1b[2J", "name\u202e", b"old")
    db.flush()
    db.set("Greeter", "alice", "name", b'"Alice"')
    db.set("Greeter", "alice", "token", b"\x00\xff" * 30, ttl=60)
    db.set("Greeter", "bob", "note", b"a long value, " * 20)
    db.expire("Greeter", "bob", ttl=3600)
    db.expire("Greeter", "bob", ttl=7200)
    for number in range(4):
        db.set("Large", "one", f"part {number}", b"%d" % number * 120)
    db.clear("Greeter", "carol\x1b[2J", "name\u202e")
    db.clear_range("Old", "a", "m")
    db.clear_service("Gone")
    db.flush()
    clock.advance(1)
    db.set("Greeter", "alice", "name", b'"Alicia"')
    db.clear_all("Greeter", "bob")
    batch = kvengine.Batch()
    batch.set("Greeter", "dora", "empty", b"")
    batch.clear("Greeter", "dora", "full")
    db.write(batch, durability="sync")
    db.clear_range("Greeter", "x", None)
    return fs.copy()


def path_of(fs: MemoryFileSystem, kind: str) -> str:
    return [path for path in fs.paths() if path.endswith(kind)][-1]


def shown(fs: MemoryFileSystem, kind: str) -> str:
    found = DUMPS[kind].read(path_of(fs, kind), fs)
    lines = list(DUMPS[kind].describe(found, None))
    assert found.damage == []
    return _MASKED.sub("IDENTITY", "\n".join(lines)) + "\n"


@pytest.mark.parametrize("kind", DUMPS)
def test_text_is_as_documented(fs: MemoryFileSystem, kind: str) -> None:
    """The whole text of each dump."""
    assert shown(fs, kind) == (GOLDEN / f"{kind}.txt").read_text()


@pytest.mark.parametrize("kind", DUMPS)
def test_items_are_as_documented(fs: MemoryFileSystem, kind: str) -> None:
    """The whole of each dump as data, an item a line; nothing but JSON's own types."""
    module = DUMPS[kind]
    items = list(module.records(module.read(path_of(fs, kind), fs)))
    text = "".join(json.dumps(one) + "\n" for one in items)
    assert [json.loads(line) for line in text.splitlines()] == items
    assert _MASKED.sub("IDENTITY", text) == (GOLDEN / f"{kind}.jsonl").read_text()


@pytest.mark.parametrize("kind", DUMPS)
def test_text_fits_a_terminal(fs: MemoryFileSystem, kind: str) -> None:
    """80 columns, and nothing that a terminal acts on, unless a name takes more."""
    for line in shown(fs, kind).splitlines():
        assert line.isprintable()
        assert len(line) <= WIDTH or '("' in line or "IDENTITY" in line, line


@pytest.mark.parametrize("kind", DUMPS)
def test_a_limit_leaves_the_rest_out(fs: MemoryFileSystem, kind: str) -> None:
    """So many rows, commits or edits; the end of the file is told all the same."""
    module, path = DUMPS[kind], path_of(fs, kind)
    whole = list(module.describe(module.read(path, fs), None))
    short = list(module.describe(module.read(path, fs), 1))
    assert len(short) < len(whole) and "  …" in short
    assert list(module.describe(module.read(path, fs), 10**9)) == whole
    if kind != "segment":
        assert short[-1] == whole[-1]
    counted = {"segment": "row", "wal": "commit", "manifest": "edit"}[kind]
    items = list(module.records(module.read(path, fs), 1))
    assert sum(counted in one for one in items) == 1


def test_a_token_is_shown_with_its_epoch() -> None:
    """Of a commit that has one, in lines and as data."""
    fs = MemoryFileSystem()
    seed = salt(bytes(16), 7)
    row = rows.pack(0, 1 << 40, None, {})
    payload = encode_commit(1 << 40, [(("Order", "o-1"), row)], [], 0, 5, b"\x00\xffname")
    data = record.encode(payload, seed, record.marker(seed), 64)
    put(fs, "/000007.wal", encode_wal_header(WalHeader(bytes(16), 7, 0, 0, 5)) + data)
    lines = list(wal.describe(wal.read("/000007.wal", fs), None))
    assert "begun by the owner of epoch 5" in lines
    assert "    token 00ff6e616d65, of the owner of epoch 5" in lines
    header, found, _ = [
        next(iter(one.values())) for one in wal.records(wal.read("/000007.wal", fs))
    ]
    assert header["epoch"] == found["epoch"] == 5 and found["token"] == "00ff6e616d65"


def test_what_is_reserved_is_shown_where_it_is_there() -> None:
    """Completed workflows, stored retention and the epoch have their place in the format."""
    stamp, fs = 1_700_000_000_000_000, MemoryFileSystem()
    seed = salt(bytes(16), 7)
    mark = record.marker(seed)
    row = rows.pack(rows.CLEARED, stamp, None, {}, stamp + 1)
    made = record.encode(encode_commit(stamp, [(("Order", "o-1"), row)], [], 0), seed, mark, 64)
    put(fs, "/000007.wal", encode_wal_header(WalHeader(bytes(16), 7, 0, 0)) + made)
    found = wal.read("/000007.wal", fs)
    assert "      cleared, completed 2023-11-14T22:13:20.000001+00:00" in wal.describe(found)
    edit = VersionEdit(shape=Shape(1, 1), retention={"Order": 90_000_000}, epoch=3)
    data = record.encode(encode_edit(edit), seed, mark, 64)
    put(fs, "/000007.manifest", encode_header(Header(bytes(16), 7)) + data)
    lines = list(manifest.describe(manifest.read("/000007.manifest", fs)))
    assert '    keeps completed workflows of "Order" for 90 s' in lines
    assert "    epoch 3" in lines
    (item,) = [
        one["edit"]
        for one in manifest.records(manifest.read("/000007.manifest", fs))
        if "edit" in one
    ]
    assert item["retention"] == {"Order": 90.0} and item["epoch"] == 3


def test_current_leads_to_the_manifest_beside_it(fs: MemoryFileSystem) -> None:
    found = manifest.read("/db/CURRENT", fs)
    lines = list(manifest.describe(found))
    assert lines[0] == 'CURRENT "/db/CURRENT", 25 bytes'
    assert lines[1] == "  names 000003.manifest, its checksum holds"
    assert lines[2:] == list(manifest.describe(manifest.read("/db/000003.manifest", fs)))
    first, *rest = manifest.records(manifest.read("/db/CURRENT", fs))
    assert first == {"current": {"path": "/db/CURRENT", "bytes": 25, "names": "000003.manifest"}}
    assert rest == list(manifest.records(manifest.read("/db/000003.manifest", fs)))


def test_current_alone_is_shown(fs: MemoryFileSystem) -> None:
    """A file alone is enough; that what it names is not beside it is said."""
    alone = fs.copy()
    alone.makedirs("/elsewhere")
    alone.link("/db/CURRENT", "/elsewhere/CURRENT")
    found = manifest.read("/elsewhere/CURRENT", alone)
    assert list(manifest.describe(found))[1].startswith("  damaged: CURRENT names this manifest")
    assert found.name == "000003.manifest" and len(found.damage) == 1


@pytest.mark.parametrize("kind", ["wal", "manifest"])
def test_records_are_found_without_the_header(fs: MemoryFileSystem, kind: str) -> None:
    """A lost header costs nothing but itself: the records tell how they are to be read."""
    module, path = DUMPS[kind], path_of(fs, kind)
    sound = list(module.describe(module.read(path, fs), None))
    broken = fs.copy()
    for at in range(64):
        broken.flip(path, at, 0xA5)
    found = module.read(path, broken)
    lines = list(module.describe(found, None))
    start = sound.index({"wal": "commits", "manifest": "edits"}[kind])
    assert lines[lines.index(sound[start]) :] == sound[start:]
    assert [one.offset for one in found.damage] == [0]


def dumped(module: ModuleType, path: str, fs: MemoryFileSystem) -> tuple[str, list[int]]:
    found = module.read(path, fs)
    return "\n".join(module.describe(found, None)), [one.offset for one in found.damage]


def test_a_torn_tail_is_no_damage_to_a_wal_alone(fs: MemoryFileSystem) -> None:
    """Bytes behind what its records prove are told, and left to others to judge."""
    path = path_of(fs, "wal")
    ends = [
        one["commit"]["offset"] + one["commit"]["length"]
        for one in wal.records(wal.read(path, fs))
        if "commit" in one
    ]
    torn = fs.copy()
    torn.cut(path, ends[-1] - 3)
    text, damage = dumped(wal, path, torn)
    assert damage == [] and f"offset {ends[-2]:,}, 62 bytes: no record, a torn tail" in text
    assert "behind them: a torn tail" in text
    torn.flip(path, ends[-3] - 5)
    text, damage = dumped(wal, path, torn)
    assert "a torn tail" in text and damage == []


def test_damage_before_a_proven_sync_is_told_and_what_is_behind_is_shown(
    fs: MemoryFileSystem,
) -> None:
    path, broken = path_of(fs, "wal"), fs.copy()
    broken.flip(path, 70)
    text, damage = dumped(wal, path, broken)
    assert damage == [64]
    assert "no record, damaged" in text and '("Greeter", "dora")' in text
    assert text.count("behind the end: an open does not read it") == 3


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"", {"text": "", "bytes": 0}),
        (b"\xff", {"base64": "/w==", "bytes": 1}),
        (b"a" * 200, {"text": "a" * 200, "bytes": 200}),
        (b"a" * 201, {"text": "a" * 200, "bytes": 201}),
        (
            b"a" + "\U0001f600".encode() * 60,
            {"text": "a" + "\U0001f600" * 49, "bytes": 241},
        ),
        ("\u65e5".encode() * 70, {"text": "\u65e5" * 66, "bytes": 210}),
        ("\u65e5".encode()[:2], {"base64": "5pc=", "bytes": 2}),
        (b"a" * 300 + b"\xff", {"text": "a" * 200, "bytes": 301}),
    ],
)
def test_the_start_of_a_value_ends_between_characters(value: bytes, shown: object) -> None:
    """The first 200 bytes as text, less the part of a character that would be cut."""
    assert parts.value_dict(value) == shown
    assert parts.entry_line("  ", "k", value).isprintable()
