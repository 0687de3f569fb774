"""Blocks of rows: the compiled form says of any bytes what the plain one says."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvengine.storage.checksum import TRAILER_SIZE, place_seed, seal
from kvengine.storage.names import encode_object, is_object
from kvengine.storage.packed import pack
from kvengine.storage.row import decode_many
from tests.twins.forms import mutate, only_compiled, outcome, twins

pytestmark = only_compiled
fast, plain = twins("kvengine.storage.segment.block")

TEXTS = ["", "a", "ab", "\0", "\0\1", "\1", "ä", "€", "\U0001f600", "item-0000"]
NO_OBJECTS = [b"", b"a", b"\0", b"a\0\1\xff", b"a\0\2", b"\0\xff\0", b"\0\0\1", b"\xff\0\1"]


def some_block(choice: random.Random) -> tuple[bytes, list[bytes]]:
    """A block, trailer included, and its objects. Some are no objects, some rows are large."""
    names = {
        encode_object(choice.choice(TEXTS), choice.choice(TEXTS) + str(choice.randrange(30)))
        for _ in range(choice.choice([1, 1, 2, 3, 7, 20]))
    }
    if not choice.randrange(6):
        names.add(
            choice.choice([b"", b"a", b"\0", b"a\0\1\xff", b"a\0\2", b"\0\xff\0\1", b"\0\0\1"])
        )
    ordered = sorted(names)
    if not choice.randrange(8):
        choice.shuffle(ordered)
    rows = []
    for _ in ordered:
        flags = choice.choice([0, 0, 0, 1, 32 if not choice.randrange(9) else 0])
        time = choice.choice([None, None, 1 << 50])
        entries: dict[str, Any] = {"a": choice.randbytes(choice.randrange(20))}
        if not choice.randrange(4):
            entries["b"] = choice.choice([None, (1 << 50, b"v"), b""])
            flags |= 8 | 16
        if not choice.randrange(6):
            entries |= {f"key-{number:02}": b"v" for number in range(40)}  # with a table
        rows.append(pack(flags & 127, 1 << 50, time, entries))
    body: bytes = plain.encode_rows(ordered, rows)
    assert fast.encode_rows(ordered, rows) == body
    return body + bytes(TRAILER_SIZE), ordered


def answers(form: Any, data: bytes, names: list[bytes]) -> list[Any]:
    """What a block says of its rows and names, in the order in which a reader may ask."""
    kind, block = outcome(form.RowBlock, data)
    if kind == "raises":
        return [block]

    def of(read: Callable[[Any], Any], asked: Any) -> Any:
        return outcome(read, asked)

    walked = block.for_walk()
    found: list[Any] = [block.count, block.data, block.is_sound]
    found += [of(block.find, name) for name in names]
    for name in names:
        for state_key in ("a", "b"):
            kind, value = of(lambda asked, n=name, k=state_key: asked.value_of(n, k), block)
            found.append((kind, "the block" if value is block else value))
        kind, values = of(lambda asked, n=name: asked.values_of(n), block)
        found += [kind, values, list(values[1]) if kind == "returns" and values else None]
    found += [of(block.row, at) for at in range(block.count)]
    found += [of(lambda asked: asked.names, walked), walked.is_sound, block.is_sound]
    found += [of(lambda asked: asked.rows, block), of(lambda asked: asked.decode(), block)]
    found += [of(lambda asked: asked.names, block), block.is_sound, block.for_walk().is_sound]
    if are_apart(data, block):
        for at in range(block.count):
            kind, values = of(lambda asked, at=at: asked.values(at), block)
            found += [kind, values, list(values[1]) if kind == "returns" and values else None]
    return found


def are_apart(data: bytes, block: Any) -> bool:
    """Whether each slot leads to a row of the array, and all of them can be decoded.

    Where they do not, somebody forged the block. The plain form then decodes the rows of the array,
    the compiled one some that lie where the slots say, and either may be returned.
    """
    try:
        return decode_many([block.row(at) for at in range(block.count)]) == block.decode()
    except ValueError:
        return False


def assert_alike(data: bytes, names: list[bytes]) -> None:
    assert answers(fast, data, names) == answers(plain, data, names)


def check_mutated_block(choice: random.Random) -> None:
    data, names = some_block(choice)
    asked = [*names[:3], names[-1] + b"x", b"", b"\xff"]
    assert_alike(data, asked)
    for _ in range(8):
        assert_alike(mutate(data, choice), asked)
    # The slots, of which a random change nearly always breaks one of the first rules.
    count = len(names)
    table = len(data) - TRAILER_SIZE - 4 - 8 * count
    slots = list(struct.unpack_from(f"<{2 * count}I", data, table))
    at = choice.randrange(2 * count)
    slots[at] = max(0, slots[at] + choice.choice([-1, 1, -13, 5, 1 << 31]))
    changed = bytearray(data)
    struct.pack_into(f"<{2 * count}I", changed, table, *slots)
    assert_alike(bytes(changed), asked)


def check_mutated_file(choice: random.Random) -> None:
    """Blocks that lie somewhere in a file, read or mapped, most of them damaged."""
    body, names = some_block(choice)
    file_id, offset = choice.randrange(1 << 64), choice.randrange(200)
    seed = place_seed(file_id, offset)
    sealed = seal(body[:-TRAILER_SIZE], plain.ROWS, plain.UNCOMPRESSED, seed)
    file = choice.randbytes(offset) + sealed + choice.randbytes(choice.randrange(100))
    if choice.randrange(2):
        changed = bytearray(mutate(sealed, choice))
        if choice.randrange(2) and len(changed) > TRAILER_SIZE:  # as a forger would mend it
            changed = bytearray(seal(changed[:-TRAILER_SIZE], 1, choice.choice([0, 0, 1]), seed))
        file = file[:offset] + bytes(changed) + file[offset + len(changed) :]
    length = len(sealed) + choice.choice([0, 0, 0, -1, 1, 1000])
    asked = [*names[:3], b"", b"\xff"]
    answer = [
        told(form.checked_rows, file, offset, length, file_id, offset, asked=asked)
        for form in (fast, plain)
    ]
    assert answer[0] == answer[1]
    answer = [
        told(form.mapped_rows, form.Map(memoryview(file)), file_id, offset, length, asked=asked)
        for form in (fast, plain)
    ]
    assert answer[0] == answer[1]


def told(make: Callable[..., Any], *place: Any, asked: list[bytes]) -> list[Any]:
    """What a block that is made of a part of a file says, or how it is refused."""
    kind, block = outcome(make, *place)
    if kind == "raises":
        return ["raises", block]
    found: list[Any] = [block.data, block.count, block.file_id, block.offset, block.footprint() > 0]
    found += [outcome(block.find, name) for name in asked]
    found += [outcome(lambda: block.names), outcome(lambda: block.rows)]
    return found


def check_mutated(choice: random.Random) -> None:
    """One input of the long run, too: see fuzz.py."""
    check_mutated_block(choice)
    check_mutated_file(choice)


@settings(max_examples=300)
@given(st.randoms(use_true_random=False))
def test_mutated_blocks_are_accepted_by_both_or_by_neither(choice: random.Random) -> None:
    check_mutated(choice)


@given(st.lists(st.sampled_from([0, 1, 2, 0xFF, 0x61, 0xC3, 0xA4, 0xED, 0xA0, 0x80]), max_size=9))
def test_what_is_an_object(raw: list[int]) -> None:
    """Of bytes made of what means something in a name, or is no UTF-8."""
    name = bytes(raw)
    data = plain.encode_rows([name], [pack(0, 1 << 50, None, {})]) + bytes(TRAILER_SIZE)
    assert (outcome(lambda: fast.RowBlock(data).names)[0] == "returns") == is_object(name)


@pytest.mark.parametrize("data", [None, "text", 5, bytearray(99)])
def test_a_block_is_made_of_bytes(data: Any) -> None:
    with pytest.raises(TypeError):
        fast.RowBlock(data)


def test_a_block_that_was_not_made_holds_nothing() -> None:
    block = fast.RowBlock.__new__(fast.RowBlock)
    assert block.find(b"a") is None and block.names == []
    for wrong in (None, "a", 5):
        with pytest.raises(TypeError):
            block.find(wrong)
    for at in (-1, 0, 1 << 40):
        for read in (block.row, block.values):
            with pytest.raises(IndexError):
                read(at)


def test_a_mapped_block_that_changes_is_read_from_within() -> None:
    """Somebody writes to a mapped file after its block was checked: no bound leads out of it."""
    names = [encode_object("S", str(number)) for number in range(3)]
    body = plain.encode_rows(names, [pack(0, 1 << 50, None, {"a": b"v" * 9})] * 3)
    file = bytearray(seal(body, plain.ROWS, plain.UNCOMPRESSED, place_seed(7, 0)))
    block = fast.mapped_rows(fast.Map(memoryview(file)), 7, 0, len(file))
    assert block.value_of(names[1], "a") == b"v" * 9
    choice = random.Random(1)
    table = len(body) - 4 - 8 * 3
    for _ in range(3000):
        before = file[:]
        for _ in range(choice.randrange(1, 4)):
            struct.pack_into("<I", file, table + 4 * choice.randrange(6), choice.getrandbits(32))
        file[choice.randrange(table)] ^= choice.randrange(256)
        for of in (block, block.for_walk()):
            for name in (*names, b"", b"\xff"):
                outcome(of.find, name)
                outcome(of.value_of, name, "a")
                outcome(of.values_of, name)
            for at in range(3):
                outcome(of.row, at)
                outcome(of.values, at)
            for read in ("names", "rows", "data"):
                outcome(getattr, of, read)
        file[:] = before


def test_a_block_is_made_once() -> None:
    """Its bytes may be in use."""
    data = plain.encode_rows([encode_object("", "")], [pack(0, 1 << 50, None, {})])
    block = fast.RowBlock(data + bytes(TRAILER_SIZE))
    with pytest.raises(TypeError):
        block.__init__(data + bytes(TRAILER_SIZE))


@pytest.mark.parametrize("place", [(-1, 5), (0, -1), (1 << 40, 1), (5, 1 << 62)])
def test_a_block_outside_of_what_was_read_is_refused(place: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="block"):
        fast.checked_rows(bytes(50), *place, 1, 2)
    with pytest.raises((ValueError, OverflowError)):
        fast.mapped_rows(fast.Map(memoryview(bytes(50))), 1, *place)
