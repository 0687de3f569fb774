"""The files of a real database, read by FORMAT.md alone and with somebody else's MessagePack.

by_the_book.py shares no code with the engine. What it reads must be what the engine says, and each
file must be as the document states it: that is the proof that the document describes the format.
"""

from __future__ import annotations

import struct

import msgpack
import pytest

import kvengine
from kvengine.fs.memory import MemoryFileSystem
from kvengine.inspection.dump import independent
from kvengine.storage import row as rows
from kvengine.storage.clock import SECOND, ManualClock
from kvengine.storage.row import Chunk
from tests.files import by_the_book
from tests.files.by_the_book import CLEARED, ENTRY_TTLS, EXPIRES, EXTENDS, TOMBSTONES, Book

NAMES = ("", "\0", "a", "a\0b", "\u00e9", "e\u0301", "\U0001f600", "n" * 40, "n" * 300, "n" * 65536)
VALUES = (b"", b"\xc0", b"\x92", b'"text"', bytes(255), bytes(256), bytes(70_000))


class World:
    """A database in memory, small enough in every size that each form of row is written."""

    def __init__(self) -> None:
        self.fs, self.clock = MemoryFileSystem(), ManualClock()
        self.db = kvengine.open(
            "db",
            fs=self.fs,
            clock=self.clock,
            background="none",
            durability="os",
            block_size=512,
            chunk_size=2048,
        )

    def read(self) -> Book:
        """The files as they lie there now."""
        return by_the_book.read(
            {path.rpartition("/")[2]: self.fs.read_bytes(path) for path in self.fs.paths()}
        )

    def agree(self) -> Book:
        """The document's reader and the engine say the same of every object."""
        book = self.read()
        now = self.clock.wall()
        said = {
            by_the_book.encoded(one.service, one.key): (
                one.version,
                None if one.expires_at is None else round(one.expires_at * SECOND),
                one.entries,
            )
            for one in self.db.scan()
        }
        assert book.objects(now) == said
        return book


@pytest.fixture
def world() -> World:
    return World()


def fill(world: World) -> None:
    """Every write verb, on names and values of every width."""
    db = world.db
    for number, name in enumerate(NAMES):
        db.set(name, "key", "state", VALUES[number % len(VALUES)])
        db.set("service", name, "state", VALUES[number % len(VALUES)])
        db.set("service", "names", name, VALUES[number % len(VALUES)])
    for count in (1, 15, 16, 31, 32, 33, 100):
        with db.batch() as batch:
            for number in range(count):
                batch.set("counted", f"{count:03}", f"k{number:03}", b"%d" % number)
    for number in range(40):
        db.set("large", "one", f"part {number:02}", bytes([number]) * 300)
        db.set("large", "two", f"part {number:02}", b"x" * 200, ttl=50 + number)
    with db.batch() as batch:
        for number in range(3_000):
            batch.set("large", "many", f"{number:05}", b"v")
    db.set("plain", "a", "n", b"1")
    db.set("plain", "a", "m", b"2")
    db.clear("plain", "a", "m")
    db.set("timed", "entries", "short", b"1", ttl=10)
    db.set("timed", "entries", "long", b"2", ttl=1000)
    for name in ("shorter", "longer", "lifted", "dead"):
        db.set("timed", name, "n", b"1")
        db.expire("timed", name, ttl=100)
    db.expire("timed", "shorter", ttl=20)
    db.expire("timed", "longer", ttl=2000)
    db.expire("timed", "lifted")
    db.expire("timed", "dead", ttl=5)
    for name in ("a", "b", "c", "d"):
        db.set("ranged", name, "n", b"1")
        db.set("gone", name, "n", b"1")
        db.set("cleared", name, "n", b"1")


def change(world: World) -> None:
    """Clears of every kind over it, and time that passes."""
    db = world.db
    db.clear_all("cleared", "a")
    db.set("cleared", "a", "again", b"2")
    db.clear_range("ranged", "b", "d")
    db.set("ranged", "c", "again", b"3")
    db.clear_service("gone")
    with db.batch() as batch:
        batch.clear_all("cleared", "b")
        batch.set("cleared", "b", "n", b"4")
        batch.clear_range("cleared", "d", None)
        batch.clear("large", "one", "part 07")
        batch.set("counted", "100", "k050", b"new", ttl=30)
        batch.clear("counted", "100", "k051")
    world.clock.advance(12)
    db.set("timed", "dead", "n", b"anew")
    db.set("timed", "entries", "short", b"again")


def test_a_log_is_read_by_the_document(world: World) -> None:
    """Nothing is flushed: commits alone say what the engine says."""
    fill(world)
    written = world.agree().commits
    change(world)
    written += world.agree().commits
    assert len(written) > 100
    seen = {flag for one in written for each in one["rows"].values() for flag in flags(each)}
    assert seen == {CLEARED, EXPIRES, EXTENDS, ENTRY_TTLS, TOMBSTONES}
    assert any(one["tombstones"] for one in written)
    assert any(one["now"] for one in written)
    world.db.close()


