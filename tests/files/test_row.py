"""Rows and blocks as bytes: they come out as they went in, and no damage makes them lie or break.

What is searched in place must say what decoding says. Bytes that nobody wrote end in ValueError, or
in an answer that decoding confirms; never in another error.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kvengine.storage import row as rows
from kvengine.storage.checksum import TRAILER_SIZE
from kvengine.storage.fold import fold
from kvengine.storage.names import encode_object
from kvengine.storage.row import (
    CLEARED,
    ENTRY_TTLS,
    EXPIRES,
    EXTENDS,
    LARGE,
    LEAST_VERSION,
    MISSING,
    TABLE_ENTRIES,
    TOMBSTONES,
    Chunk,
    Entry,
    Row,
)
from kvengine.storage.segment import format as segment
from kvengine.storage.segment.block import RowBlock, encode_rows
from kvengine.storage.segment.format import Index

TIMES = st.integers(0, (1 << 63) - 1)
VERSIONS = st.integers(LEAST_VERSION, (1 << 63) - 1)
STATE_KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
VALUES = st.binary(max_size=300)
ENTRIES: st.SearchStrategy[Entry] = st.none() | VALUES | st.tuples(TIMES, VALUES)
SIZES = [0, 1, 31, 32, 33, 34, 300, 70_000]


@st.composite
def made_rows(draw: st.DrawFn, most: int = 40) -> Row:
    """Any row that a commit or a fold can make."""
    return rows.make(
        draw(VERSIONS),
        draw(st.dictionaries(STATE_KEYS, ENTRIES, max_size=most)),
        cleared=draw(st.booleans()),
        extends=draw(st.booleans()),
        expires_at=draw(st.none() | TIMES),
        completed_at=draw(st.none() | TIMES),
    )


def grown(size: int, seed: int = 0) -> Row:
    """A row of so many entries of all three kinds, with names and values of many lengths."""
    rng = random.Random(seed)
    entries: dict[str, Entry] = {}
    while len(entries) < size:
        name = (
            f"{len(entries):x}" + "ä\0" * rng.randrange(3) + "x" * rng.choice([0, 1, 28, 29, 300])
        )
        value = rng.randbytes(rng.choice([0, 1, 3, 255, 256]) if size < 1000 else 3)
        times = [None, value, (rng.getrandbits(rng.choice([3, 8, 16, 32, 50])), value)]
        entries[name] = times[rng.choice([0, 1, 1, 1, 2])]
    return rows.make(1 << 50, entries, expires_at=1 << 51)


def same(found: Row, expected: Row) -> bool:
    return rows.encode(found) == rows.encode(expected) and found.entries == expected.entries


# --- whole rows


@given(made_rows())
@example(rows.make(LEAST_VERSION, {}))
@example(rows.make((1 << 63) - 1, {"": b""}, expires_at=0, completed_at=0))
def test_a_row_comes_out_as_it_went_in(row: Row) -> None:
    data = rows.encode(row)
    found = rows.check(data)
    assert same(found, row) and same(rows.decode(data), row)
    assert found.flags == row.flags and found.completed_at == row.completed_at
    assert rows.version_of(data) == row.version
    assert rows.expires_at_of(data) == row.expires_at
    assert rows.entry_count(data) == len(row.entries)
    values = [entry for entry in row.entries.values() if entry is not None]
    assert not rows.has_values(data) or values
    rows.check_prefix(data, 0, len(data))


@given(made_rows())
def test_anybody_reads_a_row(row: Row) -> None:
    """The msgpack package, which shares no code with ours, finds what FORMAT.md says."""
    data = rows.encode(row)
    flags, version, expires_at, entries, *rest = msgpack.unpackb(data, strict_map_key=True)
    assert (flags, version, expires_at) == (row.flags, row.version, row.expires_at)
    read = {
        name: tuple(entry) if isinstance(entry, list) else entry for name, entry in entries.items()
    }
    assert read == row.entries
    if len(entries) > TABLE_ENTRIES:
        completed_at, chunks, offsets = rest
        assert (completed_at, chunks) == (row.completed_at, None)
        check_table(data, list(entries), offsets)
    else:
        assert rest == ([] if row.completed_at is None else [row.completed_at])


def check_table(data: bytes, names: list[str], offsets: bytes) -> None:
    """Each offset leads to the state key that it is for."""
    assert names == sorted(names)
    starts = struct.unpack(f"<{len(names)}I", offsets)
    for name, start in zip(names, starts, strict=True):
        unpacker = msgpack.Unpacker()
        unpacker.feed(data[start:])
        assert unpacker.unpack() == name


def test_flags_are_the_numbers_on_disk() -> None:
    """Frozen: rows that lie on disks have them."""
    flags = (CLEARED, EXPIRES, EXTENDS, ENTRY_TTLS, TOMBSTONES, LARGE)
    assert flags == (1, 2, 4, 8, 16, 32)


@pytest.mark.parametrize("size", SIZES)
def test_what_is_found_in_place_is_what_decoding_finds(size: int) -> None:
    row = grown(size)
    data = rows.encode(row)
    assert (data[0] == 0x97) == (size > TABLE_ENTRIES)
    assert same(rows.check(data), row)
    assert list(rows.items(data)) == sorted(row.entries.items())
    names = list(row.entries)
    for name in random.Random(1).sample(names, min(size, 500)):
        assert rows.find(data, name) == row.entries[name]
        for absent in (name + "\0", name + "~", name[:-1]):
            assert rows.find(data, absent) == row.entries.get(absent, MISSING)
    for start in ["", "\U0010ffff", *names[:: max(1, size // 10)]]:
        expected = [name for name in sorted(names) if name >= start]
        assert [name for name, _ in rows.items(data, start)] == expected
    assert rows.find(data, "") is MISSING and rows.find(data, "\U0010ffff") is MISSING


@given(made_rows(most=80), STATE_KEYS)
def test_find_and_items_agree_with_decoding(row: Row, other: str) -> None:
    data = rows.encode(row)
    for name in [*row.entries, other]:
        assert rows.find(data, name) == row.entries.get(name, MISSING)
    expected = [item for item in sorted(row.entries.items()) if item[0] >= other]
    assert list(rows.items(data, other)) == expected


# --- damage


def mutations(data: bytes, rng: random.Random) -> Iterator[bytes]:
    """The same bytes with a few changed, missing, doubled, or put in from elsewhere."""
    for _ in range(60):
        made = bytearray(data)
        for _ in range(rng.choice([1, 1, 2, 5])):
            at = rng.randrange(len(made)) if made else 0
            length = rng.choice([1, 1, 2, 8, 40])
            special = rng.choice([b"\xc0", b"\xcf", b"\xdf", b"\xc6", b"\xff" * 4, b"\0", b"\x91"])
            made[at : at + rng.choice([0, length])] = rng.choice(
                [special, rng.randbytes(length), bytes(made[at : at + length]), b""]
            )
        yield bytes(made)
    for _ in range(20):
        yield data[: rng.randrange(len(data) + 1)]


def outcome(read: Callable[..., Any], *of: Any) -> Any:
    """What a read returns, ValueError itself where it raises one; other errors fail the test."""
    try:
        return read(*of)
    except ValueError:
        return ValueError


def listed(*of: Any) -> list[tuple[str, Entry]]:
    return list(rows.items(*of))


@pytest.mark.parametrize("size", [0, 1, 5, 31, 33, 40, 300])
@pytest.mark.parametrize("seed", range(10))
def test_a_mutated_row_gives_a_value_error_or_what_it_says(size: int, seed: int) -> None:
    """Whatever `check` accepts is found in place as decoding finds it."""
    rng = random.Random(seed)
    row = grown(size, seed)
    accepted = 0
    for data in mutations(rows.encode(row), rng):
        names = [*rng.sample(list(row.entries), min(size, 10)), "", "absent"]
        found = [outcome(rows.find, data, name) for name in names]
        entries = outcome(listed, data)
        outcome(listed, data, names[0])
        outcome(rows.check_prefix, data, 0, len(data))
        checked = outcome(rows.check, data)
        if checked is ValueError:
            continue
        accepted += 1
        assert rows.encode(checked) == data
        assert found == [checked.entries.get(name, MISSING) for name in names]
        assert entries == sorted(checked.entries.items())
        assert rows.entry_count(data) == len(checked.entries)
    assert accepted < 60


@settings(max_examples=300)
@given(st.binary(max_size=200), STATE_KEYS, st.booleans())
def test_bytes_that_nobody_wrote_give_a_value_error(data: bytes, name: str, headed: bool) -> None:
    if headed:
        data = b"\x97\0\xcf" + (1 << 50).to_bytes(8, "big") + b"\xc0\xde" + data
    outcome(rows.find, data, name)
    outcome(listed, data, name)
    checked = outcome(rows.check, data)
    assert checked is ValueError or rows.encode(checked) == data


VERSION = b"\xcf" + (1 << 50).to_bytes(8, "big")
TABLED = rows.encode(rows.make(1 << 50, {f"{n:02}": b"v" for n in range(40)}))
CHUNKS = b"\xc0\x91\x94\xa1a\0\x32\x01"  # no time of completion, one chunk
LONG = b"\xff\xff\xff\xff"
NOT_ROWS = {
    "nothing": b"",
    "an array that states more than there is": b"\x94\0" + VERSION + b"\xc0\xdf" + LONG,
    "a list that states more than there is": b"\x96\x20" + VERSION + b"\xc0\x80\xc0\xdd" + LONG,
    "an array of sixteen bits": b"\xdc\0\x04\0" + VERSION + b"\xc0\x80",
    "fields that nobody knows": b"\x98\0" + VERSION + b"\xc0\x80\xc0\xc0\xc4\0" + b"\x91" * 99999,
    "a version below the least": b"\x94\0\xcf" + bytes(8) + b"\xc0\x80",
    "a version without a next": b"\x94\0\xcf" + b"\xff" * 8 + b"\xc0\x80",
    "a narrow version": b"\x94\0\x07\xc0\x81\xa1a\xc4\x09" + bytes(9),
    "a narrow expiry": b"\x94\x02" + VERSION + b"\x05\x80" + bytes(9),
    "an expiry that the flags do not state": b"\x94\0" + VERSION + b"\xcf" + bytes(8) + b"\x80",
    "flags that state an expiry": b"\x94\x02" + VERSION + b"\xc0\x80",
    "a flag that nobody knows": b"\x94\x40" + VERSION + b"\xc0\x80",
    "a hidden tombstone": b"\x94\0" + VERSION + b"\xc0\x81\xa1a\xc0",
    "a hidden expiry of an entry": b"\x94\0" + VERSION + b"\xc0\x81\xa1a\x92\x05\xc4\0",
    "an expiry below zero": b"\x94\x08" + VERSION + b"\xc0\x81\xa1a\x92\xff\xc4\0",
    "a state key twice": b"\x94\0" + VERSION + b"\xc0\x82\xa1a\xc4\0\xa1a\xc4\0",
    "a long form of a short name": b"\x94\0" + VERSION + b"\xc0\x81\xd9\x01a\xc4\0",
    "text as a value": b"\x94\0" + VERSION + b"\xc0\x81\xa1a\xa1a",
    "a name that is no UTF-8": b"\x94\0" + VERSION + b"\xc0\x81\xa1\xff\xc4\0",
    "bytes behind the end": b"\x94\0" + VERSION + b"\xc0\x80\0",
    "a head without chunks": b"\x96\x20" + VERSION + b"\xc0\x80\xc0\x90",
    "chunks that the flags do not state": b"\x96\0" + VERSION + b"\xc0\x80" + CHUNKS,
    "a head with entries": b"\x96\x20" + VERSION + b"\xc0\x81\xa1a\xc4\0" + CHUNKS,
    "a table that is not needed": b"\x97\0"
    + VERSION
    + b"\xc0\x81\xa1a\xc4\0\xc0\xc0\xc4\x04\x0d\0\0\0",
    "a table with another offset": TABLED[:-4] + TABLED[-8:-4],
    "no table where there must be one": b"\x94" + TABLED[1:-164],
}


@pytest.mark.parametrize("name", NOT_ROWS)
def test_what_is_no_row_is_refused(name: str) -> None:
    """Sound MessagePack often, and each of it something that no commit writes."""
    data = NOT_ROWS[name]
    with pytest.raises(ValueError, match="not a row"):
        rows.check(data)
    outcome(rows.find, data, "a")
    outcome(listed, data)


def test_a_value_that_leads_out_of_its_row_is_not_cut_short() -> None:
    """Found in place, a value whose length leads into the table, or behind it, was returned as far
    as there were bytes."""
    row = rows.make(1 << 50, {f"{n:02}": b"v" * 9 for n in range(40)})
    data = bytearray(rows.encode(row))
    at = data.index(b"\xa239\xc4") + 4
    data[at] = 200
    with pytest.raises(ValueError, match="leads out"):
        rows.find(bytes(data), "39")
    with pytest.raises(ValueError, match="leads out"):
        list(rows.items(bytes(data)))
    assert rows.find(bytes(data), "38") == b"v" * 9


@given(
    made_rows(), st.lists(st.tuples(STATE_KEYS, st.integers(7, 9), st.integers(1, 5)), min_size=1)
)
def test_a_head_comes_out_as_it_went_in(row: Row, parts: list[tuple[str, int, int]]) -> None:
    chunks = [Chunk(first, 7 * at, length, n) for at, (first, length, n) in enumerate(parts)]
    data = rows.encode_head(row, chunks)
    found = rows.check(data)
    assert found.chunks == chunks and found.entries == {}
    assert found.flags == row.flags | LARGE
    assert (found.version, found.expires_at) == (row.version, row.expires_at)
    assert found.completed_at == row.completed_at
    assert rows.find(data, "a") is MISSING and list(rows.items(data)) == []
    assert rows.entry_count(data) == 0 and not rows.has_values(data)


# --- the law


@settings(max_examples=300)
@given(made_rows(6), made_rows(6), made_rows(6))
def test_overlay_is_associative(new: Row, middle: Row, old: Row) -> None:
    """Flags included, and in the encoding too."""
    left = rows.overlay(rows.overlay(new, middle), old)
    right = rows.overlay(new, rows.overlay(middle, old))
    assert left == right
    assert rows.overlay_all([new, middle, old]) == left
    encoded = [rows.encode(row) for row in (new, middle, old)]
    folded = fold(encoded)
    assert folded == fold([fold(encoded[:2]), encoded[2]])
    assert folded == fold([encoded[0], fold(encoded[1:])])
    assert rows.check(folded) == rows.decode(rows.encode(left))


# --- blocks


def a_block(rng: random.Random, count: int) -> tuple[dict[bytes, bytes], bytes]:
    """Objects and rows, and the block that holds them, trailer included."""
    held: dict[bytes, bytes] = {}
    for number in range(count):
        name = encode_object("s" * rng.randrange(3), f"{rng.randrange(10**6)}" + "x" * number)
        held[name] = rows.encode(grown(rng.choice([0, 1, 2, 40]), rng.randrange(99)))
    held = dict(sorted(held.items()))
    return held, encode_rows(list(held), list(held.values())) + bytes(TRAILER_SIZE)


@pytest.mark.parametrize("count", [1, 2, 3, 60])
def test_a_block_finds_its_rows_and_no_others(count: int) -> None:
    """Before the check of all of it and behind it, which caches the names."""
    held, data = a_block(random.Random(count), count)
    found = RowBlock(data)
    for _ in range(2):
        for name, row in held.items():
            assert found.find(name) == row
            assert found.find(name + b"\0") is None and found.find(name[:-1]) is None
        assert checked(found) is found
    assert (found.names, found.rows) == (list(held), list(held.values()))
    assert [found.row(at) for at in range(count)] == found.rows


@pytest.mark.parametrize("count", [1, 2, 8, 30])
@pytest.mark.parametrize("seed", range(15))
def test_a_mutated_block_gives_a_value_error_or_what_it_holds(count: int, seed: int) -> None:
    """One whose rules all hold finds each of its rows, and every row it hands out begins as one."""
    rng = random.Random(seed)
    held, sound = a_block(rng, count)
    for data in mutations(sound, rng):
        found = outcome(RowBlock, data)
        if found is ValueError:
            continue
        for name in [*held, b"", b"\xff"]:
            row = outcome(found.find, name)
            if row is not ValueError and row is not None:
                rows.check_prefix(row, 0, len(row))
                outcome(rows.find, row, "1")
                outcome(listed, row)
                assert rows.entry_count(row) >= 0
        if outcome(checked, found) is ValueError:
            continue
        assert found.names == sorted(set(found.names))
        by_name = dict(zip(found.names, found.rows, strict=True))
        for name in [*found.names, *held]:
            assert found.find(name) == by_name.get(name)
        assert list(map(found.row, range(found.count))) == found.rows


def checked(block: RowBlock) -> RowBlock:
    """Return a block, every rule of which has been checked."""
    assert len(block.rows) == len(block.names)
    return block


def block_of(names: list[bytes], held: list[bytes]) -> bytes:
    return encode_rows(names, held) + bytes(TRAILER_SIZE)


A, B = encode_object("s", "a"), encode_object("s", "b")
SMALL = rows.encode(rows.make(1 << 50, {"a": b""}))
HEAD = rows.encode_head(rows.make(1 << 50, {}), [Chunk("a", 0, 50, 1)])
ENDED = rows.encode(rows.make(1 << 50, {}, expires_at=5))


@pytest.mark.parametrize(
    ("names", "held"),
    [
        ([B, A], [SMALL, SMALL]),
        ([A, A], [SMALL, SMALL]),
        ([A, B], [HEAD, SMALL]),
        ([A, B], [b"", SMALL]),
        ([A, B], [SMALL, SMALL[:12]]),
        ([A, B], [SMALL, ENDED[:20]]),
        ([A, B], [ENDED, SMALL[:2] + b"\xce" + SMALL[3:]]),
        ([A], [b"\xc0" * 30]),
    ],
)
def test_a_block_that_breaks_a_rule_is_refused_before_a_walk(
    names: list[bytes], held: list[bytes]
) -> None:
    with pytest.raises(ValueError, match=r"not a row|out of order|not alone"):
        checked(RowBlock(block_of(names, held)))


WHOLE = [A, B, encode_object("s", "\0"), encode_object("s\0", "ä"), encode_object("", "")]


def test_objects_of_every_kind_stand_in_a_block() -> None:
    """One service or several, zeros and other alphabets in them."""
    for names in ([A], [A, B], WHOLE, [encode_object("ü", key) for key in "aß漢\0"]):
        held = [SMALL] * len(names)
        assert checked(RowBlock(block_of(sorted(names), held))).names == sorted(names)


@pytest.mark.parametrize(
    "name", [b"", b"s", b"s\0\1\xc3", b"s\xc3\0\1k", b"s\0\1\0\xff", b"s\0t\0\1k", b"\xa4\0\1k"]
)
@pytest.mark.parametrize("others", [[], [A], [A, B], WHOLE])
def test_a_name_that_is_no_object_is_refused_before_a_walk(
    name: bytes, others: list[bytes]
) -> None:
    """A walk raised UnicodeDecodeError, and said nothing of where the damage was."""
    names = sorted([*others, name])
    with pytest.raises(ValueError, match="not encoded as one"):
        checked(RowBlock(block_of(names, [SMALL] * len(names))))


@pytest.mark.parametrize("row", [b"", SMALL[:12], ENDED[:20], HEAD, b"\xc0" * 30])
def test_a_block_hands_out_no_row_that_does_not_begin_as_one(row: bytes) -> None:
    """An empty one raised IndexError in the reader, far from where the damage could be named."""
    with pytest.raises(ValueError, match=r"not a row|not alone"):
        RowBlock(block_of([A, B], [row, SMALL])).find(A)


# --- the index


def index_of(blocks: list[tuple[bytes, int, int]]) -> bytes:
    index = Index()
    for first, offset, length in blocks:
        index.add(first, offset, length)
    return segment.encode_index(index)


INDEX = [(b"a", 32, 100), (b"b", 132, 50), (b"bb", 999, 1 << 31)]


def test_an_index_comes_out_as_it_went_in() -> None:
    for blocks in ([], INDEX[:1], INDEX):
        found = segment.decode_index(memoryview(index_of(blocks)))
        read = zip(found.firsts, found.offsets, found.lengths, strict=True)
        assert list(read) == blocks


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0\0\0",
        b"\xff\xff\xff\xff",
        b"\1\0\0\0",
        b"junk" + bytes(4),
        index_of([(b"b", 32, 100), (b"a", 132, 50)]),
        index_of([(b"a", 32, 100), (b"a", 132, 50)]),
        index_of([(b"a", 32, 100), (b"b", 131, 50)]),
        index_of([(b"a", 132, 100), (b"b", 32, 50)]),
        index_of([(b"a", 32, 0)]),
        b"x" + index_of([(b"a", 32, 100)])[1:-20] + b"\1" + index_of([(b"a", 32, 100)])[-19:],
    ],
)
def test_what_is_no_index_is_refused(body: bytes) -> None:
    """Two blocks in one place would make a reader read it once for each."""
    with pytest.raises(ValueError, match="index"):
        segment.decode_index(memoryview(body))


@pytest.mark.parametrize("seed", range(20))
def test_a_mutated_index_gives_a_value_error_or_one_in_order(seed: int) -> None:
    for data in mutations(index_of(INDEX), random.Random(seed)):
        found = outcome(segment.decode_index, memoryview(data))
        if found is not ValueError:
            assert found.firsts == sorted(set(found.firsts))
            assert len(found.firsts) == len(found.offsets) == len(found.lengths)
            read = zip(found.firsts, found.offsets, found.lengths, strict=True)
            assert index_of(list(read)) == data
