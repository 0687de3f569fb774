"""Rotation: a full memtable is frozen with its WAL, and new ones take over.

Steps, and what a crash after each leaves:

1. Make the new WAL file, durable in the directory: an unknown, empty file. If there is no
   descriptor, memory or space for it, it is removed, and the step is tried again later.
2. State it in the manifest: an empty WAL that recovery expects and finds.
3. Under the sync and commit locks: seal the old WAL (cut to its end, synced),
   publish what waited for that, write the new header, which proves the old
   file's length, and replace the view. Either file may be the last with commits.
"""

from __future__ import annotations

import errno

from kvengine.storage.commit import Committer
from kvengine.storage.database import Database
from kvengine.storage.memtable import Memtable
from kvengine.storage.version import View
from kvengine.storage.wal.file import WalWriter

_LACKING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT)


def rotate(db: Database, committer: Committer) -> bool:
    """Freeze the active memtable. Return False if it is empty, or nothing may be written.

    It must never run where a signal may interrupt it. Any error but a lack of means in step 1
    stops writes until reopen.
    Raise OwnerLost if the directory is no longer ours, even if there is nothing to freeze.
    """
    with db.install_lock:
        if db.wal is None or db.manifest is None or db.failed is not None or db.gone:
            return False
        db.check_owner()
        if not db.view.active.states and not db.pending:
            return False
        try:
            number = db.allocate_number()
            fresh = WalWriter(db.fs, db.directory, number, db.catalog.database_id, db.catalog.epoch)
        except BaseException as error:
            if not isinstance(error, OSError) or error.errno not in _LACKING:
                db.fail(error)
            raise
        try:
            edit = db.edit(wals_added=[number])
            db.manifest.append(edit)
            db.catalog.apply(edit)
            _swap(db, committer, db.wal, fresh)
        except BaseException as error:
            db.fail(error)
            raise
        return True


def _swap(db: Database, committer: Committer, old: WalWriter, fresh: WalWriter) -> None:
    committer.sync()  # most of it, before commits must wait
    with db.sync_lock, db.commit_lock:
        committer.finish_interrupted()
        if db.failed is not None:  # it failed meanwhile; a failed sync is never tried again
            db.check_writable()
        try:
            end = old.seal()
            committer.publish_synced(old)
            fresh.begin(old.number, end)
            db.catalog.wal_ends[old.number] = end
            view = db.view
            db.view = View(Memtable(fresh.number), (view.active, *view.frozen), view.version)
            db.wal = fresh
        except BaseException as error:
            db.fail(error)  # before others get the locks: a second sync could hide the loss
            raise
    db.counters.wal_bytes += end
    old.close()
