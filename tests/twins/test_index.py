"""Indexes: the compiled form finds what the plain one finds, and accepts the same bytes."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.twins.forms import mutate, only_compiled, outcome, twins

pytestmark = only_compiled
fast, plain = twins("kvengine.storage.segment.index")

PARTS = [b"", b"\0", b"\0\1", b"a", b"ab", b"\xff", b"Cart\0\1customer-", b"12345678"]


def name(choice: random.Random) -> bytes:
    """A name that shares beginnings with others, of fewer and of more than eight bytes."""
    return b"".join(choice.choice(PARTS) for _ in range(choice.randrange(5)))


def both(choice: random.Random, names: list[bytes]) -> tuple[Any, Any]:
    """The two forms of an index of these objects."""
    found = fast.Index(), plain.Index()
    offset = 0
    for first in names:
        length = choice.choice([1, 100, (1 << 32) - 1])
        for index in found:
            index.add(first, offset, length)
        offset += length + choice.choice([0, 0, 1 << 40])
    return found


def assert_alike(one: Any, other: Any, asked: list[bytes]) -> None:
    assert len(one) == len(other)
    for what in ("firsts", "offsets", "lengths"):
        assert list(getattr(one, what)) == list(getattr(other, what))
    for at in range(len(one)):
        for what in ("first", "offset", "length"):
            assert getattr(one, what)(at) == getattr(other, what)(at)
    for wanted in asked:
        assert one.find(wanted) == other.find(wanted), wanted
        assert one.before(wanted) == other.before(wanted), wanted


def assert_decoded_alike(body: bytes, asked: list[bytes]) -> None:
    """Both forms refuse the bytes, or read the same index, which they come from."""
    read, expected = (outcome(form.decode_index, body) for form in (fast, plain))
    assert read[0] == expected[0]
    if read[0] == "returns":
        assert_alike(read[1], expected[1], asked)
        assert fast.encode_index(read[1]) == body


def check_mutated(choice: random.Random) -> None:
    """One input of the long run, too: see fuzz.py."""
    shared = name(choice) if choice.randrange(2) else b""
    names = sorted({shared + name(choice) for _ in range(choice.choice([0, 1, 2, 5, 30]))})
    asked = [*names, *(first + b"\0" for first in names), shared, shared[:-1], name(choice), b""]
    one, other = both(choice, names)
    assert_alike(one, other, asked)
    body = fast.encode_index(one)
    assert body == plain.encode_index(other)
    for damaged in (body, *(mutate(body, choice) for _ in range(9))):
        assert_decoded_alike(damaged, asked)


@settings(max_examples=300)
@given(st.randoms(use_true_random=False))
def test_an_index_and_mutated_ones(choice: random.Random) -> None:
    check_mutated(choice)


@given(st.lists(st.binary(max_size=12), max_size=40), st.lists(st.binary(max_size=12), max_size=9))
def test_any_names_are_found(names: list[bytes], asked: list[bytes]) -> None:
    ordered = sorted(set(names))
    one, other = both(random.Random(1), ordered)
    assert_alike(one, other, [*asked, *ordered])


def test_blocks_are_found_while_more_are_added() -> None:
    one, other = fast.Index(), plain.Index()
    for number in range(300):
        for index in (one, other):
            index.add(b"service\0\1%05d" % number, 10 * number, 10)
        asked = [b"", b"service\0\1%05d" % (number // 2), b"service\0\1000991", b"t"]
        assert [one.find(n) for n in asked] == [other.find(n) for n in asked]


@pytest.mark.parametrize("form", [fast, plain], ids=["compiled", "plain"])
def test_what_is_no_place_is_refused(form: Any) -> None:
    index = form.Index()
    index.add(b"a", 5, 6)
    for wrong in [(b"b", -1, 1), (b"b", 1 << 64, 1), (b"b", 1, 1 << 32)]:
        with pytest.raises(OverflowError):
            index.add(*wrong)


@pytest.mark.parametrize("wrong", [None, "a", 5, bytearray(b"a")])
def test_what_is_no_name_is_a_type_error(wrong: Any) -> None:
    index = fast.Index()
    for call in (lambda: index.add(wrong, 1, 1), lambda: index.find(wrong)):
        with pytest.raises(TypeError):
            call()
    for at in (-1, 0, 1 << 40):
        for read in (index.first, index.offset, index.length):
            with pytest.raises(IndexError):
                read(at)
