"""Feeds: commits as they become visible, for those who watch. Bounded; no writer waits for one.

A feed is told of a commit just before it becomes visible, under the commit lock, so that an
interrupt loses none: an interrupted commit is published again, and reported again. So a change may
come twice, and it never fails to come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from kvengine.errors import DatabaseClosed
from kvengine.storage.database import Database
from kvengine.storage.names import Range, after, check_name, encode_object, prefix_range
from kvengine.storage.state import Commit
from kvengine.store import Change

MOST = 10_000
"""Changes that a feed keeps for a reader who does not take them."""


class Queue:
    """Changes that were not taken yet, in order. Bounded: a reader who is too slow gets a gap.

    It is filled by one thread at a time; any number of threads take from it. An interrupt may let a
    change come twice, and never loses one.
    """

    def __init__(self, service: str, key: str | None, ring: Callable[[], object]) -> None:
        """``key``: of the one object that is watched, if it is one.

        ``ring`` is called, in any thread, when there may be something to take, or nothing will
        come any more.
        """
        self._service, self._key = service, key
        self.ring = ring
        self._changes: deque[Change] = deque()
        self.is_over: bool = False

    def put(self, change: Change) -> None:
        """Add a change. If there are too many, drop all and tell of a gap."""
        if len(self._changes) < MOST:
            self._changes.append(change)
        else:  # in one step, so that an interrupt drops nothing without a gap
            self._changes = deque((Change(self._service, self._key, change.stamp, gap=True),))

    def take(self) -> Change | None:
        """Return the next change, None if there is none at the moment.

        Raise DatabaseClosed once the queue has ended and is empty, and what a commit would raise if
        nothing more can come.
        """
        while True:
            try:
                change = self._changes[0]
                self._await_visible(change)
                self._remove(change)
                return change
            except IndexError:
                if self.is_over:
                    raise DatabaseClosed("this watch is closed, or its database is") from None
                self._check_alive()
                return None
            except ValueError:  # another thread took it, or a gap has replaced it
                continue

    def _await_visible(self, change: Change) -> None:
        """Wait until the commit of a change is visible."""

    def _check_alive(self) -> None:
        """Raise why nothing more can come."""

    def _remove(self, change: Change) -> None:
        """Remove the first change. Raise ValueError if it is gone: another thread has taken it."""
        try:
            self._changes.remove(change)
        except ValueError:
            raise
        except BaseException:  # an interrupt, before it or after: rather twice than never
            self.give_back(change)
            raise

    def give_back(self, change: Change) -> None:
        """Let a change that was taken come again, as the next one."""
        self._changes.appendleft(change)

    def is_idle(self) -> bool:
        """Return whether there is nothing to take yet."""
        return not (self._changes or self.is_over)

    def end(self) -> None:
        """Let nothing more come. May be called in any thread, and again."""
        self.is_over = True
        self.ring()

    def forget(self) -> None:
        """Drop untaken changes. Called in a forked child, which must not use the database."""
        self._changes.clear()


class Feed(Queue):
    """The changes to the objects of one service, within a range, that were not taken yet."""

    def __init__(
        self, db: Database, service: str, key: str | None, within: Range, ring: Callable[[], object]
    ) -> None:
        """``key``: of the one object that is watched, if it is one. ``within``: what is watched.

        ``ring`` is called under the commit lock too.
        """
        super().__init__(service, key, ring)
        self._db = db
        self._within = within

    def note(self, commit: Commit) -> None:
        """Note what a commit changes. Call under the commit lock."""
        low, high = self._within
        # Each object once: a batch may clear a range and set an object in it.
        found: dict[str | None, Change] = {}
        for change in commit.changes:
            service, key = change.name
            if service == self._service and low <= encode_object(service, key) < high:
                found[key] = Change(service, key, commit.stamp)
        if commit.marks is not None:
            for start, stop, stamp in commit.marks.tombstones:
                if stamp == commit.stamp and start < high and low < stop:
                    found[self._key] = Change(self._service, self._key, stamp)
        for told in found.values():
            self.put(told)
        if self._changes:
            self.ring()

    def _await_visible(self, change: Change) -> None:
        db = self._db
        if change.stamp > db.published:
            db.refuse_nested()
            with db.commit_lock:  # until its commit, of which it was told, is visible
                pass

    def _check_alive(self) -> None:
        self._db.check_writable()

    def is_idle(self) -> bool:
        return super().is_idle() and not self._db.failed


def watched(service: str, key: str | None, prefix: str) -> Range:
    """Return the objects that a watch covers. Raise TypeError or ValueError for bad arguments."""
    within = prefix_range(check_name("service", service), check_name("prefix", prefix))
    if key is None:
        return within
    if prefix:
        raise ValueError("watch takes a key or prefix=, not both")
    name = encode_object(service, check_name("key", key))
    return name, after(name)


def begin(
    db: Database, service: str, key: str | None, prefix: str, ring: Callable[[], object]
) -> Feed:
    """Return a feed of one object, or of those of a service, which is told from now on."""
    within = watched(service, key, prefix)
    db.refuse_nested()
    feed = Feed(db, service, key, within, ring)
    with db.commit_lock:
        db.check_writable()
        db.feeds = (*_alive(db.feeds), feed)
    return feed


def tell(db: Database, commit: Commit) -> None:
    """Report a commit to all feeds. Remove feeds that have ended. Call under the commit lock."""
    db.feeds = _alive(db.feeds)
    for feed in db.feeds:
        feed.note(commit)


def _alive(feeds: tuple[Feed, ...]) -> tuple[Feed, ...]:
    return tuple(feed for feed in feeds if not feed.is_over)
