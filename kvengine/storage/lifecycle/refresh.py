"""Refresh: a reader beside the owner follows what the owner has committed since.

Steps: (1) read what follows the part of the last WAL that is known: commits are
published one by one, as the owner published them; (2) where the set of files has
changed, recover again, without opening known segments again, and replace the view.
Reads that have begun, snapshots and iterators keep their moment.
"""

from __future__ import annotations

from kvengine.errors import CorruptionError
from kvengine.storage.database import Database
from kvengine.storage.lifecycle.recover import Recovery, recover_beside, stage_of_life
from kvengine.storage.times import retention_time
from kvengine.storage.version import View
from kvengine.storage.wal import file as wal


def refresh(db: Database) -> bool:
    """Show what the directory holds now. Return whether anything has changed.

    Raise CorruptionError or OSError if that cannot be read. Then nothing changes here.
    """
    db.view.check_open()
    db.refuse_inside_work()
    with db.install_lock:
        before = db.published
        life = stage_of_life(db.fs, db.directory)
        if life == db.life and _follow_wal(db):
            return db.published != before
        known = {segment.meta.number: segment for segment in db.view.version}
        _replace(db, recover_beside(db.fs, db.directory, db.frames, known))
        return db.published != before or life != db.life


def _follow_wal(db: Database) -> bool:
    """Publish new commits of the last WAL. Return False if more than that has changed."""
    number = max(db.catalog.wals, default=0)
    if not number:
        return False
    at = db.catalog.wal_ends.get(number, 0)
    try:
        commits, end = wal.read_on(db.fs, db.directory, number, db.catalog.database_id, at)
    except (CorruptionError, FileNotFoundError):
        return False  # recovery finds out whether it is damage or a change by the owner
    if not commits:
        return True
    memtable = db.view.frozen[0] if db.view.frozen else None
    if memtable is None or memtable.wal != number:
        return False
    for commit in commits:
        changes, marks = memtable.prepare_logged(commit)
        with db.commit_lock:
            db.memo.clear()
            db.spans.clear()
            memtable.publish(changes, marks, db.snapshots.newest, db.snapshots.oldest)
            db.published = db.last_stamp = commit.stamp
            if commit.token:
                db.tokens.note(commit.token, commit.stamp)
            db.memo.clear()  # again, since a read may have put what it found in between
    db.catalog.wal_ends[number] = end
    return True


def _replace(db: Database, found: Recovery) -> None:
    """Replace view and catalog by what was found: step 2."""
    frozen = tuple(reversed(found.memtables))
    for service, stated in db.options.retention.items():  # as at open
        found.catalog.retention.setdefault(service, retention_time(stated))
    with db.commit_lock:
        db.view.check_open()
        db.memo.clear()
        db.spans.clear()
        kept = set(found.version)
        gone = [segment for segment in db.view.version if segment not in kept]
        db.view = View(db.view.active, frozen, found.version)
        db.catalog = found.catalog
        db.tokens = found.tokens
        db.published = db.last_stamp = max(db.published, found.last_stamp)
        db.recovery = tuple(found.report)
        db.life = found.life
    for segment in gone:
        db.frames.forget(segment)
