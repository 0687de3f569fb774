"""A short measurement of the engine on this machine. Against other stores: `make bench`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import kvengine

_OBJECTS = 2_000
_KEYS = 10
_VALUE = b"x" * 100
_ROUNDS = 5


class Figure(NamedTuple):
    """One operation: microseconds each, the median of several rounds."""

    operation: str
    microseconds: float


def measure(directory: str) -> Iterator[Figure]:
    """Figures of a new database in ``directory``: small objects, of ten entries of 100 bytes."""
    with kvengine.open(directory, durability="os") as db:
        for i in range(_OBJECTS):
            with db.batch() as batch:
                for n in range(_KEYS):
                    batch.set("Bench", f"{i:06}", f"key{n}", _VALUE)
        hot = [f"{i:06}" for i in range(100)]
        for key in hot:
            db.get_all("Bench", key)
        yield _timed("eager load, hot", hot, lambda key: db.get_all("Bench", key))
        yield _timed("get, hot", hot, lambda key: db.get("Bench", key, "key5"))
        yield _timed("set one key, hot", hot, lambda key: db.set("Bench", key, "key5", _VALUE))

        def session(key: str) -> None:
            with db.object("Bench", key).session() as state:
                state.set("count", 1)

        for key in hot:
            db.clear_all("Bench", key)
            db.object("Bench", key).set("count", 0)
        yield _timed("eager session, 1 change", hot, session)
        db.flush()
        yield _timed(
            "scan, each entry", ["Bench"], lambda s: sum(1 for _ in db.scan(s)), entries=True
        )
    with kvengine.open(directory, durability="sync") as db:
        yield _timed("set one key, synced", hot[:50], lambda key: db.set("Bench", key, "a", _VALUE))


def _timed(
    operation: str, keys: list[str], work: Callable[[str], object], *, entries: bool = False
) -> Figure:
    count = _OBJECTS * _KEYS if entries else len(keys)
    rounds = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        for key in keys:
            work(key)
        rounds.append((time.perf_counter() - began) / count * 1e6)
    return Figure(operation, statistics.median(rounds))
