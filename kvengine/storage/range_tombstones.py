"""Range tombstones as disjoint fragments, in order.

A fragment ``(start, stop, stamp)`` says: every object in ``[start, stop)`` of
an older layer is gone since ``stamp``. Where two overlap the larger stamp
holds, so a set of tombstones has one form, whatever the order it grew in.
Fragmenting is how RocksDB and Pebble keep reads from walking overlaps.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise

Fragment = tuple[bytes, bytes, int]
Tombstones = tuple[Fragment, ...]


def _start(fragment: Fragment) -> bytes:
    return fragment[0]


def covering(tombstones: Tombstones, name: bytes) -> int:
    """The stamp of the tombstone over an encoded object, 0 where there is none."""
    at = bisect_right(tombstones, name, key=_start) - 1
    if at >= 0 and name < tombstones[at][1]:
        return tombstones[at][2]
    return 0


def add(tombstones: Tombstones, start: bytes, stop: bytes, stamp: int) -> Tombstones:
    """With one more tombstone, whose stamp is at least all others'. Empty ranges add nothing."""
    if start >= stop:
        return tombstones
    low = bisect_right(tombstones, start, key=_start)
    if low and tombstones[low - 1][1] >= start:
        low -= 1
    high = bisect_right(tombstones, stop, key=_start)
    touched = tombstones[low:high]
    middle = [(a, min(b, start), s) for a, b, s in touched if a < start]
    middle.append((start, stop, stamp))
    middle += [(max(a, stop), b, s) for a, b, s in touched if b > stop]
    return tombstones[:low] + _joined(middle) + tombstones[high:]


def union(one: Tombstones, other: Tombstones) -> Tombstones:
    """What either covers; the larger stamp where both do."""
    if not one or not other:
        return one or other
    points = sorted({point for fragment in one + other for point in fragment[:2]})
    return _joined(
        (low, high, stamp)
        for low, high in pairwise(points)
        if (stamp := max(covering(one, low), covering(other, low)))
    )


def clip(tombstones: Tombstones, start: bytes, stop: bytes) -> Tombstones:
    """The parts inside ``[start, stop)``."""
    return tuple(
        (max(a, start), min(b, stop), s) for a, b, s in tombstones if a < stop and start < b
    )


def cover_range(tombstones: Tombstones, start: bytes, stop: bytes) -> bool:
    """Whether every object in ``[start, stop)`` is covered."""
    at = max(0, bisect_right(tombstones, start, key=_start) - 1)
    for low, high, _ in tombstones[at:]:
        if low > start:
            return False
        start = max(start, high)
        if start >= stop:
            return True
    return False


def _joined(fragments: Iterable[Fragment]) -> Tombstones:
    out: list[Fragment] = []
    for fragment in fragments:
        if out and out[-1][1] == fragment[0] and out[-1][2] == fragment[2]:
            out[-1] = (out[-1][0], fragment[1], fragment[2])
        else:
            out.append(fragment)
    return tuple(out)
