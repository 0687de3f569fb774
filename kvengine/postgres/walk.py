"""Walks: what a range of objects holds, fetched window by window."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, Self, TypeVar

from kvengine.arguments import check_completed
from kvengine.errors import KVEngineError
from kvengine.postgres.reads import Bound, Range, Reads, Window, range_of
from kvengine.postgres.scripts import Script
from kvengine.storage.names import check_name
from kvengine.store import StoredObject, StoredWorkflow

T = TypeVar("T")

_FIRST_WINDOW = 100
_LONGEST_WINDOW = 1_000
_OBJECTS = 50
"""Items that a walk fetches at a time: who takes a few pays for a few; objects may be large."""


class Moment(Protocol):
    """The snapshot that a walk is of."""

    def end(self) -> None: ...


class Course(Generic[T]):
    """Where a walk is, and how it goes on: the part of it that knows no connection.

    ``window``: the script that fetches the first items of a range. ``name_of``: of an item, as the
    server has it. ``show``: what is given of an item; None leaves it out. ``limit``: how many items
    to ask for, None for all; ``most``: at a time.
    """

    def __init__(
        self,
        window: Callable[[Reads, Range, bool, int], Script[Window[T]]],
        name_of: Callable[[T], Bound],
        within: Range,
        *,
        show: Callable[[T], Any],
        reverse: bool = False,
        limit: int | None = None,
        most: int = _LONGEST_WINDOW,
    ) -> None:
        self._window = window
        self._name_of = name_of
        self._within = within
        self._show = show
        self._reverse = reverse
        self._limit = limit
        self._most = most
        self.is_over: bool = False
        self.moment: Moment | None = None
        """What is closed with the walk, if anything: the snapshot that it is of."""
        self.start()

    def start(self) -> None:
        """Begin at the beginning."""
        self._rest = self._within
        self._left = self._limit
        self._size = min(_FIRST_WINDOW, self._most)
        self.is_over = self._limit == 0

    def close(self) -> None:
        """End the walk. May be called again."""
        self.is_over = True
        moment, self.moment = self.moment, None
        if moment is not None:
            moment.end()

    def started(self, reads: Reads) -> Script[list[Any]]:
        """Begin at the beginning, and return the first items."""
        self.start()
        return (yield from self.following(reads))

    def following(self, reads: Reads) -> Script[list[Any]]:
        """Return the next items, and set `is_over` if they are the last."""
        if self.is_over:
            return []
        size = self._size if self._left is None else min(self._size, self._left)
        items, is_last = yield from self._window(reads, self._rest, self._reverse, size)
        if self._left is not None:
            self._left -= len(items)
        if is_last or self._left == 0:
            self.is_over = True
        else:
            service, key = self._name_of(items[-1])
            if self._reverse:
                self._rest = Range(self._rest.low, (service, key))
            else:
                self._rest = Range((service, key + b"\0"), self._rest.high)
            self._size = min(4 * self._size, self._most)
        shown = (self._show(item) for item in items)
        return [item for item in shown if item is not None]


class WalkingReads(Reads):
    """The read verbs as scripts; those that walk give a course."""

    def object_keys(
        self,
        service: str,
        *,
        prefix: str = "",
        start: str | None = None,
        stop: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Course[Bound]:
        within = range_of(check_name("service", service), prefix, start, stop, reverse, limit)
        window = Reads.keys_window
        return Course(window, _itself, within, show=_key_of, reverse=reverse, limit=limit)

    def scan(
        self,
        service: str | None = None,
        *,
        prefix: str = "",
        start: str | None = None,
        stop: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Course[StoredObject]:
        within = range_of(service, prefix, start, stop, reverse, limit)
        return Course(
            Reads.objects_window,
            _name_of,
            within,
            show=_itself,
            reverse=reverse,
            limit=limit,
            most=_OBJECTS,
        )

    def workflows(self, service: str, completed: bool | None = None) -> Course[StoredWorkflow]:
        within = range_of(check_name("service", service), "", None, None, False, None)
        check_completed(completed)

        def show(found: StoredWorkflow) -> StoredWorkflow | None:
            wanted = completed is None or completed == (found.completed_at is not None)
            return found if wanted else None

        return Course(Reads.workflows_window, _name_of, within, show=show)


def _itself(item: T) -> T:
    return item


def _key_of(name: Bound) -> str:
    return name[1].decode()


def _name_of(item: StoredObject | StoredWorkflow) -> Bound:
    return item.service.encode(), item.key.encode()


class Walk:
    """What a walk finds, one by one; closed at its end, or when it is dropped.

    Threads may share one: each item goes to one of them. If a fetch fails the walk is over, and
    whoever asks for more is told why.
    """

    def __init__(
        self, course: Course[Any], fetch: Callable[[], list[Any]], items: Iterable[Any] = ()
    ) -> None:
        """``fetch``: returns the items that follow; ``items``: those that were fetched already."""
        self._course = course
        self._fetch = fetch
        self._items = deque(items)
        self._lock = threading.RLock()
        self._broken = ""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        with self._lock:
            while not self._items:
                if self._broken:
                    raise KVEngineError(self._broken)
                if self._course.is_over:
                    self.close()
                    raise StopIteration
                try:
                    self._items.extend(self._fetch())
                except BaseException as error:
                    self._broken = f"this walk ended early: {type(error).__name__}: {error}"
                    self.close()
                    raise
            return self._items.popleft()

    def close(self) -> None:
        """End the walk. May be called again."""
        self._items.clear()
        self._course.close()

    def __del__(self) -> None:
        self.close()
