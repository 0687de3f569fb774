"""Rows as bytes: the compiled form writes the bytes of the plain one, and reads what it reads.

Bytes that nobody wrote are accepted by both or by neither, and say the same to both.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kvengine.storage.decoded import Entry, decode
from tests.twins.forms import mutate, only_compiled, outcome, twins

pytestmark = only_compiled
fast, plain = twins("kvengine.storage.packed")

INT = st.sampled_from([1, 8, 16, 31, 32, 62, 63]).flatmap(lambda bits: st.integers(0, 1 << bits))
TIMES = INT.filter(lambda time: time < 1 << 63)
VERSIONS = st.integers(1 << 32, (1 << 63) - 1)
CHARACTERS = st.characters(exclude_categories=["Cs"])
NAMES = st.text(CHARACTERS, max_size=40) | st.text("ab\0ä\U0010ffff", max_size=3)
NAMES |= st.integers(30, 300).map("x".__mul__)
VALUES = st.binary(max_size=40) | st.sampled_from([255, 256, 65535, 65536]).map(bytes)
ENTRIES: st.SearchStrategy[Entry] = st.none() | VALUES | st.tuples(TIMES, VALUES)


def entries_of(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Few entries, or more than a row without a table has."""
    few = st.dictionaries(NAMES, values, max_size=20)
    start = st.dictionaries(NAMES, values, max_size=6)
    many = st.integers(30, 70).map(lambda count: {f"{n:03}": b"v" * n for n in range(count)})
    return few | st.builds(lambda more, first: {**more, **first}, many, start)


@given(VERSIONS, entries_of(st.none() | VALUES))
def test_a_row_of_a_commit_is_written_as_the_plain_form_does(
    version: int, entries: dict[str, bytes | None]
) -> None:
    assert fast.pack_entries(version, entries) == plain.pack_entries(version, entries)


@given(
    st.integers(0, 63), VERSIONS, st.none() | TIMES, entries_of(ENTRIES), st.none() | TIMES, NAMES
)
@example(0, 1 << 32, None, {}, None, "")
def test_any_row_is_written_and_read_as_the_plain_form_does(
    flags: int,
    version: int,
    expires_at: int | None,
    entries: dict[str, Entry],
    completed_at: int | None,
    other: str,
) -> None:
    args = (flags, version, expires_at, entries, completed_at)
    data = fast.pack(*args)
    assert data == plain.pack(*args)
    assert decode(data).entries == entries
    assert_read_alike(data, [*entries, other])


def assert_read_alike(data: bytes, names: list[str]) -> None:
    assert outcome(fast.decode, data) == outcome(plain.decode, data)
    for name in names:
        assert outcome(fast.find, data, name) == outcome(plain.find, data, name), name
    for start in ("", names[0] if names else "x"):
        found = outcome(lambda first: list(fast.items(data, first)), start)
        assert found == outcome(lambda first: list(plain.items(data, first)), start)
    values = outcome(fast.values_of, data)
    assert values == outcome(plain.values_of, data)
    if values[0] == "returns" and values[1] is not None:
        assert list(values[1]) == sorted(values[1])
    bounds = (0, len(data))
    checked = outcome(plain.check_prefix, data, *bounds) if data else ("raises", ValueError)
    assert outcome(fast.check_prefix, data, *bounds)[0] == checked[0]
    assert outcome(fast.check_prefixes, data, bounds) == outcome(plain.check_prefixes, data, bounds)
    if len(data) >= 12:
        for read in ("version_of", "expires_at_of", "entry_count"):
            assert outcome(getattr(fast, read), data) == outcome(getattr(plain, read), data)


def some_row(choice: random.Random) -> tuple[bytes, list[str]]:
    """A row of any form, and some of its state keys."""
    count = choice.choice([0, 1, 1, 2, 3, 5, 10, 15, 16, 17, 33, 40, 70])
    entries: dict[str, Entry] = {}
    for number in range(count):
        name = choice.choice(["a", "item-", "ä", "€" * 11, "\U0001f600", "x" * 40]) + str(number)
        value = choice.randbytes(choice.choice([0, 1, 3, 30, 30, 300]))
        time = choice.getrandbits(choice.choice([5, 8, 16, 32, 50]))
        entries[name] = choice.choice([value, value, value, None, (time, value)])
    flags = choice.choice([0, 1, choice.randrange(64)])
    if not choice.randrange(3):  # a row of values only
        entries = {name: bytes(number) for number, name in enumerate(entries)}
    expires_at, completed_at = (choice.choice([None, None, 1 << 50]) for _ in range(2))
    data = plain.pack(flags, 1 << 50, expires_at, entries, completed_at)
    if not choice.randrange(10):
        data = b"\x96" + data[1:] + b"\xc0\x91\x94\xa1a\0\x32\x01"
    return data, [*choice.sample(list(entries), min(count, 3)), "absent", ""]


