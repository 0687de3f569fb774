"""`kvengine.testing` as its users write it. Checked by mypy --strict and pyright, and run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import assert_type

import kvengine
from kvengine.testing import (
    CrashPoints,
    FaultyFileSystem,
    ManualClock,
    MemoryDatabase,
    MemoryFileSystem,
)
from kvengine.testing.fixtures import kv

__all__ = ["kv", "run"]


def of_a_database(clock: ManualClock) -> int:
    with MemoryDatabase(clock=clock, serde="msgpack") as kv:
        assert_type(kv.db, kvengine.Engine)
        assert_type(kv.clock, ManualClock)
        assert_type(kv.fs, FaultyFileSystem)
        with kv.crash_points(power=True, seeds=1) as points:
            assert_type(points, CrashPoints)
            kv.db.set("s", "k", "n", b"1")
        counts = [assert_type(db, kvengine.Engine).count("s") for db in points]
        with kv.full_disk():
            pass
        assert_type(kv.kill(), kvengine.Engine)
        assert_type(kv.power_cut(1), kvengine.Engine)
        return counts[-1] + kv.reopen().count("s")


def of_file_systems(clock: ManualClock) -> bytes | None:
    memory = MemoryFileSystem()
    faulty = FaultyFileSystem(memory)
    with kvengine.open("/db", fs=faulty, clock=clock, background="none") as db:
        db.set("s", "k", "n", b"1")
        faulty.fail_at(1, OSError(5, "Input/output error"), operations={"datasync"})
        faulty.clear()
    with kvengine.open("/db", fs=memory.crash(Random(1)), background="none") as db:
        return db.get("s", "k", "n")


def run() -> tuple[int, bytes | None, float]:
    clock = ManualClock(datetime(2028, 2, 29, tzinfo=UTC))
    clock.advance(timedelta(days=1))
    clock.step(-1.5)
    return of_a_database(clock), of_file_systems(clock), clock.now() - clock.wall() / 1e6