def test_segments_are_read_by_the_document(world: World) -> None:
    """Two flushes, one over the other, then a compaction; no byte of a file is left over."""
    fill(world)
    world.db.flush()
    world.agree()
    change(world)
    world.db.flush()
    book = world.agree()
    assert len(book.segments) >= 2 and not book.commits
    assert sum(one.heads for one in book.segments) >= 3
    assert {"rows", "chunk", "filter", "tombstones", "index", "properties"} == {
        kind for one in book.segments for kind in one.kinds
    }
    assert any(one.tombstones for one in book.segments)
    world.clock.advance(200)
    world.db.compact()
    compacted = world.agree()
    assert not any(one.tombstones for one in compacted.segments)
    assert len(compacted.edits) > len(book.edits) or len(compacted.edits) < 3
    world.db.close()


def test_a_token_is_read_by_the_document(world: World) -> None:
    """A commit that has one states the epoch of its owner too."""
    for _ in range(2):
        batch = kvengine.Batch()
        batch.set("s", "k", "n", b"1")
        world.db._committer.write_once(batch, None, None, b"token", None)
        world.db.set("s", "k", "n", b"2")
        world.db.close()
        world.db = kvengine.open("db", fs=world.fs, clock=world.clock, background="none")
    book = world.agree()
    named = [(one["token"], one["epoch"]) for one in book.commits if "token" in one]
    assert named == [(b"token", 1)] and book.epochs == [1, 2, 3]
    world.db.close()


def test_a_reopened_database_is_read_by_the_document(world: World) -> None:
    """A clean close states where the WAL ends; the next life goes on."""
    fill(world)
    world.db.flush()
    change(world)
    world.db.close()
    book = world.read()
    assert book.edits[-1]["wal_ends"]
    first, *others = book.edits
    assert first["shape"] == [512, 2048] and all(one["shape"] is None for one in others)
    assert all(one["retention"] == {} for one in book.edits)
    assert first["epoch"] == book.epochs[-1] == 1 and all(one["epoch"] == 0 for one in others)
    world.db = kvengine.open("db", fs=world.fs, clock=world.clock, background="none")
    world.db.set("after", "reopen", "n", b"1")
    world.agree()
    world.db.close()


def flags(found: dict[str, int]) -> list[int]:
    return [1 << bit for bit in range(6) if found["flags"] >> bit & 1]


# --- rows by hand, so that forms which no verb writes yet are proven too

VERSION = 1_700_000_000_000_000


@pytest.mark.parametrize("count", [0, 1, 15, 16, 32, 33, 65_535, 65_536])
@pytest.mark.parametrize("completed_at", [None, VERSION + 7])
@pytest.mark.parametrize("expires_at", [None, VERSION + 5])
def test_each_form_of_a_row(count: int, completed_at: int | None, expires_at: int | None) -> None:
    """Four, five and seven fields, each width of the map, with and without an expiry."""
    entries = {f"{number:05}": b"%d" % number for number in range(count)}
    made = rows.make(VERSION, entries, expires_at=expires_at, completed_at=completed_at)
    data = rows.encode(made)
    found = by_the_book.row(data)
    assert found["entries"] == entries and found["completed_at"] == completed_at
    assert independent.decoder()(data) == rows.decode(data)


def test_the_head_of_a_large_row() -> None:
    """Six fields; the chunks are four each."""
    chunks = [Chunk("a", 0, 300, 2), Chunk("k", 300, 70_000, 1)]
    data = rows.encode_head(rows.make(VERSION, {}, cleared=True), chunks)
    found = by_the_book.row(data)
    assert found["chunks"] == [["a", 0, 300, 2], ["k", 300, 70_000, 1]]
    assert independent.decoder()(data) == rows.decode(data)


def test_an_entry_of_three_is_reserved() -> None:
    """A reference to a blob, some day; today no reader takes it for a value."""
    data = msgpack.packb([0, VERSION, None, {"blob": [1, 2, 3]}])
    with pytest.raises(ValueError, match="not a row"):
        rows.decode(data)
    with pytest.raises(ValueError, match="not a row"):
        independent.decoder()(data)


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [0, VERSION, None],
        [0, "version", None, {}],
        [0, VERSION, True, {}],
        [0, VERSION, None, []],
        [0, VERSION, None, {"n": "text"}],
        [0, VERSION, None, {"n": [1]}],
        [0, VERSION, None, {"n": [b"", b""]}],
        [0, VERSION, None, {"n": [1, "text"]}],
        [0, VERSION, None, {b"n": b""}],
        [32, VERSION, None, {}, None, [["a", 0, 1]]],
        [32, VERSION, None, {}, None, [[b"a", 0, 1, 1]]],
    ],
)
def test_both_decoders_refuse_the_same(fields: list[object]) -> None:
    """What is no row to the engine is none to the independent decoder."""
    data = msgpack.packb(fields)
    for decode in (rows.decode, independent.decoder()):
        with pytest.raises(ValueError, match="not a row"):
            decode(data)


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"\x94\x00", b"\x91" * 2000, struct.pack(">BI", 0xDD, 1 << 31)]
)
def test_bytes_that_are_no_messagepack_are_no_row(data: bytes) -> None:
    """Cut, reserved, nested without end, or a length that nothing backs."""
    for decode in (rows.decode, independent.decoder()):
        with pytest.raises(ValueError, match="not a row"):
            decode(data)
