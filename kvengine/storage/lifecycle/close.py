"""Close: prove the whole log, say so in the manifest, and let go of everything."""

from __future__ import annotations

from contextlib import ExitStack

from kvengine.errors import DatabaseClosed, ForkedError, OwnerLost
from kvengine.storage.commit import Committer
from kvengine.storage.database import Database


def close(db: Database, committer: Committer) -> None:
    """Make every commit durable and close the files. May be called again.

    Steps: (1) sync the log and publish what waited; (2) state its end in the
    manifest: after that no byte of it can pass for a torn tail; (3) close the
    files; (4) release the locks, last. A crash before (2) leaves what kill -9 would.

    Raise OSError if the log cannot be synced; the files are closed all the same. Raise
    OwnerLost, after all of these steps, if the directory is no longer ours: steps (1) and (2)
    write to open files, of which a successor in the same directory reads only what it found
    at its open.
    """
    try:
        if not db.gone:
            _seal(db, committer)
            db.check_owner()
    finally:
        _disappear(db)
        with ExitStack() as last_first:
            if db.lock is not None:
                last_first.callback(db.lock.release)
            for file in (db.manifest, db.wal):
                if file is not None:
                    last_first.callback(file.close)


def _seal(db: Database, committer: Committer) -> None:
    """Do steps 1 and 2, unless writes have stopped after an I/O error."""
    if db.wal is None or db.manifest is None:
        return
    with db.install_lock, db.sync_lock, db.commit_lock:
        try:
            committer.finish_interrupted()
            if db.failed is not None and not isinstance(db.failed, OwnerLost):
                return
            end = db.wal.seal()
            committer.publish_synced(db.wal)
            db.manifest.append(db.edit(wal_ends={db.wal.number: end}))
        except OSError as error:
            db.fail(error)
            raise
        finally:
            # Before the locks are released, so that no commit is appended behind the end, or
            # syncs what is lost.
            _disappear(db)


def _disappear(db: Database) -> None:
    for feed in db.feeds:  # first, so that no watch is told of an error instead of the end
        feed.end()
    db.disappear(DatabaseClosed, f"{db.directory} is closed")


def forked(db: Database) -> None:
    """Let a forked child refuse every use, and leave all that is the parent's alone.

    Locks that other threads of the parent had taken at the fork stay locked here for
    ever. So the child gets locks of its own, and raises an error instead of waiting.
    """
    db.disappear(
        ForkedError,
        f"{db.directory} was opened before fork(); open it in one process only",
    )
    for feed in db.feeds:
        feed.forget()
    db.stalled = ""
    db.renew_locks()
    if db.lock is not None:
        db.lock.release()
