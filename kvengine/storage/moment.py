"""One moment to read, held open: layers, stamp and now."""

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
    that its version names live. One that is forgotten is closed when collected.
    """

    def __init__(self, db: Database, view: View, stamp: int, now: int) -> None:
        self.db = db
        self.view = view
        self.stamp = stamp
        self.now = now
        self.token = db.snapshots.token()
        """Not zero while the moment is open."""
        db.snapshots.open(self.token, stamp, view.version.files)

    def check_open(self) -> None:
        """DatabaseClosed (or ForkedError) where the moment may no longer be read."""
        self.db.view.check_open()
        if not self.token:
            raise DatabaseClosed(_CLOSED)

    def close(self) -> bool:
        """Let go of states and files, whoever keeps this. False where it was closed before."""
        token = self.token
        if token:
            self.db.snapshots.close(token)
            self.token = 0
            self.view = _NO_VIEW
        return token != 0

    def __del__(self) -> None:
        token = getattr(self, "token", 0)
        if token:
            self.db.snapshots.close(token)


def open_moment(db: Database) -> Moment:
    """A moment to read, under the commit lock, so that no commit falls between its parts. O(1)."""
    db.refuse_nested()
    with db.commit_lock:
        view = db.view
        view.check_open()
        return Moment(db, view, db.published, db.clock.now())
