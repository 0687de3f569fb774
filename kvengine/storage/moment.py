"""A moment: layers, stamp and now, for reads that must agree with each other."""

from __future__ import annotations

from typing import Final, cast

from kvengine.errors import DatabaseClosed
from kvengine.storage.database import Database, Gone
from kvengine.storage.version import View

_CLOSED: Final = "this snapshot is closed"
_NO_VIEW: Final = cast(View, Gone(DatabaseClosed, _CLOSED))


class Moment:
    """The layers, the last published stamp and now, taken in this order.

    While it is open, commits keep the states that it sees linked, and the files
    that its version names are kept. A moment that nobody closes is closed when it is
    collected.
    """

    def __init__(self, db: Database, view: View, stamp: int, now: int) -> None:
        self.db = db
        self._engine = db.owner()
        self.view: View = view
        self.stamp = stamp
        self.now = now
        self.token: int = db.snapshots.token()
        """Not zero while the moment is open."""
        db.snapshots.open(self.token, stamp, view.version.files)

    def check_open(self) -> None:
        """Raise DatabaseClosed (or ForkedError) if the moment may no longer be read."""
        self.db.view.check_open()
        if not self.token:
            raise DatabaseClosed(_CLOSED)

    def close(self) -> bool:
        """Release states and files. Return False if the moment was closed before."""
        token = self.token
        if token:
            self.db.snapshots.close(token)
            self.token = 0
            self.view = _NO_VIEW
            self._engine = None
        return token != 0

    def __del__(self) -> None:
        token = getattr(self, "token", 0)
        if token:
            self.db.snapshots.close(token)


def open_moment(db: Database) -> Moment:
    """Return a moment to read. Costs O(1).

    It is taken under the commit lock, so that no commit comes between its parts.
    """
    db.refuse_nested()
    with db.commit_lock:
        view = db.view
        view.check_open()
        return Moment(db, view, db.published, db.clock.now())
