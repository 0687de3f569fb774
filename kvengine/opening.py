"""Opening a database: `kvengine.open` and `kvengine.connect`, with every option spelled out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Literal, TypedDict, Unpack, overload

from kvengine.arguments import timeout_of
from kvengine.engine import Engine
from kvengine.errors import BadAddress
from kvengine.fs.base import FileSystem
from kvengine.fs.disk import DiskFileSystem
from kvengine.fs.paths import check_path
from kvengine.objects.store import Store
from kvengine.options import KIB, MIB, Background, Durability, Options
from kvengine.serdes.registry import SerdeChoice
from kvengine.share import opening as sharing
from kvengine.share.store import SharedStore
from kvengine.storage.clock import Clock, SystemClock


class SharedOptions(TypedDict, total=False):
    """What `open` takes with ``share=True``; `open` has the defaults."""

    durability: Durability
    create: bool
    max_value_size: int
    max_commit_size: int
    max_clock_step: float
    expiry_grace: float
    tombstone_age: float
    serde: SerdeChoice
    serdes: Mapping[str, SerdeChoice] | None
    retention: Mapping[str, float | timedelta] | None
    memtable_size: int
    cache_size: int
    mapped_reads: bool
    block_size: int
    chunk_size: int
    segment_size: int
    level_base: int
    level_ratio: int
    l0_compact: int
    l0_slow: int
    l0_stop: int
    frozen_stop: int


class OwnOptions(SharedOptions, total=False):
    """What `open` takes for a process that has a directory for itself."""

    read_only: bool
    lock_timeout: float | timedelta
    live_access: bool | None
    background: Background
    clock: Clock | None
    fs: FileSystem | None


@overload
def open(
    path: str | os.PathLike[str], *, share: Literal[True], **options: Unpack[SharedOptions]
) -> SharedStore: ...


@overload
def open(
    path: str | os.PathLike[str], *, share: Literal[False] = False, **options: Unpack[OwnOptions]
) -> Engine: ...


def open(
    path: str | os.PathLike[str],
    *,
    share: bool = False,
    durability: Durability = "sync",
    create: bool = True,
    read_only: bool = False,
    lock_timeout: float | timedelta = 0.0,
    live_access: bool | None = None,
    background: Background = "thread",
    max_value_size: int = 256 * MIB,
    max_commit_size: int = 512 * MIB,
    max_clock_step: float = 60.0,
    expiry_grace: float = 15.0,
    tombstone_age: float = 30.0,
    serde: SerdeChoice = "json",
    serdes: Mapping[str, SerdeChoice] | None = None,
    retention: Mapping[str, float | timedelta] | None = None,
    memtable_size: int = 16 * MIB,
    cache_size: int = 64 * MIB,
    mapped_reads: bool = False,
    block_size: int = 4 * KIB,
    chunk_size: int = 64 * KIB,
    segment_size: int = 16 * MIB,
    level_base: int = 64 * MIB,
    level_ratio: int = 8,
    l0_compact: int = 4,
    l0_slow: int = 10,
    l0_stop: int = 20,
    frozen_stop: int = 4,
    clock: Clock | None = None,
    fs: FileSystem | None = None,
) -> Engine | SharedStore:
    """Open the database in directory ``path``, creating it if need be.

    ``share=True`` shares the directory with other processes that open it so: the first of them owns
    it and serves the others, and when it ends, another one takes over by itself. All of them open
    it with the same options. The store has the same verbs wherever its process stands.

    The options are those of `kvengine.Options`, which tells what each does; sizes are in bytes,
    times in seconds. ``fs``: a file system other than the disk, for tests (`kvengine.testing`).

    Raise DatabaseLocked if another process, or another `Engine` of this one, has the database, and
    does not leave it within ``lock_timeout``;
    NotADatabase for a directory that holds something else; UnsupportedFormat if it was written by a
    later release; CorruptionError, OSError; TypeError or ValueError for an option that makes no
    sense.
    """
    name = check_path("path", path)
    if name.startswith(("postgresql://", "postgres://")):
        raise ValueError("open() takes a directory; a PostgreSQL URL goes to kvengine.connect()")
    if not name:
        raise ValueError("path is empty: name a directory")
    if share and (read_only or lock_timeout or live_access is False or clock or fs):
        raise ValueError(
            "share=True takes no read_only=, lock_timeout=, live_access=False, clock= or fs=: who"
            " shares a directory waits for no owner, and may own it, by the system's disk and clock"
        )
    options = Options(
        durability=durability,
        create=create,
        read_only=read_only,
        lock_timeout=lock_timeout,
        live_access=live_access,
        background=background,
        max_value_size=max_value_size,
        max_commit_size=max_commit_size,
        max_clock_step=max_clock_step,
        expiry_grace=expiry_grace,
        tombstone_age=tombstone_age,
        serde=serde,
        serdes={} if serdes is None else serdes,
        retention={} if retention is None else retention,
        memtable_size=memtable_size,
        cache_size=cache_size,
        mapped_reads=mapped_reads,
        block_size=block_size,
        chunk_size=chunk_size,
        segment_size=segment_size,
        level_base=level_base,
        level_ratio=level_ratio,
        l0_compact=l0_compact,
        l0_slow=l0_slow,
        l0_stop=l0_stop,
        frozen_stop=frozen_stop,
        clock=SystemClock() if clock is None else clock,
    )
    if share:
        return sharing.share(name, options)
    return Engine(path, options, DiskFileSystem() if fs is None else fs)


def connect(
    url: str | os.PathLike[str],
    *,
    create: bool = True,
    read_only: bool = False,
    durability: Durability = "sync",
    max_value_size: int = 128 * MIB,
    max_commit_size: int = 256 * MIB,
    serde: SerdeChoice = "json",
    serdes: Mapping[str, SerdeChoice] | None = None,
    retention: Mapping[str, float | timedelta] | None = None,
    pool_size: int = 10,
    timeout: float | timedelta = 30.0,
    lease: float | timedelta = 10.0,
) -> Store:
    """Connect to the Store of a server: a PostgreSQL database, or the owner of a directory.

    url
        A directory: its owner is asked, which is any process that has opened it
        (`kvengine.open`, ``kvengine serve``). This process never owns it; when the owner ends, its
        successor is asked. Of the arguments below, a directory takes ``durability``, ``serde``,
        ``serdes``, ``retention`` and ``timeout``. Else
        ``postgresql://user@host1,host2/db?kv_schema=state``, as libpq takes it. Of several hosts
        the one that takes writes is used. ``kv_schema``: the schema that holds all tables,
        ``kvengine`` by default.
    create
        Make the schema if there is none.
    read_only
        Only read, from a replica if the URL has several hosts and one of them is one. A replica may
        be behind the primary, and what was just committed missing: `staleness` tells by how much.
        Writes, sessions that may write, and watches raise ReadOnly.
    durability
        ``"sync"``: a returned commit is as safe as the server's ``synchronous_commit`` makes it.
        ``"os"``: a crash of the server may take the last commits.
    max_value_size, max_commit_size
        In bytes. Past these a write raises ValueTooLarge before anything is sent.
    serde, serdes, retention
        As for `kvengine.open`.
    pool_size
        Connections that verbs share, at most. A snapshot, and the thread that keeps the lease, have
        one of their own.
    timeout
        Seconds or a timedelta for which a verb tries again while no server can be reached, and
        waits for a connection.
    lease
        Seconds or a timedelta after which objects in sessions of a client that died are free.

    A PostgreSQL schema is made if need be. Raise BadAddress, AccessDenied, Unavailable;
    UnsupportedFormat if the server or this release is too old; NotADatabase without ``create``;
    TypeError or ValueError for an option that makes no sense. A PostgreSQL URL needs the extra
    ``postgres``.
    """
    if not (isinstance(url, str) and "://" in url):
        _refuse_on_directory(
            create=create is not True,
            read_only=read_only is not False,
            max_value_size=max_value_size != 128 * MIB,
            max_commit_size=max_commit_size != 256 * MIB,
            pool_size=pool_size != 10,
            lease=lease != 10.0,
        )
        path = check_path("path", url)
        if not path:
            raise BadAddress("it is empty: name a directory or a PostgreSQL URL")
        return sharing.join(
            path,
            durability=durability,
            serde=serde,
            serdes=serdes,
            retention=retention,
            timeout=timeout_of(timeout) or 0.0,
        )
    try:
        from kvengine.postgres.settings import check
        from kvengine.postgres.store import PostgresStore
    except ImportError as error:
        raise explained(error) from error
    settings = check(
        url,
        create=create,
        read_only=read_only,
        durability=durability,
        max_value_size=max_value_size,
        max_commit_size=max_commit_size,
        serde=serde,
        serdes=serdes,
        retention=retention,
        pool_size=pool_size,
        timeout=timeout,
        lease=lease,
    )
    return PostgresStore(settings)


def _refuse_on_directory(**given: bool) -> None:
    """Raise ValueError for arguments of `connect` that only a PostgreSQL URL takes."""
    names = [f"{name}=" for name, is_given in given.items() if is_given]
    if names:
        raise ValueError(
            f"{', '.join(names)} is for PostgreSQL URLs: a directory has the limits of its owner,"
            " and kvengine.open(path, read_only=True) reads beside one"
        )


def explained(error: ImportError) -> ImportError:
    """Return the error for an import of kvengine.postgres that failed, which may lack its extra."""
    if (error.name or "").partition(".")[0] in ("psycopg", "psycopg_pool"):
        return ImportError("a PostgreSQL URL needs: pip install 'kvengine[postgres]'")
    return error
