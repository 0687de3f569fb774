"""Range tombstones as disjoint fragments, in order.

A fragment ``(start, stop, stamp)`` says: every object in ``[start, stop)`` of
an older layer is gone since ``stamp``. Where two overlap the larger stamp
counts, so a set of tombstones has one form, in whatever order they were added.
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
    """Return the stamp of the tombstone over an encoded object, 0 if there is none."""
    at = bisect_right(tombstones, name, key=_start) - 1
    if at >= 0 and name < tombstones[at][1]:
        return tombstones[at][2]
    return 0


def add(tombstones: Tombstones, start: bytes, stop: bytes, stamp: int) -> Tombstones:
    """Return the tombstones with one more, whose stamp no other exceeds. Empty ranges add none."""
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
    """Return what either covers, with the larger stamp where both do."""
    if not one or not other:
        return one or other
    points = sorted({point for fragment in one + other for point in fragment[:2]})
    return _joined(
        (low, high, stamp)
        for low, high in pairwise(points)
        if (stamp := max(covering(one, low), covering(other, low)))
    )


def clip(tombstones: Tombstones, start: bytes, stop: bytes) -> Tombstones:
    """Return the parts inside ``[start, stop)``."""
    return tuple(
        (max(a, start), min(b, stop), s) for a, b, s in tombstones if a < stop and start < b
    )


def cover_range(tombstones: Tombstones, start: bytes, stop: bytes) -> bool:
    """Return whether every object in ``[start, stop)`` is covered."""
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
