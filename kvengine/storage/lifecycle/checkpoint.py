"""Checkpoint: a consistent copy that opens as a database, taken while writes go on.

Steps, all into a temporary directory: (1) rotate, so that every commit returned
so far lies in sealed files; (2) under the install lock, so that no file is removed
meanwhile, link (or copy, across file systems) segments and sealed WALs; (3) write
a manifest and CURRENT; (4) sync the directory and rename it to its final name.
A crash before (4) leaves a directory that is no checkpoint and can be removed;
an error removes it. Its name cannot be foreseen, so that nobody who may write beside it
can put a link there that leads elsewhere.
"""

from __future__ import annotations

import errno
import secrets
from contextlib import suppress

from kvengine.errors import KVEngineError
from kvengine.fs.base import FileSystem
from kvengine.storage import filenames
from kvengine.storage.commit import Committer
from kvengine.storage.database import Database
from kvengine.storage.lifecycle.rotate import rotate
from kvengine.storage.manifest.file import Catalog, ManifestWriter

_PIECE = 1024 * 1024


def checkpoint(db: Database, committer: Committer, path: str) -> None:
    """Copy the database as of now to ``path``, which must be absent or an empty directory.

    It rotates, so it must never run where a signal may interrupt it. Raise KVEngineError if
    ``path`` exists otherwise, OwnerLost if the directory is no longer ours.
    """
    fs = db.fs
    if fs.exists(path) and (not fs.isdir(path) or fs.listdir(path)):
        raise KVEngineError(f"{path} exists and is not an empty directory")
    db.check_writable()
    aside = f"{path}.tmp-{secrets.token_hex(8)}"
    try:
        fs.makedirs(aside)
        _fill(db, committer, aside)
        if fs.exists(path):
            fs.rmdir(path)
        fs.rename(aside, path)
    except BaseException:
        with suppress(OSError):
            _remove(fs, aside)
        raise
    fs.sync_dir(path.rpartition("/")[0] or "/")


def _fill(db: Database, committer: Committer, aside: str) -> None:
    """Do steps 1 to 3, and the sync of step 4."""
    fs = db.fs
    with db.install_lock:
        rotate(db, committer)
        db.check_writable()
        sealed = [number for number in db.catalog.wals if number in db.catalog.wal_ends]
        catalog = Catalog(
            db.catalog.database_id,
            db.catalog.shape,
            dict(db.catalog.segments),
            sealed,
            {number: db.catalog.wal_ends[number] for number in sealed},
            db.catalog.next_number + 1,
            db.last_stamp,
            db.clock.now(),
            db.edit().trusted,
            dict(db.catalog.retention),
            db.catalog.epoch,
        )
        files = [filenames.segment(number) for number in catalog.segments]
        files += [filenames.wal(number) for number in sealed]
        for name in files:
            _link(fs, filenames.join(db.directory, name), filenames.join(aside, name))
    ManifestWriter(fs, aside, catalog, catalog.next_number - 1).close()


def _remove(fs: FileSystem, aside: str) -> None:
    """Remove what an unfinished checkpoint has left behind."""
    if fs.isdir(aside):
        for name in fs.listdir(aside):
            fs.unlink(filenames.join(aside, name))
        fs.rmdir(aside)


def _link(fs: FileSystem, source: str, target: str) -> None:
    """Make a hard link, or a copy if the file systems differ or do not support links."""
    try:
        fs.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        copy(fs, source, target)


def copy(fs: FileSystem, source: str, target: str) -> None:
    """Copy a file, and sync the copy."""
    original, fresh = fs.open(source), fs.create(target)
    try:
        at = 0
        while piece := original.pread(_PIECE, at):
            fresh.write(piece)
            at += len(piece)
        fresh.sync()
    finally:
        fresh.close()
        original.close()