def check_mutated(choice: random.Random) -> None:
    """One input of the long run, too: see the end."""
    data, names = some_row(choice)
    for _ in range(10):
        assert_read_alike(mutate(data, choice), names)


def test_values_are_in_order_whoever_decodes_them() -> None:
    """The compiled form gives up at the time of ``b``: up to there the keys were in order."""
    head = b"\x94\0\xcf" + (1 << 50).to_bytes(8, "big") + b"\xc0\x82"
    assert_read_alike(head + b"\xa1b\x92\xd0\x05\xc4\x01v" + b"\xa1a\xc4\x01w", ["a", "b"])


@settings(max_examples=400)
@given(st.randoms(use_true_random=False))
def test_mutated_rows_are_accepted_by_both_or_by_neither(choice: random.Random) -> None:
    check_mutated(choice)


@settings(max_examples=500)
@given(st.binary(max_size=80), st.sampled_from([0x94, 0x95, 0x96, 0x97]), NAMES)
def test_bytes_that_nobody_wrote(data: bytes, form: int, name: str) -> None:
    assert_read_alike(data, [name])
    assert_read_alike(
        bytes([form, 0, 0xCF]) + (1 << 50).to_bytes(8, "big") + b"\xc0" + data, [name]
    )


@given(st.lists(st.tuples(VERSIONS, st.none() | TIMES), min_size=1, max_size=9), st.randoms())
def test_prefixes_of_rows_that_lie_together(
    rows: list[tuple[int, int | None]], choice: random.Random
) -> None:
    made = [plain.pack(choice.randrange(64), version, time, {}) for version, time in rows]
    bounds = [0]
    for row in made:
        bounds.append(bounds[-1] + len(row))
    data = b"".join(made)
    assert fast.check_prefixes(data, bounds) == plain.check_prefixes(data, bounds)
    for damaged in (mutate(data, choice)[: len(data)].ljust(len(data), b"\0") for _ in range(9)):
        found = outcome(fast.check_prefixes, damaged, bounds)
        assert found == outcome(plain.check_prefixes, damaged, bounds)


WRONG_ENTRIES: list[Any] = [
    {"a": "text"},
    {"a": 5},
    {"a": bytearray(b"v")},
    {"a": (1, 2, 3)},
    {"a": ("1", b"v")},
    {"a": (1, "v")},
    {"a": (1, None)},
    {b"a": b"v"},
    {1: b"v"},
    {f"{n}": b"v" if n else 7 for n in range(40)},
    None,
    5,
]


@pytest.mark.parametrize("entries", WRONG_ENTRIES, ids=str)
def test_what_is_no_entry_is_a_type_error_and_writes_nothing(entries: Any) -> None:
    with pytest.raises(TypeError):
        fast.pack(0, 1 << 50, None, entries)
    with pytest.raises(TypeError):
        fast.pack_entries(1 << 50, entries)


@pytest.mark.parametrize("args", [("1", None), (None, None), (1.5, None), (1 << 50, "1")], ids=str)
def test_wrong_numbers_are_type_errors(args: tuple[Any, Any]) -> None:
    with pytest.raises(TypeError):
        fast.pack(0, *args, {})


@pytest.mark.parametrize("flags", [-1, 128, 255, 1 << 40])
def test_flags_that_no_row_has_are_refused(flags: int) -> None:
    for form in (fast, plain):
        with pytest.raises((ValueError, OverflowError)):
            form.pack(flags, 1 << 50, None, {})


@pytest.mark.parametrize("name", ["find", "items"])
def test_what_is_no_row_and_no_key_is_a_type_error(name: str) -> None:
    row = plain.pack_entries(1 << 50, {"a": b"v"})
    for args in ((None, "a"), (row, None), (row, b"a"), (bytearray(row), "a"), ("row", "a")):
        with pytest.raises(TypeError):
            list(getattr(fast, name)(*args))


def test_a_lone_surrogate_has_no_utf8() -> None:
    for form in (fast, plain):
        with pytest.raises(UnicodeEncodeError):
            form.pack_entries(1 << 50, {"\ud800": b"v"})


def test_keys_that_are_remembered_are_told_apart() -> None:
    """Rows share their keys: one of equal length, prefix or hash is not taken for another."""
    names = [f"{prefix}{number}" for number in range(3000) for prefix in ("", "k", "key-000000000")]
    for _ in range(2):
        for at in range(0, len(names), 20):
            entries = dict.fromkeys(names[at : at + 20], b"v")
            assert list(fast.decode(plain.pack_entries(1 << 50, entries)).entries) == list(entries)


def test_find_agrees_with_the_decoder_on_rows_with_a_key_twice() -> None:
    twice = b"\x94\0\xcf" + (1 << 50).to_bytes(8, "big") + b"\xc0\x82\xa1a\xc4\x01x\xa1a\xc4\x01y"
    assert fast.find(twice, "a") == plain.find(twice, "a") == b"y"
