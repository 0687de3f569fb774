"""Curves: what a verb of kvengine takes as objects, keys, values, threads and snapshots grow.

A curve must have no cliff. A verb that does the same work at every point should cost the same;
where its work grows with the axis, as with the bytes of a value, it may cost so much more. A point
is a cliff if it is more than CLIFF times above what the point before it lets expect.
"""

from __future__ import annotations

import math
import os
import random
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import count, islice, pairwise
from typing import Any, NamedTuple

import kvengine
from benchmarks.full.record import Place, apart
from benchmarks.full.sizes import Sizes
from benchmarks.peers.kvengine_peer import settle

SERVICE = "Cart"
VALUE = random.Random(3).randbytes(100)
ROUNDS = 5
PAGE = 100  # keys of a listing
CLIFF = 3.0
KEYS_OF_AN_OBJECT = tuple(f"item-{number}" for number in range(10))

BY_HAND = "a dict made in Python"

Call = Callable[..., object]
Calls = list[tuple[Any, ...]]
Figures = dict[str, float]  # verb -> microseconds


class Curve(NamedTuple):
    """Microseconds of verbs over one axis."""

    name: str  # of the axis, with its unit
    points: list[int]
    series: dict[str, list[float]]
    note: str = ""
    work_grows: bool = False  # with the axis


def per_call(call: Call, arguments: Callable[[], Calls], parts: int = 1) -> float:
    """Return microseconds of a call, or of each of its parts: the median of some rounds."""
    times = []
    for _ in range(ROUNDS):
        made = arguments()
        start = time.perf_counter()
        for _each in made:
            pass
        middle = time.perf_counter()
        for each in made:
            call(*each)
        end = time.perf_counter()
        times.append((end - middle - (middle - start)) / len(made) / parts)
    return statistics.median(times) * 1e6


