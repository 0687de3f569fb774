"""Rows folded as bytes: the compiled form returns what the plain one does, to the byte."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvengine.storage import row as rows
from kvengine.storage.decoded import LEAST_VERSION, Entry
from tests.twins.forms import mutate, only_compiled, outcome, twins

pytestmark = only_compiled
fast, plain = twins("kvengine.storage.fold")

KEYS = st.sampled_from(["", "a", "b", "c", "ä", "\0", "x" * 31, "x" * 32, "x" * 300])
ENTRIES: st.SearchStrategy[Entry] = st.one_of(
    st.none(), st.binary(max_size=300), st.tuples(st.integers(0, (1 << 63) - 1), st.binary())
)
TIMES = st.none() | st.integers(0, (1 << 63) - 1)


@st.composite
def encoded(draw: st.DrawFn) -> bytes:
    row = rows.make(
        draw(st.integers(LEAST_VERSION, (1 << 63) - 1)),
        draw(st.dictionaries(KEYS, ENTRIES, max_size=9)),
        cleared=draw(st.sampled_from([False, False, False, True])),
        extends=draw(st.booleans()),
        expires_at=draw(TIMES),
        completed_at=draw(st.sampled_from([None, None, None, 7])),
    )
    return rows.encode(row)


@settings(max_examples=500)
@given(st.lists(encoded(), max_size=9))
def test_rows_are_folded_as_in_plain_python(data: list[bytes]) -> None:
    assert outcome(fast.fold, data) == outcome(plain.fold, data)
    assert outcome(fast.fold, tuple(data)) == outcome(plain.fold, data)


@pytest.mark.parametrize("count", [1, 15, 16, 31, 32, 33, 100])
def test_rows_of_many_entries_are_folded_as_in_plain_python(count: int) -> None:
    """Up to 32 entries stand without a table; the fold of small rows may be larger than that."""
    names = [f"n{number:03}" for number in range(count)]
    random.Random(count).shuffle(names)
    data = [
        rows.encode(rows.make(LEAST_VERSION + at, {name: name.encode() for name in names[at::5]}))
        for at in range(min(5, count))
    ]
    data += [rows.encode(rows.make(LEAST_VERSION, dict.fromkeys(names, b"old")))]
    assert outcome(fast.fold, data) == outcome(plain.fold, data)


def check_mutated(choice: random.Random) -> None:
    """Ten inputs of the long run: see fuzz.py."""
    made = []
    for at in range(choice.randrange(1, 6)):
        keys = choice.sample(["", "a", "b", "ä", "\0", "x" * 32, "x" * 300], choice.randrange(5))
        entries: dict[str, Entry] = {key: choice.randbytes(choice.randrange(40)) for key in keys}
        if keys and choice.randrange(3) == 0:
            entries[keys[0]] = choice.choice([None, (1 << 50, b"v")])
        ends = choice.choice([None, None, 1 << 50])
        made.append(rows.encode(rows.make(LEAST_VERSION + at, entries, expires_at=ends)))
    for _ in range(10):
        check_damaged([mutate(row, choice) if choice.randrange(2) else row for row in made])


@given(st.lists(encoded(), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_damaged_rows_end_as_in_plain_python(data: list[bytes], choice: random.Random) -> None:
    check_damaged([mutate(each, choice) for each in data])


def check_damaged(broken: list[bytes]) -> None:
    """A row that is damaged may be written otherwise than rows are. Then the fold says the same."""
    found, wanted = outcome(fast.fold, broken), outcome(plain.fold, broken)
    if found != wanted:
        assert found[0] == wanted[0] == "returns"
        assert rows.decode(found[1]) == rows.decode(wanted[1])


def test_what_is_no_row_is_refused() -> None:
    good = rows.encode(rows.make(LEAST_VERSION, {"a": b"1"}))
    for wrong in (b"", b"\x94", good[:-1], good + b"\0", good.replace(b"\xa1a", b"\xa1\xff")):
        assert outcome(fast.fold, [good, wrong])[0] == "raises"
        assert outcome(fast.fold, [good, wrong]) == outcome(plain.fold, [good, wrong])
    for wrong_type in (None, "row", 1, [good]):
        assert outcome(fast.fold, [good, wrong_type])[0] == "raises"
