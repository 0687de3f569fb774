"""Opening a database: `kvengine.open` and `kvengine.connect`, with every option spelled out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from kvengine.engine import Engine
from kvengine.fs.base import FileSystem
from kvengine.fs.disk import DiskFileSystem
from kvengine.fs.paths import check_path
from kvengine.options import KIB, MIB, Background, Durability, Options
from kvengine.serdes.registry import SerdeChoice
from kvengine.storage.clock import Clock, SystemClock

if TYPE_CHECKING:  # with the extra `postgres` alone
    from kvengine.postgres.store import PostgresStore


def open(
    path: str | os.PathLike[str],
    *,
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
) -> Engine:
    """Open the database in directory ``path``, creating it if need be.

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
    return Engine(path, options, DiskFileSystem() if fs is None else fs)


def connect(
    url: str,
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
) -> PostgresStore:
    """Connect to the Store on a PostgreSQL database, making its schema if need be.

    url
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

    Raise BadAddress, AccessDenied, Unavailable; UnsupportedFormat if the server or this release is
    too old; NotADatabase without ``create``; TypeError or ValueError for an option that makes no
    sense. Needs the extra ``postgres``.
    """
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


def explained(error: ImportError) -> ImportError:
    """Return the error for an import of kvengine.postgres that failed, which may lack its extra."""
    if (error.name or "").partition(".")[0] in ("psycopg", "psycopg_pool"):
        return ImportError("a PostgreSQL URL needs: pip install 'kvengine[postgres]'")
    return error