def steps(first: int, last: int, *, each: Sequence[int] = (1,)) -> list[int]:
    """Return ``first``, its multiples by ``each`` and by powers of ten, and ``last``."""
    found = [
        first * 10**power * step
        for power in range(1 + int(math.log10(max(1, last // first))))
        for step in each
    ]
    return [*(point for point in found if point < last), last]


def _open(directory: str, durability: Any = "os") -> Any:
    return kvengine.open(directory, durability=durability)


def over_objects(directory: str, sizes: Sizes) -> Curve:
    """One entry an object; the store grows from point to point."""
    points = steps(min(10_000, sizes.grown_objects // 10), sizes.grown_objects, each=(1, 3))
    curve = Curve("objects", points, {}, "one entry of 100 bytes each")
    loaded = 0
    with _open(directory) as store:
        for point in points:
            for number in range(loaded, point):
                store.set(SERVICE, _scattered(number), "state", VALUE)
            loaded = point
            settle(store)
            _add(curve, _of_objects(store, point, sizes.calls))
    return curve


def _of_objects(store: Any, objects: int, calls: int) -> Figures:
    any_object = partial(_any_objects, random.Random(1), objects, calls)

    def listing(service: str, key: str) -> list[str]:
        return list(store.object_keys(service, start=key, limit=PAGE))

    walked = min(objects, 100_000)
    pages = per_call(listing, lambda: any_object()[: max(1, calls // 20)], PAGE)
    return {
        "get": per_call(store.get, lambda: any_object("state")),
        "get_all": per_call(store.get_all, any_object),
        "set": per_call(store.set, lambda: any_object("state", VALUE)),
        f"list {PAGE} keys, per key": pages,
        "scan, per entry": _scan(store, walked, walked),
    }


def over_keys(directory: str, sizes: Sizes) -> Curve:
    """Objects of more and more keys, a store for each point."""
    note = f"{sizes.grown_entries:,} entries of 100 bytes in all, or one object if that is larger"
    curve = Curve("keys of an object", steps(1, sizes.largest_object), {}, note)
    for keys in curve.points:
        with _open(os.path.join(directory, str(keys))) as store:
            _add(curve, _of_keys(store, keys, sizes))
    return curve


def _of_keys(store: Any, keys: int, sizes: Sizes) -> Figures:
    generator = random.Random(1)
    objects = max(1, sizes.grown_entries // keys)
    names = [f"entry-{number:06d}" for number in range(keys)]

    def commit(number: int) -> None:
        with store.batch() as batch:
            for name in names:
                batch.set(SERVICE, _scattered(number), name, VALUE)

    def any_entry(*more: object) -> Calls:
        return [
            (SERVICE, _any(generator, objects), generator.choice(names), *more)
            for _ in range(sizes.calls)
        ]

    def any_object(most: int) -> Calls:
        return _any_objects(generator, objects, max(1, most))

    def lazy_session(service: str, key: str, name: str) -> None:
        with store.object(service, key, serde="bytes").session(preload=False) as state:
            state.get(name)
            state.set(name, VALUE)

    # Each object once, or the only one again and again.
    parts = [range(at, objects, ROUNDS) or range(1) for at in range(ROUNDS)]
    numbers = iter(parts)
    figures = {"commit, per entry": per_call(commit, lambda: [(n,) for n in next(numbers)], keys)}
    settle(store)
    some = min(sizes.calls, sizes.grown_entries // 10 // keys)
    figures |= {
        "get": per_call(store.get, any_entry),
        "get_all, per entry": per_call(store.get_all, lambda: any_object(some), keys),
        "set": per_call(store.set, lambda: any_entry(VALUE)),
        "lazy session": per_call(lazy_session, any_entry),
    }
    settle(store)
    figures["scan, per entry"] = _scan(store, objects, objects * keys)
    figures[f"{BY_HAND}, per entry"] = per_call(_by_hand, lambda: [(keys,)], keys)
    figures["clear_all"] = per_call(store.clear_all, lambda: any_object(objects // 20))
    return figures


def _by_hand(keys: int) -> dict[str, bytes]:
    """Make such a dict in Python: what processor caches and memory do to any dict of that size."""
    size = len(VALUE)
    return {f"entry-{at:06d}": b"%*d" % (size, at) for at in range(keys)}


def over_values(directory: str, sizes: Sizes) -> Curve:
    """Values of more and more bytes, a store for each point."""
    about = ("one entry an object", True)
    curve = Curve("bytes of a value", steps(10, sizes.largest_value), {}, *about)
    for size in curve.points:
        with _open(os.path.join(directory, str(size))) as store:
            _add(curve, _of_values(store, size, sizes))
    return curve


def _of_values(store: Any, size: int, sizes: Sizes) -> Figures:
    generator = random.Random(1)
    value = generator.randbytes(size)
    some = max(1, min(sizes.calls, sizes.value_bytes // size // ROUNDS))
    written = some * ROUNDS
    numbers = count()

    def new_objects() -> Calls:
        return [(SERVICE, _scattered(n), "state", value) for n in islice(numbers, some)]

    def any_object() -> Calls:
        return _any_objects(generator, written, some, "state")

    figures = {"set": per_call(store.set, new_objects)}
    settle(store)
    figures["get"] = per_call(store.get, any_object)
    figures["scan, per entry"] = _scan(store, written, written)
    return figures


def over_threads(directory: str, sizes: Sizes) -> Curve:
    """The same verbs called by several threads at once; the time of all by the calls of all."""
    points = [threads for threads in (1, 2, 4, 8, 16, 32) if threads <= sizes.threads]
    objects = min(10_000, sizes.grown_entries // 10)
    note = f"time of all threads by the calls of all, {objects:,} objects of 10 entries"
    curve = Curve("threads", points, {}, note)
    with (
        _open(os.path.join(directory, "os")) as store,
        _open(os.path.join(directory, "sync"), "sync") as synced,
    ):
        _load_tens(store, objects)
        verbs = {"get": lambda key: store.get(SERVICE, key, "item-3")}
        verbs |= {"commit of 3, os": _three(store), "commit of 3, sync": _three(synced)}
        for threads in points:
            for name, verb in verbs.items():
                calls = sizes.calls // (20 if verb is verbs["commit of 3, sync"] else threads)
                times = [_at_once(verb, threads, max(1, calls), objects) for _ in range(ROUNDS)]
                _add(curve, {name: statistics.median(times) / threads / max(1, calls) * 1e6})
    return curve


def over_snapshots(directory: str, sizes: Sizes) -> Curve:
    """Snapshots that are open, each of another moment."""
    objects = min(10_000, sizes.grown_entries // 10)
    note = f"{objects:,} objects of 10 entries, one set between two snapshots"
    curve = Curve("open snapshots", [0, *steps(1, sizes.snapshots)], {}, note)
    held = 0
    with _open(directory) as store, ExitStack() as opened:
        _load_tens(store, objects)
        for point in curve.points:
            for number in range(held, point):
                opened.enter_context(store.snapshot())
                store.set(SERVICE, _scattered(number % objects), "item-0", VALUE)
            held = point
            settle(store)
            _add(curve, _beside_snapshots(store, objects, sizes.calls))
    return curve


def _beside_snapshots(store: Any, objects: int, calls: int) -> Figures:
    any_object = partial(_any_objects, random.Random(1), objects, calls)

    def one_more() -> None:
        store.snapshot().close()

    return {
        "get": per_call(store.get, lambda: any_object("item-3")),
        "get_all": per_call(store.get_all, any_object),
        "set": per_call(store.set, lambda: any_object("item-3", VALUE)),
        "open and close one more": per_call(one_more, lambda: [()] * max(1, calls // 10)),
        "scan, per entry": _scan(store, objects, objects * len(KEYS_OF_AN_OBJECT)),
    }


def _scattered(number: int) -> str:
    """The key of an object: neighbours by number are far apart by key, and none comes twice."""
    return f"customer-{number * 76_543_211 % 100_000_000:08d}"


def _any(generator: random.Random, objects: int) -> str:
    return _scattered(generator.randrange(objects))


def _any_objects(generator: random.Random, objects: int, calls: int, *more: object) -> Calls:
    """Return arguments for so many calls, each on any object, with ``more`` behind its name."""
    return [(SERVICE, _any(generator, objects), *more) for _ in range(calls)]


def _scan(store: Any, objects: int, entries: int) -> float:
    def scan() -> None:
        for stored in islice(store.scan(), objects):
            for _name, _value in stored.entries.items():
                pass

    return per_call(scan, lambda: [()], entries)


def _load_tens(store: Any, objects: int) -> None:
    for number in range(objects):
        with store.batch() as batch:
            for name in KEYS_OF_AN_OBJECT:
                batch.set(SERVICE, _scattered(number), name, VALUE)


def _three(store: Any) -> Call:
    def commit(key: str) -> None:
        with store.batch() as batch:
            for name in KEYS_OF_AN_OBJECT[:3]:
                batch.set(SERVICE, key, name, VALUE)

    return commit


def _at_once(verb: Call, threads: int, calls: int, objects: int) -> float:
    """Return the seconds from when all threads begin until the last has ended."""
    barrier = threading.Barrier(threads + 1)

    def work(seed: int) -> None:
        generator = random.Random(seed)
        keys = [_scattered(generator.randrange(objects)) for _ in range(calls)]
        barrier.wait()
        for key in keys:
            verb(key)

    running = [threading.Thread(target=work, args=(seed,)) for seed in range(threads)]
    for thread in running:
        thread.start()
    barrier.wait()
    start = time.perf_counter()
    for thread in running:
        thread.join()
    return time.perf_counter() - start


def _add(curve: Curve, figures: Figures) -> None:
    for name, microseconds in figures.items():
        curve.series.setdefault(name, []).append(microseconds)


def cliffs(curve: Curve) -> list[str]:
    """Return a line for each point that lies too far above the one before it."""
    found = []
    for name, times in curve.series.items():
        for (lower, before), (point, cost) in pairwise(zip(curve.points, times, strict=True)):
            more = point / max(1, lower) if curve.work_grows else 1.0
            ratio = cost / before
            if ratio > CLIFF * more:
                found.append(
                    f"{name}, from {lower:,} to {point:,} {curve.name}: "
                    f"from {before:.3g} to {cost:.3g} us, {ratio:.1f} times as much"
                )
    return found


def run(place: Place, sizes: Sizes) -> list[Curve]:
    """Return all curves, each from a process of its own."""
    curves = []
    for measure in (over_objects, over_keys, over_values, over_threads, over_snapshots):
        curve = apart(measure, place.new("growth"), sizes)
        place.drop("growth")
        curves.append(curve)
        place.say(f"  {curve.name}: {curve.points}")
        for name, times in curve.series.items():
            place.say(f"    {name}: {', '.join(f'{each:.3g}' for each in times)} us")
        for cliff in cliffs(curve):
            place.say(f"    CLIFF: {cliff}")
    return curves
