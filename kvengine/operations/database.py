"""What the operations of one open database share. Holds state; decides nothing."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import NoReturn, cast

from kvengine.clock import EngineClock
from kvengine.errors import KVEngineError, ReadOnly, WriteFailed
from kvengine.files.manifest import Catalog, ManifestWriter
from kvengine.files.wal import WalWriter
from kvengine.fs.base import FileSystem, Lock
from kvengine.memory.cache import ObjectCache
from kvengine.memory.memtable import Memtable, States
from kvengine.memory.snapshots import Snapshots
from kvengine.operations.version import View
from kvengine.options import Options


class Commit:
    """A commit between its place in the log and its visibility."""

    __slots__ = ("end", "memtable", "published", "stamp", "states")

    def __init__(self, stamp: int, states: States, memtable: Memtable, end: int) -> None:
        self.stamp = stamp
        self.states = states
        self.memtable = memtable
        self.end = end
        self.published = False


@dataclass
class Counters:
    """What `stats` counts since open."""

    commits: int = 0
    syncs: int = 0
    wal_bytes: int = 0
    flushes: int = 0
    flushed_bytes: int = 0
    compactions: int = 0
    compacted_bytes: int = 0
    dropped_segments: int = 0
    stalls: int = 0
    stall_seconds: float = 0.0
    background_errors: int = 0
    last_background_error: str = ""

    def note_error(self, error: BaseException) -> None:
        """A step of background work failed; it will be tried again."""
        self.last_background_error = f"{type(error).__name__}: {error}"
        self.background_errors += 1


@dataclass
class Database:
    """One open database.

    Locks, in the order in which they may be taken:

    ``install_lock``: changes of the set of files (manifest, catalog).
    ``sync_lock``: the leader of a group of syncing commits; rotation.
    ``commit_lock``: the log's end, staged commits, ``view``. Held briefly, never
    over a sync of a commit.

    ``view`` is replaced, never changed; readers take it once. ``pending`` are
    commits that are logged and not yet visible, in log order; ``staged`` their
    newest states. ``published`` is the stamp of the last visible commit.
    """

    fs: FileSystem
    directory: str
    options: Options
    clock: EngineClock
    catalog: Catalog
    view: View
    cache: ObjectCache
    wal: WalWriter | None = None
    manifest: ManifestWriter | None = None
    lock: Lock | None = None
    snapshots: Snapshots = field(default_factory=Snapshots)
    counters: Counters = field(default_factory=Counters)
    install_lock: threading.RLock = field(default_factory=threading.RLock)
    sync_lock: threading.Lock = field(default_factory=threading.Lock)
    commit_lock: threading.Lock = field(default_factory=threading.Lock)
    pending: list[Commit] = field(default_factory=list)
    staged: States = field(default_factory=dict)
    last_stamp: int = 0
    published: int = 0
    failed: BaseException | None = None
    gone: bool = False
    stalled: str = ""
    obsolete: set[int] = field(default_factory=set)
    recovery: tuple[str, ...] = ()

    def allocate_number(self) -> int:
        """The next file number. Numbers only grow, across reopens too."""
        number = self.catalog.next_number
        self.catalog.next_number = number + 1
        return number

    def fail(self, error: BaseException) -> None:
        """Refuse writes until reopen: what the medium holds is no longer known."""
        if self.failed is None:
            self.failed = error

    def check_writable(self) -> None:
        """Raise where the database is closed, read-only or has failed."""
        self.view.generation  # noqa: B018 - a gone view raises its own error
        if self.failed is not None:
            raise WriteFailed(
                f"an earlier I/O error stopped writes: {self.failed}; reopen {self.directory}"
            ) from self.failed
        if self.wal is None:
            raise ReadOnly(f"{self.directory} was opened with read_only=True")

    def disappear(self, error: type[KVEngineError], reason: str) -> None:
        """From now on every use raises ``error``."""
        self.view = cast(View, _Gone(error, reason))
        self.gone = True


class _Gone:
    """Stands in for the view of a database that may no longer be used."""

    def __init__(self, error: type[KVEngineError], reason: str) -> None:
        self.__error = error
        self.__reason = reason

    def __getattr__(self, name: str) -> NoReturn:
        raise self.__error(self.__reason)
