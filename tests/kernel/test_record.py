"""The record of plain sets: compiled and plain Python make the same bytes."""

from __future__ import annotations

import random
from typing import Any

import pytest
from crc32c import crc32c

from kvengine import kernel
from kvengine.storage import record
from kvengine.storage.wal import format as wal

pytestmark = pytest.mark.skipif(not kernel.COMPILED, reason="the kernel is not built, or is off")

EDGES = (0, 1, 15, 16, 31, 32, 127, 128, 255, 256, 65535, 65536)
NUMBERS = (0, 1, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**63, 2**64 - 1)
LETTERS = "abcdefghijklmnop\0\x7f\u00e9\u20ac\U0001f600"


def both(*arguments: Any) -> tuple[bytes, bytes]:
    assert kernel.record_of_sets is not None
    return kernel.record_of_sets(*arguments), wal._record_of_sets(*arguments)


def text(rng: random.Random, size: int) -> str:
    return "".join(rng.choices(LETTERS, k=size))


def test_the_same_bytes_for_random_commits() -> None:
    """100,000 commits: names of any script, values, stamps, salts and offsets of all sizes."""
    rng = random.Random(1)
    for _ in range(100_000):
        entries = {
            text(rng, rng.randrange(12)): rng.randbytes(rng.choice((0, 3, 40, 300)))
            for _ in range(rng.choice((1, 1, 2, 5, 20)))
        }
        stamp = rng.getrandbits(rng.randrange(1, 65))
        now = rng.choice((0, rng.getrandbits(64)))
        salt, mark = rng.getrandbits(32), rng.getrandbits(32)
        names = text(rng, rng.randrange(40)), text(rng, rng.randrange(40))
        compiled, plain = both(stamp, *names, entries, now, salt, mark, rng.getrandbits(40))
        assert compiled == plain


def test_the_same_bytes_at_every_change_of_form() -> None:
    """Where MessagePack takes another form for a size or a number, and one below and above."""
    for size in EDGES:
        entries = {"k" * size: b"v" * size}
        compiled, plain = both(1, "s" * size, "\u00e9" * (size // 2), entries, 0, 1, 2, 3)
        assert compiled == plain, size
    for count in (1, 15, 16, 17, 65535, 65536):
        compiled, plain = both(1, "s", "k", {str(i): b"" for i in range(count)}, 0, 1, 2, 3)
        assert compiled == plain, count
    for number in NUMBERS:
        compiled, plain = both(number, "s", "k", {"a": b"b"}, number, 1, 2, number)
        assert compiled == plain, number


def test_the_log_reads_it() -> None:
    salt = 77
    made, _ = both(5, "S", "k", {"a": b"1", "\u00e9": b""}, 3, salt, record.marker(salt), 0)
    (found,) = record.records(made, 0, salt)
    commit = wal.decode_commit(found.payload)
    assert (commit.stamp, commit.now, commit.tombstones) == (5, 3, [])
    assert [(s, k, dict(row.entries)) for s, k, row in commit.rows] == [
        ("S", "k", {"a": b"1", "\u00e9": b""})
    ]
    assert int.from_bytes(made[4:8], "little") == crc32c(made[8:], salt)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (1, "s", "k", {}, 0, 0, 0),
        (1, "s", "k", [("a", b"b")], 0, 0, 0, 0),
        (1, b"s", "k", {"a": b"b"}, 0, 0, 0, 0),
        (1, "s", 7, {"a": b"b"}, 0, 0, 0, 0),
        (1, "s", "k", {b"a": b"b"}, 0, 0, 0, 0),
        (1, "s", "k", {"a": "b"}, 0, 0, 0, 0),
        (1, "s", "k", {"a": None}, 0, 0, 0, 0),
        (1, "s", "k", {"\ud800": b""}, 0, 0, 0, 0),
        (-1, "s", "k", {"a": b"b"}, 0, 0, 0, 0),
        (1, "s", "k", {"a": b"b"}, 2**64, 0, 0, 0),
        ("1", "s", "k", {"a": b"b"}, 0, 0, 0, 0),
        (1, "s", "k", {"a": b"b"}, 0, None, 0, 0),
    ],
)
def test_wrong_arguments_are_errors(arguments: tuple[Any, ...]) -> None:
    assert kernel.record_of_sets is not None
    with pytest.raises((TypeError, ValueError, OverflowError)):
        kernel.record_of_sets(*arguments)
