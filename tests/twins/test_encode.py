"""The record of a commit: the compiled form makes the bytes of the plain one."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kvengine.storage.packed import pack_entries
from kvengine.storage.record import decode_at
from kvengine.storage.state import Change
from kvengine.storage.wal.format import Commit, decode_commit
from tests.twins.forms import only_compiled, outcome, twins

pytestmark = only_compiled
fast, plain = twins("kvengine.storage.wal.encode")

U32, U64 = st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1)
TIMES = st.sampled_from([1, 7, 8, 16, 32, 62]).flatmap(lambda bits: st.integers(0, 1 << bits))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
TEXTS |= st.sampled_from([31, 32, 255, 256, 65536]).map("n".__mul__)
ROWS = st.binary(max_size=99) | st.just(pack_entries(1 << 50, {"a": b"v" * 300}))
OBJECTS = st.lists(st.tuples(st.tuples(TEXTS, TEXTS), ROWS), max_size=20)
TOKENS = st.binary(max_size=32) | st.binary(min_size=250, max_size=260)
RANGES = st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=9)), max_size=18)


def change(*name: Any) -> Change:
    """A change to what may be no object."""
    return Change(name, None, b"\xc0")  # type: ignore[arg-type]


def bytes_of(row: bytes) -> bytes:
    """The row, if it is MessagePack: a payload holds it as it is."""
    return row or b"\xc0"


@given(TIMES, OBJECTS, RANGES, TIMES, st.tuples(U32, U32, U64), TIMES, TOKENS)
@example(0, [], [], 0, (0, 0, 0), 0, b"")
def test_records_are_those_of_the_plain_form(
    stamp: int,
    made: list[Any],
    ranges: list[Any],
    now: int,
    of_file: tuple[int, int, int],
    epoch: int,
    token: bytes,
) -> None:
    changes = [Change(name, None, bytes_of(row)) for name, row in made]
    for covered in (ranges, tuple(ranges)):
        args = (stamp, changes, covered, now, *of_file)
        unnamed = fast.encode_record(*args)
        assert unnamed == plain.encode_record(*args)
        named = fast.encode_record(*args, epoch, token)
        assert named == plain.encode_record(*args, epoch, token)
        assert token or named == unnamed


@pytest.mark.parametrize("size", [0, 65_400, *range(65_470, 65_500), 65_536, 200_000])
@pytest.mark.parametrize("count", [1, 15, 16, 17])
def test_large_commits(size: int, count: int) -> None:
    row = pack_entries(1 << 50, {"a": bytes(size // count)})
    changes = [Change(("Cart", f"{number}"), None, row) for number in range(count)]
    args = (1 << 50, changes, (), 0, 1, 2, 3)
    assert fast.encode_record(*args) == plain.encode_record(*args)
    args += (300, b"a token")
    assert fast.encode_record(*args) == plain.encode_record(*args)


def test_many_objects() -> None:
    changes = [Change((str(number), ""), None, b"\xc0") for number in range(70_000)]
    for count in (255, 256, 5000, 65_535, 65_536):
        args = (1 << 50, changes[:count], [(b"a", b"b")] * 300, 5, 1, 2, 3)
        assert fast.encode_record(*args) == plain.encode_record(*args)


def test_a_record_is_read_back() -> None:
    rng = random.Random(1)
    stamp = 1 << 50
    rows = [pack_entries(stamp, {"a": rng.randbytes(n)}) for n in range(30)]
    changes = [Change(("S", f"k{n}"), None, row) for n, row in enumerate(rows)]
    record = fast.encode_record(stamp, changes, [(b"a", b"b")], 0, 7, 8, 64, 5, b"token")
    found = decode_at(memoryview(b"x" * 64 + record), 64, 7, 8)
    assert found is not None and found.synced == 64 and found.end == 64 + len(record)
    objects = [("S", f"k{n}", row) for n, row in enumerate(rows)]
    assert decode_commit(found.payload) == Commit(stamp, objects, [(b"a", b"b")], 0, 5, b"token")


WRONG: list[tuple[Any, ...]] = [
    ("1", [], [], 0, 1, 2, 3),
    (None, [], [], 0, 1, 2, 3),
    (1, None, [], 0, 1, 2, 3),
    (1, (), [], 0, 1, 2, 3),
    (1, [("a", "b")], [], 0, 1, 2, 3),
    (1, [Change(("a", "b"), None, None)], [], 0, 1, 2, 3),  # type: ignore[arg-type]
    (1, [], [None], 0, 1, 2, 3),
    (1, [], [(None, b"")], 0, 1, 2, 3),
    (1, [], [], None, 1, 2, 3),
    (1, [], [], 0, None, 2, 3),
    (1, [], [], 0, 1, "2", 3),
    (1, [], [], 0, 1, 2, 3, None, b"t"),
    (1, [], [], 0, 1, 2, 3, 4, "t"),
]


@pytest.mark.parametrize("args", WRONG)
def test_wrong_types_are_type_errors(args: tuple[Any, ...]) -> None:
    assert outcome(fast.encode_record, *args) == ("raises", TypeError)


@pytest.mark.parametrize(
    "args",
    [
        (1, [change(1, "b")], []),
        (1, [change(b"a", "b")], []),
        (1, [change("a", "\ud800")], []),
        (1, [change("a", "b", "c")], []),
        (1, [change("a")], []),
        (1, [], [(b"a",)]),
        (-1, [], []),
        (1 << 64, [], []),
    ],
)
def test_what_is_no_commit_makes_no_record(args: tuple[Any, ...]) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError, IndexError)):
        fast.encode_record(*args, 0, 1, 2, 3)
