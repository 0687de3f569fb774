"""Listings and scans: walking live objects in order, as of one moment.

The cost of a walk is that of the objects that it returns and of the dead ones that no walk has
passed before. A run of dead objects that a walk has crossed is remembered as a *span*
(`DeadSpans`), and the next walk does not enter it. So a queue whose objects are taken from the
front stays cheap, whether the dead ones lie in memory or in segments.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Self
from weakref import ref

from kvengine.storage import names, read
from kvengine.storage.clock import SECOND
from kvengine.storage.merge import (
    FIRST_WINDOW,
    LARGEST_WINDOW,
    Block,
    Source,
    Window,
    level_sources,
    memtable_blocks,
    objects,
    windows,
)
from kvengine.storage.names import Range, decode_object, service_range
from kvengine.storage.read import Piece
from kvengine.storage.resolved import Resolved
from kvengine.storage.row import has_values
from kvengine.store import StoredObject, StoredWorkflow

if TYPE_CHECKING:
    from kvengine.storage.moment import Moment

EVERYTHING: Range = (b"", names.END)

_NOTABLE = 32
"""A run of at least so many dead objects is remembered as a span."""
_MORE = 8
"""At least so many dead objects beside a span make it grow."""
_MOST_SPANS = 128
_MOST_COMMITS = 4096
"""A walk during which more objects than this are committed remembers nothing."""


def scan(
    moment: Moment, within: Range, *, reverse: bool = False, expected: int | None = None
) -> Iterator[Sequence[StoredObject]]:
    """Yield live objects in a range, in order, with all of their entries, a window at a time.

    ``expected``: at most so many are taken. A scan uses no dead spans: only listings jump over
    them.
    """
    form = _Form(moment.now, reverse, expected)
    first, keep = _expected(expected)
    for window in _windows(moment, within, first, reverse=reverse, keep=keep):
        yield form.window(window)
        if not form.left:
            return


def live_names(
    moment: Moment, within: Range, *, reverse: bool = False, expected: int | None = None
) -> Iterator[bytes]:
    """Yield names of live objects in a range, in order. ``expected``: at most so many are taken."""
    first, keep = _expected(expected)
    spans = moment.db.spans
    with Crossing(spans, moment, reverse) as crossing:
        parts = spans.around(within, moment)
        edge = within[reverse]
        for start, stop in reversed(parts) if reverse else parts:
            if edge != (stop if reverse else start):
                crossing.span(edge)
            for window in _windows(moment, (start, stop), first, reverse=reverse, keep=keep):
                for name, pieces in objects(window, reverse=reverse):
                    if _is_live(pieces, moment.now):
                        crossing.end(name)
                        yield name
                    else:
                        crossing.dead(name)
            edge = start if reverse else stop
        if edge != within[not reverse]:
            crossing.span(edge)
        crossing.end(within[not reverse])


def services(moment: Moment, start: bytes = b"") -> Iterator[str]:
    """Yield services with a live object, from an encoded object on. Each costs one seek."""
    while (name := next(live_names(moment, (start, names.END), expected=1), None)) is not None:
        service = decode_object(name)[0]
        yield service
        start = service_range(service)[1]


def workflows(
    moment: Moment, within: Range, completed: bool | None
) -> Iterator[Sequence[StoredWorkflow]]:
    """Yield live objects in a range, a window at a time. See `Reader.workflows`."""
    for window in _windows(moment, within, FIRST_WINDOW):
        out: list[StoredWorkflow] = []
        for name, pieces in objects(window, reverse=False):
            found = read.summary(pieces, moment.now)
            if found is None:
                continue
            done, end = found.completed_at, found.expires_at
            if completed is None or completed == (done is not None):
                completed_at = None if done is None else done / SECOND
                expires_at = None if end is None else end / SECOND
                service, key = decode_object(name)
                out.append(StoredWorkflow(service, key, found.version, completed_at, expires_at))
        yield out


def stored(service: str, key: str, found: Resolved, partial: bool = False) -> StoredObject:
    """Return the public form of a live object, with entries of its own."""
    at, ttls = found.expires_at, found.ttls
    expires_at = None if at is None else at / SECOND
    expiries = {name: end / SECOND for name, end in ttls.items()} if ttls else None
    done = found.completed_at
    completed_at = None if done is None else done / SECOND
    entries = found.entries.copy()
    return StoredObject(
        service, key, found.version, expires_at, entries, expiries, partial, completed_at
    )


def _expected(most: int | None) -> tuple[int, bool]:
    """Return how many names a walk takes from a memtable at first, and whether it keeps blocks."""
    if most is None:
        return FIRST_WINDOW, False
    return max(4, min(most, LARGEST_WINDOW)), most <= LARGEST_WINDOW


class Span(NamedTuple):
    """A range ``[start, stop)`` in which nothing is live as of a stamp and a time, or later."""

    start: bytes
    stop: bytes
    stamp: int
    now: int


class DeadSpans:
    """Ranges of encoded objects in which a walk found nothing live.

    Dead objects stay dead until a commit writes to them: cleared ones are gone, and one that
    expired reads as absent for good. So a span is valid until a commit writes into it, which
    splits it. It does not count for a snapshot of an earlier stamp or time. Spans are changed
    under the commit lock.
    """

    __slots__ = ("_spans", "_walks", "watching")

    def __init__(self) -> None:
        self._spans: list[Span] = []
        # Weak references, so that a walk left behind by an interrupt does not keep its snapshot.
        self._walks: dict[int, ref[Crossing]] = {}
        self.watching: bool = False
        """Whether commits must tell `touch` what they write, because there are walks or spans."""

    def begin(self, walk: Crossing) -> None:
        """Tell a walk of commits from now on. Call under the commit lock.

        Without the lock a commit could look at `watching` just before, and be written after.
        """
        walks, key = self._walks, id(walk)
        self.watching = True
        walks[key] = ref(walk, lambda _: walks.pop(key, None))

    def end(self, walk: Crossing) -> None:
        """Tell a walk of no more commits: it is over."""
        self._walks.pop(id(walk), None)

    def _each_walk(self) -> Iterator[Crossing]:
        return filter(None, [walk() for walk in list(self._walks.values())])

    def around(self, within: Range, moment: Moment) -> list[Range]:
        """Return the parts of a range in which objects may live at a moment, in order."""
        start, stop = within
        parts: list[Range] = []
        for span in self._spans:
            if span.stop <= start or span.stamp > moment.stamp or span.now > moment.now:
                continue
            if span.start >= stop:
                break
            if start < span.start:
                parts.append((start, span.start))
            start = span.stop
        if start < stop:
            parts.append((start, stop))
        return parts

    def touch(self, written: Sequence[bytes]) -> None:
        """Take objects that a commit writes out of all spans, before the commit is visible."""
        if not self._walks and not self._spans:
            self.watching = False
            return
        for walk in self._each_walk():
            walk.touch(written)
        for name in written:
            at = bisect_right(self._spans, name, key=_start) - 1
            if at < 0 or self._spans[at].stop <= name:
                continue
            span = self._spans[at]
            cut = (span._replace(stop=name), span._replace(start=names.after(name)))
            spans = self._spans.copy()
            spans[at : at + 1] = [part for part in cut if part.start < part.stop]
            self._spans = spans

    def add(self, start: bytes, stop: bytes, stamp: int, now: int) -> None:
        """Remember a span, joined with the spans that it touches."""
        kept: list[Span] = []
        for span in self._spans:
            if span.stop < start or stop < span.start:
                kept.append(span)
            else:
                start, stop = min(start, span.start), max(stop, span.stop)
                stamp, now = max(stamp, span.stamp), max(now, span.now)
        if len(kept) >= _MOST_SPANS:
            kept.clear()
        self._spans = sorted([*kept, Span(start, stop, stamp, now)])

    def clear(self) -> None:
        """Forget all spans, and let walks remember none, since it is not known what was written."""
        self._spans = []
        for walk in self._each_walk():
            walk.forget()


class Crossing:
    """The runs of dead objects that a walk crosses, each remembered as a span when it ends.

    A run goes on across known spans, and joins them: otherwise an object that came to life in a
    span and died again would leave the span split for good. A run into which a commit wrote
    meanwhile is not remembered: from its start to its end a walk is told what is written. A walk
    that was not told of every commit since its moment remembers nothing.
    """

    __slots__ = (
        "__weakref__",
        "_count",
        "_first",
        "_joined",
        "_moment",
        "_reverse",
        "_spans",
        "_touched",
    )

    def __init__(self, spans: DeadSpans, moment: Moment, reverse: bool) -> None:
        self._spans = spans
        self._moment = moment
        self._reverse = reverse
        self._count = self._joined = 0
        self._first = b""
        self._touched: list[bytes] | None = None

    def __enter__(self) -> Self:
        db = self._moment.db
        if not db.commit_lock.locked():  # checked first, since a walk may begin within a commit
            with db.commit_lock:
                if db.last_stamp == self._moment.stamp:
                    self._touched = []
                    self._spans.begin(self)
        return self

    def __exit__(self, *error: object) -> None:
        self._spans.end(self)

    def touch(self, written: Sequence[bytes]) -> None:
        """Note objects that a commit writes."""
        if self._touched is not None:
            self._touched += written
            if len(self._touched) > _MOST_COMMITS:
                self._touched = None

    def forget(self) -> None:
        """Remember nothing from now on."""
        self._touched = None

    def dead(self, name: bytes) -> None:
        """Note an object that does not live."""
        if not self._count and not self._joined:
            self._first = names.after(name) if self._reverse else name
        self._count += 1

    def span(self, edge: bytes) -> None:
        """Note a span that is jumped over, from ``edge`` on."""
        if not self._count and not self._joined:
            self._first = edge
        self._joined += 1

    def end(self, name: bytes) -> None:
        """End the run of dead objects, at a live object ``name`` or at the end of the range."""
        if not self._count and not self._joined:
            return
        notable = self._joined > 1 or self._count >= (_MORE if self._joined else _NOTABLE)
        self._count = self._joined = 0
        if not notable or self._touched is None:
            return
        moment = self._moment
        start, stop = self._first, name
        if self._reverse:
            start, stop = names.after(name), self._first
        lock = moment.db.commit_lock
        if not lock.locked():  # `acquire` without waiting would stay taken at an interrupt
            with lock:
                touched = self._touched
                if touched is None or moment.db.gone:
                    return
                if not any(start <= written < stop for written in touched):
                    self._spans.add(start, stop, moment.stamp, moment.now)


def _start(span: Span) -> bytes:
    return span.start


def _windows(
    moment: Moment, within: Range, first: int, *, reverse: bool = False, keep: bool = False
) -> Iterator[Window]:
    """Return the windows of a walk.

    ``first``: how many names are taken from a memtable at first. ``keep``: blocks stay in memory,
    as those of a get do. That is for a short walk, which may come again, and not for one over
    everything, which would evict all other blocks.
    """
    start, stop = within
    view, stamp = moment.view, moment.stamp
    memory = [
        Source(
            memtable_blocks(memtable, start, stop, stamp, reverse=reverse, window=first),
            memtable.tombstones(stamp),
        )
        for memtable in view.tables
        if memtable.states
    ]
    levels = view.version.levels
    sources = memory + list(level_sources(levels, start, stop, reverse=reverse, keep=keep))
    return windows(sources, start, stop, reverse=reverse)


def _is_live(pieces: list[Piece], now: int) -> bool:
    return has_values(pieces[0].row) or read.summary(pieces, now) is not None


class _Form:
    """Makes the public form of live objects, which come service by service.

    ``left``: how many more are wanted at most, None for all.
    """

    def __init__(self, now: int, reverse: bool, left: int | None) -> None:
        self._now = now
        self._reverse = reverse
        self.left = sys.maxsize if left is None else left
        self._service = ""
        self._prefix = names.END
        self._cut = 0

    def window(self, window: Window) -> list[StoredObject]:
        """Return the live objects of a window, as far as they are wanted."""
        out: list[StoredObject] = []
        if isinstance(window, Block):
            block = window
            low, high = block.low, block.high
            while low < high and len(out) < self.left:
                if self._reverse:
                    high -= 1
                    self._add(out, block, high)
                else:
                    self._add(out, block, low)
                    low += 1
        else:
            for place in window:
                if len(out) == self.left:
                    break
                if place.pieces is None:
                    self._add(out, place.block, place.at)
                else:
                    self._add_resolved(out, place.pieces)
        self.left -= len(out)
        return out

    def _add(self, out: list[StoredObject], block: Block, at: int) -> None:
        """Append object number ``at`` of a block to ``out``, if it lives."""
        found = block.values(at)
        if found is None:
            self._add_resolved(out, [block.piece(at)])
        elif found[1]:
            version, entries = found
            name = block.names[at]
            if not name.startswith(self._prefix):
                self._look(name)
            key = name[self._cut :].decode()
            out.append(StoredObject(self._service, key, version, None, entries))

    def _add_resolved(self, out: list[StoredObject], pieces: list[Piece]) -> None:
        """Append the object that pieces make to ``out``, if it lives."""
        found = read.resolved(pieces)
        live = found.at(self._now) if found is not None else None
        if live is not None:
            name = pieces[0].name
            self._look(name)
            out.append(stored(self._service, name[self._cut :].decode(), live))

    def _look(self, name: bytes) -> None:
        if not name.startswith(self._prefix):
            self._service = decode_object(name)[0]
            self._prefix = service_range(self._service)[0]
            self._cut = len(self._prefix)
