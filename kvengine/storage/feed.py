"""Feeds: commits as they become visible, for those who watch. Bounded; no writer waits for one.

A feed is told of a commit just before it becomes visible, under the commit lock, so that an
interrupt loses none: what was broken off is published anew, and then told again. So a change may
come twice, and it never fails to come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from kvengine.storage.database import Database
from kvengine.storage.names import Range, after, check_name, encode_object, prefix_range
from kvengine.storage.state import Commit
from kvengine.store import Change

MOST = 10_000
"""Changes that a feed keeps for a reader who does not take them."""


class Feed:
    """The changes to the objects of one service, within a range, that were not taken yet."""

    def __init__(
        self, db: Database, service: str, key: str | None, within: Range, ring: Callable[[], object]
    ) -> None:
        """``key``: of the one object that is watched, if it is one. ``within``: what is watched.

        ``ring`` is called, in any thread and under the commit lock, when there may be something to
        take, or nothing will come any more.
        """
        self._db = db
        self._service, self._key, self._within = service, key, within
        self.ring = ring
        self._changes: deque[Change] = deque()
        self.is_over = False

    def note(self, commit: Commit) -> None:
        """Note what a commit changes. Call under the commit lock."""
        low, high = self._within
        for change in commit.changes:
            service, key = change.name
            if service == self._service and low <= encode_object(service, key) < high:
                self._put(Change(service, key, commit.stamp))
        if commit.marks is not None:
            for start, stop, stamp in commit.marks.tombstones:
                if stamp == commit.stamp and start < high and low < stop:
                    self._put(Change(self._service, self._key, stamp))
        if self._changes:
            self.ring()

    def _put(self, change: Change) -> None:
        if len(self._changes) >= MOST:
            self._changes.clear()
            change = Change(self._service, self._key, change.stamp, gap=True)
        self._changes.append(change)

    def take(self) -> Change | None:
        """Return the next change, which is visible by now, None if there is none at the moment.

        Raise what the database raises that cannot commit any more, unless the feed was ended.
        """
        try:
            change = self._changes.popleft()
        except IndexError:
            if not self.is_over:
                self._db.check_writable()
            return None
        if change.stamp > self._db.published:
            with self._db.commit_lock:  # until its commit, of which it was told, is visible
                pass
        return change

    def is_idle(self) -> bool:
        """Return whether there is nothing to take yet."""
        return not (self._changes or self.is_over or self._db.failed)

    def end(self) -> None:
        """Let nothing more come. May be called in any thread, and again."""
        self.is_over = True
        self.ring()


def begin(
    db: Database, service: str, key: str | None, prefix: str, ring: Callable[[], object]
) -> Feed:
    """Return a feed of one object, or of those of a service, which is told from now on."""
    within = prefix_range(check_name("service", service), check_name("prefix", prefix))
    if key is not None:
        if prefix:
            raise ValueError("watch takes a key or prefix=, not both")
        name = encode_object(service, check_name("key", key))
        within = (name, after(name))
    db.check_writable()
    db.refuse_nested()
    feed = Feed(db, service, key, within, ring)
    with db.commit_lock:
        db.feeds = (*db.feeds, feed)
    return feed


def tell(db: Database, commit: Commit) -> None:
    """Tell all feeds of a commit, and forget those that are over. Call under the commit lock."""
    for feed in db.feeds:
        if feed.is_over:
            db.feeds = tuple(one for one in db.feeds if not one.is_over)
        else:
            feed.note(commit)
