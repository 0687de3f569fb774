"""The data that every benchmark works on: objects of ten state keys with 100-byte values.

Values are random bytes, so that compression neither helps nor hurts. Objects are loaded in an
order that has nothing to do with the order of their keys, as users' ids arrive. Everything comes
from seeded generators: every store does exactly the same work.

Typed objects are of ten state keys too, each value the JSON of an int or a str.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from itertools import accumulate

import msgspec

SERVICE = "Cart"
STATE_KEYS = tuple(f"item-{number}" for number in range(10))
VALUE_SIZE = 100
HOT_OBJECTS = 1_000
LARGE_ENTRIES = 100_000  # of one large object
THREADS = 32
TASKS = 200
DEFAULT_OBJECTS = 50_000
ZIPF_EXPONENT = 0.99

TYPED_SERVICE = "Profile"
FIELDS: dict[str, type] = {
    "city": str,
    "count": int,
    "country": str,
    "credit": int,
    "email": str,
    "language": str,
    "level": int,
    "name": str,
    "points": int,
    "since": int,
}


def object_count() -> int:
    """How many objects a store is loaded with (KVENGINE_BENCH_OBJECTS makes a quick run)."""
    count = int(os.environ.get("KVENGINE_BENCH_OBJECTS", DEFAULT_OBJECTS))
    if count < 1_000:
        raise ValueError(f"KVENGINE_BENCH_OBJECTS={count}: at least 1000 objects are needed")
    return count


def object_key(number: int) -> str:
    """The key of one object: a new string each time, as names that come with a request are."""
    return f"customer-{number:07d}"


def entry_values(generator: random.Random, state_keys: tuple[str, ...]) -> dict[str, bytes]:
    """A random value for each of the state keys."""
    return {name: generator.randbytes(VALUE_SIZE) for name in state_keys}


def large_object(number: int) -> tuple[str, str, dict[str, bytes]]:
    """Return one object of many entries, as arguments of `load_object`."""
    generator = random.Random(number)
    entries = {f"entry-{i:06d}": generator.randbytes(VALUE_SIZE) for i in range(LARGE_ENTRIES)}
    return SERVICE, f"large-{number}", entries


def data_bytes(objects: int) -> int:
    """Names and values of so many objects, an object's own names once."""
    names = len(SERVICE) + len(object_key(0))
    return objects * (names + sum(len(name) + VALUE_SIZE for name in STATE_KEYS))


class Zipf:
    """Object numbers by Zipf's law with YCSB's exponent.

    The frequent ones lie anywhere, or, not shuffled, are the lowest.
    """

    def __init__(self, count: int, *, shuffled: bool = True) -> None:
        self._weights = list(accumulate(rank**-ZIPF_EXPONENT for rank in range(1, count + 1)))
        self._numbers = load_order(count) if shuffled else list(range(count))

    def choices(self, generator: random.Random, count: int) -> list[int]:
        """So many numbers."""
        return generator.choices(self._numbers, cum_weights=self._weights, k=count)


def load_order(count: int) -> list[int]:
    """Numbers of all objects in the order in which they are loaded."""
    numbers = list(range(count))
    random.Random(1).shuffle(numbers)
    return numbers


def objects(count: int, seed: int = 2) -> Iterator[tuple[str, str, dict[str, bytes]]]:
    """The whole data set, as arguments of `load_object`."""
    generator = random.Random(seed)
    for number in load_order(count):
        yield SERVICE, object_key(number), entry_values(generator, STATE_KEYS)


def profiles(count: int, seed: int = 3) -> Iterator[tuple[str, str, dict[str, bytes]]]:
    """The typed data set, as arguments of `load_object`."""
    generator = random.Random(seed)
    encode = msgspec.json.Encoder().encode
    for number in load_order(count):
        entries = {
            name: encode(
                generator.randrange(1_000_000) if kind is int else generator.randbytes(8).hex()
            )
            for name, kind in FIELDS.items()
        }
        yield TYPED_SERVICE, object_key(number), entries
