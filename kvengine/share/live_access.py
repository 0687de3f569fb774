"""Whether the owner of a directory serves other processes."""

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
    """Serve ``store`` to other processes, if its options say so; return the server, or None.

    ``reclaiming``: who had objects in sessions under the owner before.

    If the socket cannot be made, the database works without it, and ``db.live_access``, the log and
    `stats` say why. The socket is made in the directory that the owner holds, wherever its path
    leads by now.
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
