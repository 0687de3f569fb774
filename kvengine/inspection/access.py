"""Access: how a tool gets at a database: a directory, whoever owns it, or a PostgreSQL URL.

To a directory:

1. An owner that serves its socket: everything goes through it (kvengine/share), reads and edits.
2. No owner: to read, the files are opened beside whoever may come; to write, the directory is
   opened and owned for as long as the access lasts.
3. An owner without a socket: reads as in 2; edits are refused, for nobody edits behind its back.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from kvengine.closing import Closing
from kvengine.errors import DatabaseLocked
from kvengine.fs.base import READ_ONLY
from kvengine.passwords import without_passwords
from kvengine.postgres.address import is_postgres
from kvengine.real_time import monotonic
from kvengine.share.opening import reach as reach_owner
from kvengine.share.owner import OwnerSilent
from kvengine.share.store import SharedStore

if TYPE_CHECKING:  # the engine is imported where no owner answers
    from kvengine.engine import Engine
    from kvengine.postgres.store import PostgresStore

_PAUSE = 0.05


def reach(
    address: str,
    *,
    write: bool = False,
    create: bool = False,
    serves: bool = False,
    or_read: bool = False,
) -> AnyAccess:
    """Return the access to a database: to the directory or the PostgreSQL URL that is named.

    ``create``: make the database if there is none. The others are those of `Access`. Raise what
    `Access` raises, or what `kvengine.connect` raises.
    """
    if is_postgres(address):
        return ServerAccess(address, create=create)
    if create and not os.path.exists(os.path.join(address, "CURRENT")):
        import kvengine

        kvengine.open(address, background="none").close()
    return Access(address, write=write, serves=serves, or_read=or_read)


class ServerAccess(Closing):
    """An open way to a PostgreSQL database; what `Access` is to a directory.

    ``path``: the URL without its password. ``mode`` is "server".
    """

    mode: str = "server"
    writable: bool = True

    def __init__(self, url: str, *, create: bool = False) -> None:
        """``create``: make the schema if there is none. Raises what `kvengine.connect` raises."""
        import kvengine

        self.path: str = without_passwords(url)
        store: Any = kvengine.connect(url, create=create)
        self.store: PostgresStore = store

    def refresh(self) -> None:
        """Do nothing: each read asks the server, and a server that failed is found again."""

    def close(self) -> None:
        """Let go of the connections. May be called again."""
        self.store.close()


class Access(Closing):
    """An open way to a directory. ``mode``: "live" (through the owner), "own", "files" (read-only).

    A context manager. ``store`` has every verb of a Store, and ``estimate``, ``segments`` and
    ``stats``; it may be another one after `refresh`.
    """

    def __init__(
        self,
        path: str,
        *,
        write: bool = False,
        wait: float = 3.0,
        serves: bool = False,
        or_read: bool = False,
    ) -> None:
        """``write``: edits are wanted. ``wait``: seconds to wait for an owner that is not ready.

        ``serves``: where this becomes the owner, other tools reach it in turn. ``or_read``: read
        the files where they cannot be written, as on a read-only mount.

        DatabaseLocked where another process owns the directory and serves no socket, and
        edits are wanted; NotADatabase, CorruptionError, OSError as `kvengine.open`.
        """
        self.path = path
        self.write = write
        self._serves = serves
        self._or_read = or_read
        self.mode: str = ""
        self.store: Engine | SharedStore = self._open(wait, write)

    @property
    def writable(self) -> bool:
        """Whether edits go through here."""
        return self.mode != "files"

    def refresh(self) -> None:
        """See what is there now: follow an owner by its files, or find one that has come since.

        Where the owner has ended, the files are read until there is another: the directory
        is left to the application that comes back. Raises what opening them raises, and may
        be called again.
        """
        if self.mode == "live" and isinstance(self.store, SharedStore) and not self.store.has_owner:
            found = self._open(0.5, False)
            self.store.close()
            self.store = found
        elif self.mode == "files":
            live = self._connect()
            if live is None:
                self.store.refresh()
                return
            before, self.store, self.mode = self.store, live, "live"
            before.close()

    def _open(self, wait: float, write: bool) -> Engine | SharedStore:
        until = monotonic() + wait
        while True:
            live = self._connect()
            if live is not None:
                self.mode = "live"
                return live
            import kvengine

            store: Engine
            if not write:
                store = kvengine.open(self.path, read_only=True, create=False)
                self.mode = "files"
                return store
            try:
                store = kvengine.open(self.path, create=False, live_access=self._serves)
                self.mode = "own"
                return store
            except DatabaseLocked:
                # It may be about to serve its socket, or be another tool that is soon done.
                if monotonic() >= until:
                    raise
                time.sleep(_PAUSE)
            except OSError as error:
                if not (self._or_read and error.errno in READ_ONLY):
                    raise
                write = False

    def _connect(self) -> SharedStore | None:
        try:
            return reach_owner(self.path)
        except OwnerSilent:
            if self.write:
                raise
            return None  # its files can be read all the same

    def close(self) -> None:
        self.store.close()


AnyAccess = Access | ServerAccess
"""What `reach` returns. Their stores have every verb of a Store, and ``estimate``."""
