"""Opening a database: `kvengine.open`, with every option spelled out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta

from kvengine.engine import Engine
from kvengine.errors import KVEngineError
from kvengine.fs.base import FileSystem
from kvengine.fs.disk import DiskFileSystem
from kvengine.fs.paths import check_path
from kvengine.options import KIB, MIB, Background, Durability, Options
from kvengine.serdes.registry import SerdeChoice
from kvengine.storage.clock import Clock, SystemClock


def open(
    path: str | os.PathLike[str],
    *,
    durability: Durability = "sync",
    create: bool = True,
    read_only: bool = False,
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

    Raise DatabaseLocked if another process, or another `Engine` of this one, has the database;
    NotADatabase for a directory that holds something else; UnsupportedFormat if it was written by a
    later release; CorruptionError, OSError; TypeError or ValueError for an option that makes no
    sense.
    """
    name = check_path("path", path)
    if name.startswith(("postgresql://", "postgres://")):
        raise KVEngineError("PostgreSQL back ends are not part of this release")
    if not name:
        raise ValueError("path is empty: name a directory")
    options = Options(
        durability=durability,
        create=create,
        read_only=read_only,
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
