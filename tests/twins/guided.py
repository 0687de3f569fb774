"""Bytes that atheris makes, guided by the branches of Python that they take.

    python -m tests.twins.guided TARGET [option of libFuzzer ...]

Rows, blocks, indexes, filters and commits are given to both forms of the twins, which must answer
the same. Tombstones are given to their decoder, behind the checksum; it returns something or raises
ValueError. A run ends at the first input that breaks this, that takes
more than ``-timeout`` seconds or ``-rss_limit_mb``, or after ``-runs=N`` inputs. `make fuzz`
installs atheris and runs all of them.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import atheris

from kvengine import compiled
from kvengine.storage import names
from kvengine.storage.wal import format as wal
from tests.twins import test_block, test_decode, test_filter, test_index, test_packed
from tests.twins.forms import plain

SEEDS = 200
segment = plain("kvengine.storage.segment.format")

STATE_KEYS = ["a1", "item-2", "ä0", ""]
OBJECTS = [b"a\0\1b", b"item\0\1", b"", b"\xff"]
DIGESTS = [0, 1, 1 << 32, (1 << 64) - 1]


class Target(NamedTuple):
    """What decodes the bytes, what checks it, and sound bytes to begin with."""

    decoder: ModuleType
    check: Callable[[bytes], object]
    make: Callable[[random.Random], bytes]


def some_filter(choice: random.Random) -> bytes:
    digests = [choice.getrandbits(64) for _ in range(choice.randrange(40))]
    data: bytes = test_filter.plain.build(digests, choice.getrandbits(64))
    return data


def some_commit(choice: random.Random) -> bytes:
    made = [
        (("s", f"k{n}"), test_packed.plain.pack(0, 1 << 50, choice.choice([None, 1 << 51]), {}))
        for n in range(choice.randrange(4))
    ]
    ranges = [(b"a\0\1", b"b\0\1")] * choice.randrange(2)
    name = choice.randrange(300), choice.choice([b"", choice.randbytes(choice.randrange(1, 34))])
    return wal.encode_commit(1 << 50, made, ranges, choice.choice([0, 1 << 50]), *name)


def some_index(choice: random.Random) -> bytes:
    index = test_index.plain.Index()
    for number in range(choice.randrange(9)):
        index.add(names.encode_object("s", f"k{number:03}"), 32 + 100 * number, 100)
    data: bytes = test_index.plain.encode_index(index)
    return data


def some_tombstones(choice: random.Random) -> bytes:
    marks = [
        (b"%02d" % n, b"%02d~" % n, choice.getrandbits(50)) for n in range(choice.randrange(5))
    ]
    data: bytes = segment.encode_tombstones(marks)
    return data


def refused_or_decoded(decode: Callable[[bytes], Any]) -> Callable[[bytes], object]:
    """Return a check that lets ValueError pass, and no other error."""

    def check(data: bytes) -> object:
        try:
            return decode(data)
        except ValueError:
            return None

    return check


TARGETS = {
    "rows": Target(
        test_packed.plain,
        lambda data: test_packed.assert_read_alike(data, STATE_KEYS),
        lambda choice: test_packed.some_row(choice)[0],
    ),
    "blocks": Target(
        test_block.plain,
        lambda data: test_block.assert_alike(data, OBJECTS),
        lambda choice: test_block.some_block(choice)[0],
    ),
    "filters": Target(
        test_filter.plain, lambda data: test_filter.assert_alike(data, DIGESTS), some_filter
    ),
    "commits": Target(
        wal, lambda data: test_decode.assert_alike(test_decode.log_of([data])), some_commit
    ),
    "indexes": Target(
        test_index.plain, lambda data: test_index.assert_decoded_alike(data, OBJECTS), some_index
    ),
    "tombstones": Target(segment, refused_or_decoded(segment.decode_tombstones), some_tombstones),
}


def instrument(module: ModuleType) -> None:
    """Let atheris see which branches of the functions and methods of a module are taken."""

    def each(members: Iterable[object]) -> None:
        for member in members:
            function = member.fget if isinstance(member, property) else member
            if getattr(function, "__module__", None) != module.__name__:
                continue
            if isinstance(function, FunctionType):
                atheris.instrument_func(function)
            elif isinstance(function, type):
                each(vars(function).values())

    each(list(vars(module).values()))


def main(name: str, *options: str) -> None:
    """Run libFuzzer on one target, beginning with sound bytes."""
    assert compiled.form == "compiled", "a twin would be compared with itself"
    target = TARGETS[name]
    instrument(target.decoder)
    with tempfile.TemporaryDirectory() as corpus:
        for seed in range(SEEDS):
            (Path(corpus) / str(seed)).write_bytes(target.make(random.Random(seed)))
        atheris.Setup([sys.argv[0], *options, corpus], target.check)
        atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
