"""Open and recovery: from a directory to a database.

Order of recovery: CURRENT, the manifest it names, every segment that the
manifest states (its fixed parts), the WAL files it states, oldest first. Then,
in an order in which a crash at any point leaves a directory that opens:

1. sync the last WAL with commits, whose recovered part becomes final here;
2. make a new WAL, whose header proves the length of the last, and has the epoch of this owner:
   the last one's plus one;
3. write a new manifest that states all of it, and let CURRENT name it: from
   here the new state is in force, and no later owner has this epoch;
4. remove what is not part of it: temporary files, files of edits that were
   never in force or no longer are. Unknown names are left alone and reported.

A recovered WAL is never appended to; its rows become a frozen memtable, which
is flushed like any other.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress

from kvengine.errors import CorruptionError, DatabaseLocked, KVEngineError, NotADatabase
from kvengine.fs.base import FileSystem
from kvengine.options import Options, lock_seconds
from kvengine.storage import filenames
from kvengine.storage.clock import SECOND, EngineClock
from kvengine.storage.database import Database
from kvengine.storage.frames import Frames
from kvengine.storage.lifecycle import lock
from kvengine.storage.manifest import file as manifest
from kvengine.storage.manifest.file import EPOCHS_END, Catalog, ManifestWriter
from kvengine.storage.manifest.format import HEADER_SIZE as MANIFEST_HEADER
from kvengine.storage.manifest.format import Shape, decode_header
from kvengine.storage.memo import Memo
from kvengine.storage.memtable import Memtable
from kvengine.storage.segment.filter import seed_of
from kvengine.storage.segment.reader import LiveSegment
from kvengine.storage.times import check_agrees, retention_time
from kvengine.storage.tokens import Tokens
from kvengine.storage.version import Version, View
from kvengine.storage.wal import file as wal
from kvengine.storage.wal.format import EPOCH_AT, HEADER_SIZE, Header

log: logging.Logger = logging.getLogger("kvengine")

_RETRIES = 1000
"""Beside an owner that changes its files some hundred times a second one attempt in four fails,
sometimes twenty in succession."""
_OTHERS = (filenames.CURRENT, filenames.LOCK, filenames.LIVE)


def open_owned(fs: FileSystem, directory: str, options: Options) -> Database:
    """Lock the directory, recover or create the database in it, and return that.

    Wait for another owner to leave for as long as ``lock_timeout`` says.
    The database works through a descriptor of the directory, so that it never touches another
    one that takes its path. Raises DatabaseLocked, NotADatabase, UnsupportedFormat,
    CorruptionError, OSError.
    """
    patience = lock.Patience(lock_seconds(options.lock_timeout, options.read_only))
    while True:
        try:
            return _open_owned(fs, directory, options)
        except DatabaseLocked as refused:
            pause = patience.pause(refused)
        time.sleep(pause)


def _open_owned(fs: FileSystem, directory: str, options: Options) -> Database:
    """Do what `open_owned` does, once."""
    _check_place(fs, directory, options)
    _check_format(fs, directory)
    fs.makedirs(directory)
    with ExitStack() as on_error:
        home = fs.open_dir(directory)
        on_error.callback(home.close)  # the error, if it is kept, would keep this open
        _check_place(home, directory, options)  # again: a link may have changed in between
        _check_format(home, directory)
        ownership = lock.acquire(home, directory)
        on_error.callback(ownership.release)
        if not home.exists(filenames.join(directory, filenames.CURRENT)):
            _create(home, directory, options)
        recovered = Recovery(home, directory, frames_for(options))
        _agree(recovered.catalog, options)
        db = recovered.database(options)
        db.lock = ownership
        _take_over(db, recovered)
        on_error.pop_all()
        return db


def open_read_only(fs: FileSystem, directory: str, options: Options) -> Database:
    """Return the database as it is now, beside an owner that may change it meanwhile."""
    if not fs.exists(filenames.join(directory, filenames.CURRENT)):
        _check_place(fs, directory, options)
        raise NotADatabase(f"{directory} holds no database")
    recovered = recover_beside(fs, directory, frames_for(options))
    _agree(recovered.catalog, options)
    return recovered.database(options)


def frames_for(options: Options) -> Frames:
    """Return the frames of a database: three quarters of ``cache_size``; the memo has the rest."""
    return Frames(options.cache_size - options.cache_size // 4, options.mapped_reads)


def recover_beside(
    fs: FileSystem,
    directory: str,
    frames: Frames,
    known: Mapping[int, LiveSegment] | None = None,
) -> Recovery:
    """Recover a directory while an owner may change it. ``known`` segments are not opened again."""
    found_before = ""
    for attempt in range(_RETRIES):
        before = stage_of_life(fs, directory)
        try:
            return Recovery(fs, directory, frames, known)
        except (CorruptionError, FileNotFoundError) as error:
            # The owner may have added or removed a file between the manifest and here, or begun
            # the next WAL, which no manifest records. Damage is found again in the same place.
            again = str(error) == found_before and before == stage_of_life(fs, directory)
            if attempt == _RETRIES - 1 or (attempt > 2 and again):
                raise
            found_before = str(error)
    raise AssertionError("unreachable")


def stage_of_life(fs: FileSystem, directory: str) -> tuple[int, int]:
    """Return the manifest in force and its length. One of them changes with the set of files."""
    number = manifest.read_current(fs, directory)
    try:
        return number, fs.size(filenames.join(directory, filenames.manifest(number)))
    except FileNotFoundError:
        return number, 0


def _check_place(fs: FileSystem, directory: str, options: Options) -> None:
    """Raise NotADatabase if the directory holds none and must not become one."""
    if not fs.exists(directory):
        if options.create and not options.read_only:
            return
        raise NotADatabase(f"{directory} does not exist; create=True makes a database there")
    if not fs.isdir(directory):
        raise NotADatabase(
            f"{directory} is a file or a broken symbolic link; a database is a directory"
        )
    names = fs.listdir(directory)
    if filenames.CURRENT in names:
        return
    parsed = [filenames.parse(name) for name in names]
    if any(name is not None and name.kind != "manifest" for name in parsed):
        path = filenames.join(directory, filenames.CURRENT)
        raise CorruptionError(path, 0, "missing, beside files of a database; see kvengine.repair")
    foreign = [
        name
        for name, one in zip(names, parsed, strict=True)
        if one is None
        and name not in (filenames.LOCK, filenames.LIVE)
        and not filenames.is_temporary(name)
    ]
    if foreign:
        raise NotADatabase(
            f"{directory} is no database and holds other files ({foreign[0]!r}):"
            " choose an empty or a new directory"
        )
    if not options.create:
        raise NotADatabase(f"{directory} holds no database; create=True makes one there")


def _check_format(fs: FileSystem, directory: str) -> None:
    """Raise UnsupportedFormat before anything of another format is touched, LOCK included.

    Damage is ignored here: recovery reports it.
    """
    with suppress(CorruptionError, FileNotFoundError, NotADirectoryError, ValueError):
        number = manifest.read_current(fs, directory)
        path = filenames.join(directory, filenames.manifest(number))
        decode_header(fs.read_bytes(path)[:MANIFEST_HEADER])


def _create(fs: FileSystem, directory: str, options: Options) -> None:
    """Create an empty database. CURRENT comes last: before it there is no database."""
    for name in fs.listdir(directory):
        if filenames.parse(name) is not None or filenames.is_temporary(name):
            fs.unlink(filenames.join(directory, name))
    shape = Shape(options.block_size, options.chunk_size)
    trusted = options.clock.wall()  # there is no data yet that a wrong clock could expire
    catalog = Catalog(os.urandom(16), shape, next_number=2, trusted=trusted)
    ManifestWriter(fs, directory, catalog, 1).close()
    fs.sync_dir(directory.rpartition("/")[0] or "/")


def _agree(catalog: Catalog, options: Options) -> None:
    """Add the retentions that are stated at open to those of the catalog.

    Raise ValueError if one differs from what the database has stored: two programs would keep the
    same workflows for different times.
    """
    stated = {name: retention_time(value) for name, value in options.retention.items()}
    for service, kept in stated.items():
        check_agrees(service, kept, catalog.retention.get(service))
    catalog.retention.update(stated)  # a reader's own is written nowhere


class Recovery:
    """What a directory holds: catalog, segments, and a memtable for each WAL that stays.

    Those are the WALs from the first with commits to the last with commits, and empty
    ones in between: each header names the file before it, so the chain stays unbroken.
    """

    def __init__(
        self,
        fs: FileSystem,
        directory: str,
        frames: Frames,
        known: Mapping[int, LiveSegment] | None = None,
    ) -> None:
        """``frames``: where blocks are kept; ``known``: segments that are open already."""
        self.fs: FileSystem = fs
        self.directory: str = directory
        self.life: tuple[int, int] = stage_of_life(fs, directory)
        self.catalog: Catalog = manifest.read(fs, directory, self.life[0])
        self.report: list[str] = []
        self.memtables: list[Memtable] = []
        self.last_stamp: int = self.catalog.last_stamp
        self.last_commit: int = 0
        self.tokens: Tokens = Tokens()
        self._check_names()
        open_ones = known or {}
        self.frames = frames
        seed = seed_of(self.catalog.database_id)
        segments = [
            open_ones[meta.number]
            if meta.number in open_ones and open_ones[meta.number].meta == meta
            else LiveSegment(fs, directory, meta, frames, seed)
            for meta in self.catalog.segments.values()
        ]
        self.version: Version = Version(segments, seed)
        self._replay()

    def database(self, options: Options) -> Database:
        max_step = int(options.max_clock_step * SECOND)
        times = (self.catalog.now, self.last_commit)
        clock = EngineClock(options.clock, max_step, *times, trusted=self.catalog.trusted)
        active = Memtable(0)
        view = View(active, tuple(reversed(self.memtables)), self.version)
        return Database(
            fs=self.fs,
            directory=self.directory,
            options=options,
            clock=clock,
            catalog=self.catalog,
            view=view,
            memo=Memo(options.cache_size // 4),
            frames=self.frames,
            last_stamp=self.last_stamp,
            tokens=self.tokens,
            recovery=tuple(self.report),
            life=self.life,
        )

    def _check_names(self) -> None:
        """Report unknown names. Raise CorruptionError if an unknown WAL has commits."""
        catalog = self.catalog
        for name in self.fs.listdir(self.directory):
            parsed = filenames.parse(name)
            if not filenames.is_ours(name) and name not in _OTHERS:
                self.report.append(f"unknown file {name!r} left alone")
            if parsed is None or not filenames.is_ours(name):
                continue
            catalog.next_number = max(catalog.next_number, parsed.number + 1)
            newest = max(catalog.wals, default=0)
            if parsed.kind == "wal" and parsed.number > newest:
                content = wal.read(self.fs, self.directory, parsed.number, catalog.database_id)
                if content.last is not None:
                    path = filenames.join(self.directory, name)
                    raise CorruptionError(path, 0, "the manifest does not know this WAL")

    def _replay(self) -> None:
        """Read the WALs, oldest first. Each header proves the whole of the WAL before it."""
        catalog = self.catalog
        catalog.wals.sort()
        before, end, replayed = 0, 0, 0
        stated, catalog.epoch = catalog.epoch, 0
        for number in catalog.wals:
            memtable = Memtable(number)
            known_end = catalog.wal_ends.get(number)
            content = wal.read(
                self.fs,
                self.directory,
                number,
                catalog.database_id,
                known_end,
                memtable.replay,
                self.tokens.note,
            )
            path = filenames.join(self.directory, filenames.wal(number))
            if before:
                self._check_chain(before, end, content.header, path)
            elif content.header is None and number != catalog.wals[-1]:
                raise CorruptionError(path, 0, "WAL header is damaged")
            if content.torn_bytes:
                self._note_torn(number, content)
            if content.first is not None and content.first.stamp <= replayed:
                raise CorruptionError(path, HEADER_SIZE, "commit is older than the WAL before it")
            if content.header is not None:
                self._check_epoch(content.header.epoch, path)
            catalog.wal_ends[number] = content.end
            last = content.last
            if last is not None or self.memtables:
                self.memtables.append(memtable)
            if content.first is not None and not replayed:
                self.tokens.since = max(self.tokens.since, content.first.stamp - 1)
            if last is not None:
                replayed, self.last_commit = last.stamp, last.now or last.stamp
            before, end = number, content.end
        while self.memtables and not self.memtables[-1].states:
            self.memtables.pop()
        self.last_stamp = max(self.last_stamp, replayed)
        if not replayed:
            self.tokens.since = self.last_stamp
        # A release that knows no epochs leaves 0 in the manifest that it writes.
        catalog.epoch = max(catalog.epoch, stated)

    def _check_chain(self, before: int, end: int, header: Header | None, path: str) -> None:
        """Raise CorruptionError unless a WAL follows the one before, which ends where it says.

        A WAL that was made and never begun has no header: it must be the last.
        """
        if header is None:
            if path != filenames.join(self.directory, filenames.wal(self.catalog.wals[-1])):
                raise CorruptionError(path, 0, "WAL header is damaged")
            return
        if header.previous != before:
            raise CorruptionError(path, 0, f"follows WAL {header.previous}, not {before}")
        if header.proven != end:
            damaged = filenames.join(self.directory, filenames.wal(before))
            reason = f"log is damaged: it was sealed at {header.proven}"
            raise CorruptionError(damaged, min(end, header.proven), reason)

    def _check_epoch(self, epoch: int, path: str) -> None:
        """Note the epoch of the next WAL. Raise CorruptionError if it is that of an earlier owner.

        It is 0 if it was begun by a release that knows no epochs.
        """
        newest = self.catalog.epoch
        if epoch and not newest <= epoch < EPOCHS_END:
            raise CorruptionError(path, EPOCH_AT, f"WAL has epoch {epoch}, after epoch {newest}")
        self.catalog.epoch = epoch or newest

    def _note_torn(self, number: int, content: wal.WalContent) -> None:
        self.report.append(
            f"{filenames.wal(number)}: a torn tail of {content.torn_bytes:,} bytes"
            f" at offset {content.end:,} was dropped"
        )


def _take_over(db: Database, recovered: Recovery) -> None:
    """Do steps 1 to 4 of the module's docstring."""
    fs, directory, catalog = db.fs, db.directory, db.catalog
    for name in filter(filenames.is_temporary, fs.listdir(directory)):
        _unlink(db, name)  # first, since one of them may have the name of one made below
    kept = {memtable.wal for memtable in recovered.memtables}
    previous, proven = 0, 0
    if kept:
        previous = max(kept)
        proven = catalog.wal_ends[previous]
        file = fs.open_write(filenames.join(directory, filenames.wal(previous)))
        file.sync()
        file.close()
    catalog.epoch += 1
    if catalog.epoch >= EPOCHS_END:
        raise KVEngineError(f"{directory} has the largest epoch there is: no owner can follow")
    number = db.allocate_number()
    db.wal = wal.WalWriter(fs, directory, number, catalog.database_id, catalog.epoch)
    db.wal.begin(previous, proven)
    db.view = View(Memtable(number), db.view.frozen, db.view.version)
    catalog.wals = [*sorted(kept), number]
    catalog.wal_ends = {known: end for known, end in catalog.wal_ends.items() if known in kept}
    catalog.last_stamp = db.last_stamp
    db.manifest = ManifestWriter(fs, directory, catalog, db.allocate_number())
    _sweep(db)
    for line in db.recovery:
        log.warning("%s: %s", directory, line)


def _sweep(db: Database) -> None:
    """Remove numbered files that are not part of the database, and temporary ones."""
    live = {filenames.wal(number) for number in db.catalog.wals}
    live |= {filenames.segment(number) for number in db.catalog.segments}
    if db.manifest is not None:
        live.add(filenames.manifest(db.manifest.number))
    for name in db.fs.listdir(db.directory):
        if filenames.is_ours(name) and name not in live:
            _unlink(db, name)


def _unlink(db: Database, name: str) -> None:
    with suppress(FileNotFoundError):  # it may be gone already
        db.fs.unlink(filenames.join(db.directory, name))
