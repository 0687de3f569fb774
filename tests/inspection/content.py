"""Databases to move: objects of every oddity, and what of them must arrive."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import hypothesis.strategies as st

import kvengine
from kvengine.fs.base import FileSystem
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage.clock import SECOND, ManualClock
from kvengine.store import Reads

ODD_NAMES = (
    *(
        "",
        "\0",
        "a",
        "a\0",
        "a\0b",
        "a b/c",
        'a"b\\c',
        "\x1b[31mred",
        "\u202egnp",
        "\u2028",
        "\x7f",
    ),
    *("\u00e9", "e\u0301", "\U0001f600", "\uffff", "\U0010ffff", "end", "value", "n" * 65536),
)
ODD_VALUES = (
    *(b"", b"null", b"0", b"-0", b"-0.0", b"1e5", b"1.50", b"1e999", b"NaN", b"9" * 40),
    *(b'{"a":1,"a":2}', b'{"a": 1}', b'{"a":1}', b"[1,2]", b" 1", b"1\n", b"true", b'"\\u00e9"'),
    *(b'"\xc3\xa9"', b'"\\ud800"', b'"\\/"', b"\xed\xa0\x80", b"\xff\xfe", b"text", b"\0", b"\r\n"),
    *('"\u2028\u202e\x7f"'.encode(), b'{"end":{"objects":0}}', b"\xef\xbb\xbf1", b"[" * 300),
    *(
        b"[" * 300 + b"]" * 300,
        b"x" * 200_000,
        bytes(range(256)) * 300,
        b'"' + b"\\n" * 70000 + b'"',
    ),
)

names = st.sampled_from(ODD_NAMES) | st.text(max_size=6)
values = st.sampled_from(ODD_VALUES) | st.binary(max_size=40) | st.text(max_size=20).map(str.encode)
times = st.none() | st.integers(1, 10**13)
"""Microseconds from now."""


class Piece(NamedTuple):
    """An object to be: entries with their ttls, and its own; microseconds."""

    entries: dict[str, tuple[bytes, int | None]]
    expires_in: int | None


pieces = st.builds(
    Piece, st.dictionaries(names, st.tuples(values, times), min_size=1, max_size=6), times
)
contents = st.dictionaries(st.tuples(names, names), pieces, max_size=12)

Content = dict[tuple[str, str], Piece]
Found = dict[tuple[str, str], tuple[dict[str, bytes], float | None, dict[str, float] | None]]


def open_small(
    path: str, *, fs: FileSystem | None = None, clock: ManualClock | None = None, **options: object
) -> kvengine.Engine:
    """A database in memory, by a clock that stands still, whose large objects are in chunks."""
    return kvengine.open(
        path,
        fs=fs or MemoryFileSystem(),
        clock=clock or ManualClock(),
        **{"background": "none", "block_size": 512, "chunk_size": 2048, **options},
    )


def seconds(clock: ManualClock) -> Callable[[], float]:
    """The clock as tools read it."""
    return lambda: clock.wall() / SECOND


def fill(db: kvengine.Engine, content: Content, *, flush_every: int = 5) -> None:
    """Write every object; some of them reach segments."""
    for number, (name, piece) in enumerate(content.items(), 1):
        for state_key, (value, ttl) in piece.entries.items():
            db.set(*name, state_key, value, ttl=None if ttl is None else ttl / SECOND)
        if piece.expires_in is not None:
            db.expire(*name, ttl=piece.expires_in / SECOND)
        if number % flush_every == 0:
            db.flush()


def found(reads: Reads) -> Found:
    """All that a reader sees but the versions, which are each database's own."""
    return {
        (one.service, one.key): (one.entries, one.expires_at, one.expiries) for one in reads.scan()
    }


def numbered(db: kvengine.Engine, count: int, *, service: str = "s", size: int = 100) -> None:
    """Objects ``000000``, ``000001``, ... of one small entry and one of ``size`` bytes."""
    for start in range(0, count, 500):
        with db.batch() as batch:
            for number in range(start, min(count, start + 500)):
                batch.set(service, f"{number:06}", "n", b"%d" % number)
                batch.set(service, f"{number:06}", "v", bytes([number % 251]) * size)
