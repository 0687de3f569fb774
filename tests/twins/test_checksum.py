"""The compiled checksums are those of the plain form, and of the crc32c package."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest
from crc32c import crc32c
from hypothesis import example, given
from hypothesis import strategies as st

from tests.twins.forms import mutate, only_compiled, outcome, twins

pytestmark = only_compiled
fast, plain = twins("kvengine.storage.checksum")

U32, U64 = st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1)
LENGTHS = [0, 1, 7, 8, 9, 767, 768, 769, 12_287, 12_288, 12_289, 13_063, 100_001, (1 << 20) + 5]
"""Around the lengths of words and streams, and one that is summed without the interpreter lock."""


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("start", [0, 1, 3])
def test_sums_of_every_shape_are_those_of_the_package(length: int, start: int) -> None:
    data = random.Random(length).randbytes(length + start)
    for seed in (0, 1, 0xFFFFFFFF, 0x12345678):
        body = memoryview(data)[start:]
        sealed = fast.trailer_of(body, 1, 0, seed)
        assert sealed == plain.trailer_of(body, 1, 0, seed)
        assert sealed[2:] == crc32c(b"\1\0", crc32c(body, seed)).to_bytes(4, "little")
        assert fast._sum_by_table(body, seed) == crc32c(body, seed)


@given(st.binary(max_size=2000), U32)
def test_the_tables_make_the_same_sum(data: bytes, seed: int) -> None:
    """A processor without the instruction reads what one with it wrote."""
    assert fast._sum_by_table(data, seed) == crc32c(data, seed)


@given(U64, U64)
@example(0, 0)
@example((1 << 64) - 1, (1 << 64) - 1)
def test_seeds_of_places(file_id: int, offset: int) -> None:
    assert fast.place_seed(file_id, offset) == plain.place_seed(file_id, offset)


@given(st.binary(max_size=300), st.integers(0, 255), st.integers(0, 255), U64, U64, st.randoms())
def test_blocks_of_a_file(
    body: bytes, kind: int, codec: int, file_id: int, offset: int, choice: random.Random
) -> None:
    sealed = plain.seal(body, kind, codec, plain.place_seed(file_id, offset))
    place = (file_id, offset)
    assert (
        fast.check_block(sealed, kind, *place) == plain.check_block(sealed, kind, *place) == codec
    )
    for wrong in ((file_id ^ 1, offset), (file_id, offset ^ 1 << 40)):
        assert outcome(fast.check_block, sealed, kind, *wrong) == ("raises", ValueError)
    for damaged in (mutate(sealed, choice), b"", sealed[:5]):
        found = outcome(fast.check_block, damaged, kind, *place)
        assert found == outcome(plain.check_block, damaged, kind, *place)


@given(st.binary(max_size=20), U64)
def test_salts(database_id: bytes, number: int) -> None:
    assert fast.salt(database_id, number) == plain.salt(database_id, number)


@given(st.binary(max_size=900), st.integers(0, 255), st.integers(0, 255), U32, st.randoms())
def test_what_is_sealed_is_unsealed_and_damage_is_refused(
    body: bytes, kind: int, codec: int, seed: int, choice: random.Random
) -> None:
    sealed = fast.seal(body, kind, codec, seed)
    assert sealed == plain.seal(body, kind, codec, seed)
    assert outcome(fast.unseal, sealed, kind, seed) == ("returns", (body, codec))
    for data in (sealed, memoryview(sealed), bytearray(sealed), mutate(sealed, choice)):
        for wanted, under in ((kind, seed), (kind ^ 1, seed), (kind, seed ^ 1)):
            found = outcome(fast.unseal, data, wanted, under)
            assert found == outcome(plain.unseal, data, wanted, under)


WRONG: list[tuple[str, tuple[Any, ...]]] = [
    ("place_seed", (-1, 0)),
    ("place_seed", (0, 1 << 64)),
    ("place_seed", ("0", 0)),
    ("place_seed", (None, 0)),
    ("place_seed", (1.0, 0)),
    ("salt", ("text", 1)),
    ("salt", (None, 1)),
    ("salt", (b"id", -1)),
    ("salt", (b"id", 1 << 64)),
    ("trailer_of", (None, 1, 0, 0)),
    ("trailer_of", ("text", 1, 0, 0)),
    ("trailer_of", (b"", 256, 0, 0)),
    ("trailer_of", (b"", 1, -1, 0)),
    ("trailer_of", (b"", 1, 0, "0")),
    ("unseal", (None, 1, 0)),
    ("unseal", ("text of a block", 1, 0)),
    ("unseal", (b"", 1, 0)),
    ("unseal", (b"12345", 1, 0)),
]


@pytest.mark.parametrize(("name", "args"), WRONG, ids=str)
def test_wrong_arguments_end_in_the_same_error(name: str, args: tuple[Any, ...]) -> None:
    found = outcome(getattr(fast, name), *args)
    assert found == outcome(getattr(plain, name), *args)
    assert found[0] == "raises"


def test_a_place_out_of_range_is_the_error_of_struct() -> None:
    with pytest.raises(struct.error):
        fast.place_seed(-1, 0)
