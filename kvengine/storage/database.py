"""What the operations of one open database share. Holds state; decides nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn, cast

from kvengine.errors import KVEngineError, OwnerLost, ReadOnly, WriteFailed
from kvengine.fs.base import FileSystem
from kvengine.options import Options
from kvengine.storage.clock import SECOND, EngineClock
from kvengine.storage.frames import Frames
from kvengine.storage.lifecycle.lock import Ownership
from kvengine.storage.machine import Lock
from kvengine.storage.manifest.file import Catalog, ManifestWriter
from kvengine.storage.manifest.format import SegmentMeta, VersionEdit
from kvengine.storage.memo import Memo
from kvengine.storage.memtable import States
from kvengine.storage.snapshots import Snapshots
from kvengine.storage.state import Commit
from kvengine.storage.tokens import Tokens
from kvengine.storage.version import View
from kvengine.storage.wal.file import WalWriter
from kvengine.storage.walk import DeadSpans
from kvengine.store import Job

if TYPE_CHECKING:
    from kvengine.storage.feed import Feed


class Counters:
    """What `stats` counts since open."""

    __slots__ = (
        "background_errors",
        "commits",
        "compacted_bytes",
        "compactions",
        "dropped_segments",
        "flushed_bytes",
        "flushes",
        "last_background_error",
        "stall_seconds",
        "stalls",
        "syncs",
        "wal_bytes",
    )

    def __init__(self) -> None:
        self.commits: int = 0
        self.syncs: int = 0
        self.wal_bytes: int = 0
        self.flushes: int = 0
        self.flushed_bytes: int = 0
        self.compactions: int = 0
        self.compacted_bytes: int = 0
        self.dropped_segments: int = 0
        self.stalls: int = 0
        self.stall_seconds: float = 0.0
        self.background_errors: int = 0
        self.last_background_error: str = ""

    def note_error(self, error: BaseException) -> None:
        """Count an error of a step of background work. The step will be tried again."""
        self.last_background_error = f"{type(error).__name__}: {error}"
        self.background_errors += 1


def nobody() -> None:
    """Return that there is no engine."""


class Database:
    """One open database.

    ``fs`` of an owner is bound to its directory: paths below ``directory`` lead into the one
    that was opened, even if its path leads elsewhere later. `disappear` lets go of it.

    Locks, in the order in which they may be taken:

    ``install_lock``: changes of the set of files (manifest, catalog).
    ``sync_lock``: the leader of a group of syncing commits; rotation.
    ``commit_lock``: the log's end, staged commits, ``view``. Held briefly, never
    over a sync of a commit.

    ``view`` is replaced, never changed; readers take it once. ``pending`` are
    commits that are logged and not yet visible, in log order; ``unpublished`` their
    newest states. ``published`` is the stamp of the last visible commit. ``owner`` returns the
    engine, None once it is gone: what a caller holds of it, a moment or a batch, keeps it open.
    """

    __slots__ = (
        "catalog",
        "clock",
        "commit_lock",
        "counters",
        "directory",
        "failed",
        "feeds",
        "frames",
        "fs",
        "gone",
        "install_lock",
        "last_stamp",
        "life",
        "live_access",
        "lock",
        "manifest",
        "memo",
        "obsolete",
        "options",
        "owner",
        "pending",
        "published",
        "recovery",
        "running",
        "snapshots",
        "spans",
        "stalled",
        "sync_lock",
        "tokens",
        "unpublished",
        "view",
        "wal",
    )

    def __init__(
        self,
        fs: FileSystem,
        directory: str,
        options: Options,
        clock: EngineClock,
        catalog: Catalog,
        view: View,
        memo: Memo,
        frames: Frames,
        last_stamp: int,
        tokens: Tokens,
        recovery: tuple[str, ...],
        life: tuple[int, int],
    ) -> None:
        self.fs: FileSystem = fs
        self.directory: str = directory
        self.options: Options = options
        self.clock: EngineClock = clock
        self.catalog: Catalog = catalog
        self.view: View = view
        self.memo: Memo = memo
        self.frames: Frames = frames
        self.tokens: Tokens = tokens
        self.recovery: tuple[str, ...] = recovery
        self.life: tuple[int, int] = life
        """The manifest in force and its length, as a reader beside the owner has read them."""
        self.published: int = last_stamp
        self.last_stamp: int = last_stamp
        self.wal: WalWriter | None = None
        self.manifest: ManifestWriter | None = None
        self.lock: Ownership | None = None
        self.spans: DeadSpans = DeadSpans()
        self.counters: Counters = Counters()
        self.feeds: tuple[Feed, ...] = ()
        self.pending: list[Commit] = []
        self.unpublished: States = {}
        self.failed: BaseException | None = None
        self.owner: Callable[[], object] = nobody
        self.gone: bool = False
        self.stalled: str = ""
        self.obsolete: set[int] = set()
        self.live_access: str = "off"
        self.running: list[Job] = []
        """Background work that is being done. Appending and removing are one step each."""

        self.renew_locks()

    def renew_locks(self) -> None:
        """Make locks that nobody holds and forget snapshots: at open, and in a forked child."""
        self.snapshots: Snapshots = Snapshots()
        self.install_lock: threading.RLock = threading.RLock()
        self.sync_lock: Lock = Lock()
        self.commit_lock: Lock = Lock()

    def allocate_number(self) -> int:
        """Return the next file number. Numbers only grow, across reopens too."""
        number = self.catalog.next_number
        self.catalog.next_number = number + 1
        return number

    def refuse_nested(self) -> None:
        """Raise KVEngineError if this thread has a lock that commits and snapshots wait for.

        A signal handler or a finalizer may call a verb there, and would wait for ever.
        """
        if self.commit_lock.mine() or self.sync_lock.mine() or self.snapshots._lock.mine():
            raise KVEngineError("called inside a commit, by a signal handler or a finalizer")

    def refuse_inside_work(self) -> None:
        """Raise KVEngineError if this thread has any lock that work on the set of files waits for.

        As `refuse_nested`, for what another thread does while this one waits, and for `close`.
        """
        self.refuse_nested()
        locks = [self.frames._lock]
        if not self.gone:
            locks += [table._order_lock for table in self.view.tables]
        installs = self.install_lock._is_owned()  # type: ignore[attr-defined]
        if installs or any(lock.mine() for lock in locks):
            raise KVEngineError("called inside another verb, by a signal handler or a finalizer")

    def edit(
        self,
        *,
        added: Sequence[SegmentMeta] = (),
        removed: Sequence[int] = (),
        wals_added: Sequence[int] = (),
        wals_removed: Sequence[int] = (),
        wal_ends: Mapping[int, int] | None = None,
        retention: Mapping[str, int] | None = None,
    ) -> VersionEdit:
        """Return a version edit that also states the counters and times as they are."""
        now = self.clock.now()
        grace = int(self.options.expiry_grace * SECOND)
        return VersionEdit(
            added=list(added),
            removed=list(removed),
            wals_added=list(wals_added),
            wals_removed=list(wals_removed),
            wal_ends=dict(wal_ends or {}),
            next_number=self.catalog.next_number,
            last_stamp=self.last_stamp,
            now=now,
            trusted=self.clock.last_trusted if self.clock.in_doubt(grace) else now,
            retention=dict(retention or {}),
        )

    def retention_of(self, service: str) -> int | None:
        """Return how long completed workflows of a service are kept, in microseconds.

        None if none is set.
        """
        return self.catalog.retention.get(service)

    def fail(self, error: BaseException) -> None:
        """Refuse writes until reopen: what the medium holds is no longer known.

        This replaces an `OwnerLost`, after which it would still be known.
        """
        if self.failed is None or isinstance(self.failed, OwnerLost):
            self._stop_writes(error)

    def _stop_writes(self, error: BaseException) -> None:
        self.failed = error
        for feed in self.feeds:  # who waits for a change is told that none will come
            feed.ring()

    def check_owner(self) -> None:
        """Raise OwnerLost, and refuse writes, if the directory is no longer this owner's.

        It is called before each change of the set of files, not at commits: it costs a few system
        calls.
        """
        lost = self.lock.lost() if self.lock is not None else ""
        if lost:
            reason = (
                f"is no longer owned by this process: {lost}; what was committed is in the"
                " directory that was opened, wherever that is now"
            )
            if self.failed is None:
                self._stop_writes(OwnerLost(self.directory, reason))
            raise OwnerLost(self.directory, reason)

    def check_writable(self) -> None:
        """Raise if the database is closed, read-only, no longer ours, or has failed."""
        self.view.check_open()
        if isinstance(self.failed, OwnerLost):
            raise OwnerLost(*self.failed.args) from self.failed
        if self.failed is not None:
            raise WriteFailed(
                f"an earlier I/O error stopped writes: {self.failed}; reopen {self.directory}"
            ) from self.failed
        if self.wal is None:
            raise ReadOnly(f"{self.directory} was opened with read_only=True")

    def disappear(self, error: type[KVEngineError], reason: str) -> None:
        """Let every use from now on raise ``error``, and release the directory."""
        self.view = cast(View, Gone(error, reason))
        self.memo.clear()
        self.frames.clear()
        self.fs = cast(FileSystem, Gone(error, reason))
        self.gone = True


class Gone:
    """Stands in for the view and the files of a database that may no longer be used.

    It also stands in for the view of a closed moment.
    """

    def __init__(self, error: type[KVEngineError], reason: str) -> None:
        self.__error = error
        self.__reason = reason

    def __getattr__(self, name: str) -> NoReturn:
        raise self.__error(self.__reason)
