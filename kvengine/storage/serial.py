"""One commit at a time: what a commit does under the commit lock.

Beside this stands a compiled twin. A `with` finds the methods of a lock by their names each time,
and a lock that is taken by calling them would stay taken at an interrupt; in C there is none.
"""

from __future__ import annotations

from collections.abc import Sequence

from kvengine.storage.batch import Operation
from kvengine.storage.database import Database
from kvengine.storage.held import Expected
from kvengine.storage.state import Change, Commit
from kvengine.storage.tokens import Once


class Serial:
    """What logs the commits of one database, one at a time."""

    _db: Database

    def _log_alone(
        self,
        changes: list[Change],
        operations: Sequence[Operation],
        expect: Expected | None,
        synced: bool,
        once: Once | None,
    ) -> Commit | None:
        """Do `_log` under the commit lock."""
        with self._db.commit_lock:
            return self._log(changes, operations, expect, synced, once)

    def _log(
        self,
        changes: list[Change],
        operations: Sequence[Operation],
        expect: Expected | None,
        synced: bool,
        once: Once | None,
    ) -> Commit | None:
        raise NotImplementedError
