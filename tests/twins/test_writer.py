"""Segments: the compiled writer makes the files and properties that the plain one makes."""

from __future__ import annotations

import errno
import random
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvengine.fs import DiskFileSystem, MemoryFileSystem
from kvengine.storage import row as rows
from kvengine.storage.names import encode_object
from kvengine.storage.row import Entry, Row
from tests.twins.forms import mutate, only_compiled, outcome, twins

pytestmark = only_compiled
fast, plain = twins("kvengine.storage.segment.writer")

STAMP = 1 << 50
TEXTS = ["", "a", "ab", "\0", "ä", "€", "\U0001f600", "item-0000", "x" * 40]


def some_entry(choice: random.Random, size: int) -> Entry:
    value = choice.randbytes(choice.randrange(size))
    kind = choice.randrange(9)
    if kind == 0:
        return None
    return (STAMP + choice.randrange(-9, 9), value) if kind == 1 else value


def some_row(choice: random.Random) -> Row:
    """A row of a few entries, or of more than fit in a chunk, with any of the flags."""
    count = choice.choice([0, 1, 1, 3, 10, 15, 16, 32, 33, 70])
    size = choice.choice([1, 20, 20, 300, 70_000 if not choice.randrange(20) else 20])
    entries = {
        choice.choice(TEXTS) + str(choice.randrange(10 * count)): some_entry(choice, size)
        for _ in range(count)
    }
    return rows.make(
        STAMP + choice.randrange(9),
        entries,
        cleared=choice.random() < 0.2,
        extends=choice.random() < 0.1,
        expires_at=STAMP + choice.randrange(-9, 9) if choice.random() < 0.3 else None,
        completed_at=STAMP if choice.random() < 0.1 else None,
    )


def some_objects(choice: random.Random) -> list[tuple[bytes, Row, bytes]]:
    """Objects in order; a few rows are not as commits write them."""
    names = {
        encode_object(choice.choice(TEXTS), choice.choice(TEXTS) + str(choice.randrange(99)))
        for _ in range(choice.choice([0, 1, 3, 20, 60]))
    }
    found = []
    for name in sorted(names):
        row = some_row(choice)
        encoded = rows.encode(row)
        if not choice.randrange(15):
            kind, made = outcome(rows.decode, mutate(encoded, choice))
            if kind == "returns" and made.chunks is None and rows.is_sorted(made.entries):
                row = made
                kind, encoded = outcome(rows.encode, row)
                if kind == "raises":
                    continue
        found.append((name, row, encoded))
    return found


class Fixed:
    """Stands for the source of random numbers: both forms give their file the same identity."""

    SystemRandom: Any

    def getrandbits(self, bits: int) -> int:
        return 0x0123456789ABCDEF


Fixed.SystemRandom = Fixed


def written(form: Any, objects: list[tuple[bytes, Row, bytes]], sizes: Any, marks: Any) -> Any:
    """The file, its properties and its size at each step."""
    fs: Any = MemoryFileSystem(trace=[])
    block_size, chunk_size, horizon = sizes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(form, "random", Fixed)
        writer = form.SegmentWriter(fs, "/one", block_size, chunk_size, 77, horizon)
    steps = [writer.size]
    for name, row, encoded in objects:
        steps.append((outcome(writer.add, name, row, encoded), writer.size))
    properties = outcome(writer.finish, marks, STAMP)
    return fs.read_bytes("/one"), properties, steps, writer.size, fs.trace


def check_mutated(choice: random.Random) -> None:
    """One input of the long run, too: see fuzz.py."""
    objects = some_objects(choice)
    horizon = choice.choice([0, STAMP, STAMP])
    sizes = choice.choice([64, 512, 8192]), choice.choice([64, 1024, 65536]), horizon
    marks = ((b"a", b"b", STAMP),) if not objects or choice.random() < 0.2 else ()
    assert written(fast, objects, sizes, marks) == written(plain, objects, sizes, marks)


@settings(max_examples=200, deadline=None)
@given(st.randoms(use_true_random=False))
def test_both_forms_write_the_same_file(choice: random.Random) -> None:
    check_mutated(choice)


def rows_of(size: int) -> Iterator[tuple[bytes, Row]]:
    """Objects whose rows take about so many bytes together."""
    for number in range(size // 1000):
        entries = {f"n{n}": bytes([number % 256]) * 96 for n in range(10)}
        yield encode_object("s", f"{number:08}"), rows.make(STAMP, entries)


def test_a_large_file_on_disk(tmp_path: Path) -> None:
    """Its space is reserved ahead by one of the forms, and none of that is left in the end."""
    files = []
    for form in (fast, plain):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(form, "random", Fixed)
            writer = form.SegmentWriter(DiskFileSystem(), str(tmp_path / "one"), 8192, 65536, 77)
        for name, row in rows_of(6 << 20):
            writer.add(name, row)
        writer.finish((), None)
        files.append((tmp_path / "one").read_bytes())
        assert len(files[-1]) == writer.size
        (tmp_path / "one").unlink()
    assert files[0] == files[1]


def test_no_space_for_a_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    """Where space cannot be reserved the pieces are written without it, as far as they go."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        writer = fast.SegmentWriter(DiskFileSystem(), str(tmp_path / "one"), 8192, 65536, 77)
        with pytest.raises(OSError, match="File too large") as caught:
            for name, row in rows_of(6 << 20):
                writer.add(name, row)
        assert caught.value.errno == errno.EFBIG
        assert (tmp_path / "one").stat().st_size == 1 << 20
        writer.abandon()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (tmp_path / "one").exists()
