"""Range tombstones against a naive set of points, and the encoding of names."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from kvengine.storage import names
from kvengine.storage import range_tombstones as tombstones
from kvengine.storage.range_tombstones import Tombstones

POINTS = [bytes([value]) for value in range(12)]
Range = tuple[int, int]

ranges = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=8)


def built(chosen: list[Range], stamp: int = 1) -> Tombstones:
    found: Tombstones = ()
    for at, (start, stop) in enumerate(chosen):
        found = tombstones.add(found, POINTS[start], POINTS[stop], stamp + at)
    return found


def naive(chosen: list[Range], stamp: int = 1) -> list[int]:
    """For each point the stamp of the last range over it."""
    stamps = [0] * len(POINTS)
    for at, (start, stop) in enumerate(chosen):
        for point in range(start, stop):
            stamps[point] = stamp + at
    return stamps


def stamps(found: Tombstones) -> list[int]:
    return [tombstones.covering(found, point) for point in POINTS]


def sound(found: Tombstones) -> bool:
    """Disjoint, in order, none empty, none that could be joined."""
    return all(start < stop for start, stop, _ in found) and all(
        left[1] < right[0] or (left[1] == right[0] and left[2] != right[2])
        for left, right in pairwise(found)
    )


@given(ranges)
def test_add_covers_what_its_ranges_cover(chosen: list[Range]) -> None:
    """Each point has the stamp of the newest range over it."""
    assert stamps(built(chosen)) == naive(chosen)
    assert sound(built(chosen))


@given(ranges, ranges)
def test_union_has_the_larger_stamp_and_one_form(one: list[Range], other: list[Range]) -> None:
    """The union says what either says; the order of its making leaves no trace."""
    left, right = built(one, 1), built(other, 5)
    both = tombstones.union(left, right)
    assert stamps(both) == [max(pair) for pair in zip(naive(one, 1), naive(other, 5), strict=True)]
    assert sound(both)
    assert both == tombstones.union(right, left)


@given(ranges, ranges, ranges)
def test_union_is_associative(a: list[Range], b: list[Range], c: list[Range]) -> None:
    """In structure too: overlay relies on it."""
    x, y, z = built(a, 1), built(b, 4), built(c, 7)
    union = tombstones.union
    assert union(union(x, y), z) == union(x, union(y, z))


@given(ranges, st.integers(0, 11), st.integers(0, 11))
def test_clip_keeps_what_lies_inside(chosen: list[Range], start: int, stop: int) -> None:
    """Inside the range nothing changes, outside nothing is left; the pieces join to the whole."""
    low, high = sorted((start, stop))
    found = built(chosen)
    inside = tombstones.clip(found, POINTS[low], POINTS[high])
    wanted = [at if low <= point < high else 0 for point, at in enumerate(naive(chosen))]
    assert stamps(inside) == wanted
    pieces = [
        tombstones.clip(found, *bounds)
        for bounds in ((b"", POINTS[low]), (POINTS[low], POINTS[high]), (POINTS[high], b"\xff"))
    ]
    whole: Tombstones = ()
    for piece in pieces:
        whole = tombstones.union(whole, piece)
    assert whole == found


@given(ranges, st.integers(0, 11), st.integers(0, 11))
def test_cover_range_is_to_cover_each_point(chosen: list[Range], start: int, stop: int) -> None:
    """A range is covered where no point of it is left out, across fragments too."""
    low, high = sorted((start, stop))
    if low < high:
        wanted = all(naive(chosen)[low:high])
        assert tombstones.cover_range(built(chosen), POINTS[low], POINTS[high]) == wanted


# Few characters, so that names share prefixes; those at which UTF-8 changes its length too.
name = st.text(
    st.sampled_from("\0\x01\x02\xffab\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff"),
    max_size=5,
)


@given(name, name)
def test_names_come_back(service: str, key: str) -> None:
    """What is encoded decodes to the same names."""
    assert names.decode_object(names.encode_object(service, key)) == (service, key)


@given(st.tuples(name, name), st.tuples(name, name))
def test_names_sort_by_their_utf8(one: tuple[str, str], other: tuple[str, str]) -> None:
    """Service first, then key; and str sorts as its UTF-8 does."""
    by_bytes = [part.encode() for part in one] < [part.encode() for part in other]
    first, second = names.encode_object(*one), names.encode_object(*other)
    assert (first < second) == by_bytes == (one < other)
    assert b"" < first < names.END


@given(name, name, name, name)
def test_ranges_hold_what_they_say(service: str, prefix: str, other: str, key: str) -> None:
    """A service's, a prefix's and a key range hold exactly those objects, and END none."""
    encoded = names.encode_object(other, key)

    def within(found: names.Range) -> bool:
        return found[0] <= encoded < found[1]

    assert within(names.service_range(service)) == (service == other)
    mine = service == other and key.startswith(prefix)
    assert within(names.prefix_range(service, prefix)) == mine
    assert within(names.key_range(service, prefix, None)) == (service == other and prefix <= key)
    before = service == other and "a" <= key < prefix
    assert within(names.key_range(service, "a", prefix)) == before


@given(name, name, name, name)
def test_the_least_name_parts_names_as_its_bytes_do(
    service: str, prefix: str, other: str, key: str
) -> None:
    """A bound of a range and its least name have the same names below and above."""
    encoded, found = names.encode_object(other, key), (other, key)
    bounds = (
        *names.prefix_range(service, prefix),
        *names.service_range(service),
        *(b"", names.END, names.encode_object(service, prefix)),
    )
    for bound in bounds:
        least = names.least_name(bound)
        assert (encoded < bound) == (least is None or found < least)
