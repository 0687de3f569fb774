"""Objects on their way from one database to another: read of one moment, in order, from a place on.

What `export` and `copy` have in common on the reading side; the writing side is writer.py.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sized
from contextlib import contextmanager
from typing import NamedTuple

from kvengine.storage.clock import SECOND
from kvengine.storage.names import Name
from kvengine.storage.times import MAX_TIME
from kvengine.store import Reads, StoredObject

_PAGE = 1000
_PROGRESS_OBJECTS = 1000
_PROGRESS_BYTES = 4 * 1024 * 1024


class Counts(NamedTuple):
    """How much went through: ``bytes`` are those of the values."""

    objects: int = 0
    entries: int = 0
    bytes: int = 0

    def plus(self, entries: Mapping[str, Sized]) -> Counts:
        """The counts with one more object of these entries."""
        return Counts(
            self.objects + 1,
            self.entries + len(entries),
            self.bytes + sum(map(len, entries.values())),
        )


class Pace:
    """Calls back now and then: after a thousand objects, or some megabytes, whichever is first."""

    def __init__(self, told: Callable[[Counts], object] | None) -> None:
        self._told = told
        self._last = Counts()

    def at(self, counts: Counts) -> None:
        """Tell, if it is time to."""
        if self._told is not None and (
            counts.objects - self._last.objects >= _PROGRESS_OBJECTS
            or counts.bytes - self._last.bytes >= _PROGRESS_BYTES
        ):
            self.end(counts)

    def end(self, counts: Counts) -> None:
        """Tell in any case."""
        self._last = counts
        if self._told is not None:
            self._told(counts)


@contextmanager
def moment(reads: Reads) -> Iterator[Reads]:
    """One moment of a store, let go of at the end; a snapshot is one already."""
    take = getattr(reads, "snapshot", None)
    if take is None:
        yield reads
        return
    with take() as held:
        yield held


def walk(
    reads: Reads, *, service: str | None = None, prefix: str = "", after: Name | None = None
) -> Generator[StoredObject, None, None]:
    """Objects in order, those behind ``after`` alone. ``reads``: a snapshot, or it is of no moment.

    ``after`` need not exist. ``prefix``: of the object key; needs a service.
    """
    if prefix and service is None:
        raise ValueError("prefix is for object keys: name a service too")
    if after is None:
        yield from reads.scan(service, prefix=prefix)
    elif service is None:
        yield from _rest(reads, *after)
        for one in services(reads, after[0]):
            yield from reads.scan(one)
    elif service > after[0]:
        yield from reads.scan(service, prefix=prefix)
    elif service == after[0]:
        yield from _rest(reads, *after, prefix=prefix)


def services(reads: Reads, after: str | None = None) -> Iterator[str]:
    """The services behind ``after`` in order, a page at a time."""
    while True:
        page = reads.services(start=after or "", limit=_PAGE)
        fresh = [one for one in page if after is None or one > after]
        if not fresh:
            return
        yield from fresh
        after = fresh[-1]


def _rest(reads: Reads, service: str, key: str, prefix: str = "") -> Iterator[StoredObject]:
    """The objects of a service behind a key."""
    for one in reads.scan(service, prefix=prefix, start=key):
        if one.key != key:
            yield one


def microseconds(at: float) -> int:
    """A time in seconds as the engine counts it: the nearest microsecond, not that below.

    Exact: times that the engine gave out as floats come back as they were.
    """
    numerator, denominator = at.as_integer_ratio()
    return min((2 * numerator * SECOND + denominator) // (2 * denominator), MAX_TIME)
