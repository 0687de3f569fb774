"""Whether and how the owner of a directory is reached by other processes."""

from __future__ import annotations

import logging
import weakref

from kvengine.fs.directory import Descriptor, Directory
from kvengine.share.holdings import Reclaiming
from kvengine.share.server import Server
from kvengine.share.verbs import Served
from kvengine.storage.database import Database

log: logging.Logger = logging.getLogger("kvengine")


def serve(store: Served, db: Database, reclaiming: Reclaiming | None = None) -> Server | None:
    """Serve ``store`` as its options say, until the server is stopped.

    ``reclaiming``: who had objects in sessions under the owner before.

    None where live access is off. Where the socket cannot be made the database works as without it:
    ``db.live_access`` says why, and so do the log and `stats`. The socket is made in the directory
    that the owner holds, wherever its path leads by now.
    """
    options = db.options
    wanted = options.live_access
    if wanted is None:
        wanted = options.background != "none"
    place = db.fs.anchor if isinstance(db.fs, Directory) and db.fs.local else None
    if not wanted or not isinstance(place, Descriptor):
        return None
    try:
        server = Server(
            db.directory, place.fileno(), weakref.ref(store), db.catalog.epoch, reclaiming
        )
    except (OSError, RuntimeError) as error:  # RuntimeError: no more threads
        db.live_access = f"failed: {error}"
        log.warning("%s: live access is off: %s", db.directory, error)
        return None
    db.live_access = "on"
    return server
