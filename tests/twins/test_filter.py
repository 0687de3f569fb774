"""Filters: the compiled form gives the digests and answers of the plain one."""

from __future__ import annotations

import random
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from tests.twins.forms import mutate, only_compiled, outcome, twins

pytestmark = only_compiled
fast, plain = twins("kvengine.storage.segment.filter")

U64 = st.integers(0, (1 << 64) - 1)


def test_digests_of_all_lengths_are_those_of_the_package() -> None:
    """Every branch of the hash, on both sides of the length from which the package is asked."""
    rng = random.Random(1)
    for length in [*range(300), 1000, 65_536]:
        for seed in (0, 1, (1 << 64) - 1, *(rng.getrandbits(64) for _ in range(20))):
            data = rng.randbytes(length)
            assert fast.object_digest(data, seed) == xxh3_64_intdigest(data, seed)
            name = "".join(rng.choice("ab\0ä€\U0001f600") for _ in range(length % 200))
            assert fast.entry_digest(name, seed) == plain.entry_digest(name, seed)


@given(st.binary(max_size=300), st.text(st.characters(exclude_categories=["Cs"])), U64)
def test_digests(name: bytes, state_key: str, seed: int) -> None:
    digest = fast.object_digest(name, seed)
    assert digest == plain.object_digest(name, seed)
    assert fast.object_digest(name) == plain.object_digest(name)
    assert fast.entry_digest(state_key, digest) == plain.entry_digest(state_key, digest)
    assert fast.barrier_digest(digest) == digest ^ fast._BARRIER
    assert fast.barrier_digest(digest) == plain.barrier_digest(digest)
    assert fast.seed_of(name) == plain.seed_of(name)


@given(st.lists(U64, max_size=300), U64, st.lists(U64, max_size=50))
def test_a_filter_is_built_of_the_same_bytes_and_answers_the_same(
    digests: list[int], seed: int, others: list[int]
) -> None:
    data = fast.build(digests, seed)
    assert data == plain.build(digests, seed)
    found, expected = fast.decode(memoryview(data)), plain.decode(memoryview(data))
    assert found.seed == expected.seed == seed
    assert all(map(found.may_hold, digests))
    for digest in others:
        assert found.may_hold(digest) == expected.may_hold(digest)


def check_mutated(choice: random.Random) -> None:
    """One input of the long run, too: see fuzz.py."""
    digests = [choice.getrandbits(64) for _ in range(choice.randrange(12))]
    data = plain.build(digests, choice.getrandbits(64))
    for _ in range(10):
        assert_alike(mutate(data, choice), [*digests, choice.getrandbits(64)])


def assert_alike(data: bytes, digests: list[int]) -> None:
    """Both forms refuse ``data`` for the same reason, or answer the same of every digest."""
    found, expected = (outcome(form.decode, memoryview(data)) for form in (fast, plain))
    if expected[0] == "raises":
        assert found == expected
        return
    assert found[0] == "returns" and found[1].seed == expected[1].seed
    for digest in digests:
        assert found[1].may_hold(digest) == expected[1].may_hold(digest)


@given(st.randoms(use_true_random=False))
def test_mutated_filters_are_accepted_by_both_or_by_neither(choice: random.Random) -> None:
    check_mutated(choice)


WRONG: list[tuple[str, tuple[Any, ...]]] = [
    ("object_digest", (None, 1)),
    ("object_digest", (5, 1)),
    ("object_digest", (b"a", "1")),
    ("entry_digest", (b"a", "1")),
    ("entry_digest", (None, 1)),
    ("entry_digest", ("a", None)),
    ("barrier_digest", (None,)),
    ("seed_of", (None,)),
    ("build", ([None], 1)),
    ("build", (["1"], 1)),
    ("Filter", (1, None)),
]


@pytest.mark.parametrize(("name", "args"), WRONG, ids=str)
def test_wrong_types_are_type_errors(name: str, args: tuple[Any, ...]) -> None:
    with pytest.raises((TypeError, AttributeError)):
        getattr(fast, name)(*args)


def test_a_filter_has_words_of_64_bits() -> None:
    for words in (array("Q"), array("I", [1]), b"12345678"[:7]):
        with pytest.raises(ValueError):  # noqa: PT011 - Cython says what it expected
            fast.Filter(1, words)
    with pytest.raises(TypeError):
        fast.Filter.__new__(fast.Filter).may_hold(1)
