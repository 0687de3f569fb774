"""What tests of an application need: a database in memory, time that they move, disks that fail.

    from kvengine.testing import MemoryDatabase

    with MemoryDatabase() as kv:
        kv.db.set("Cart", "alice", "token", b"t", ttl=60)
        kv.clock.advance(60)
        assert kv.db.get("Cart", "alice", "token") is None

`kvengine.testing.fixtures` has the same as a pytest fixture. See docs/testing.md.
"""

from __future__ import annotations

from kvengine.fs.faulty import FaultyFileSystem
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage.clock import ManualClock
from kvengine.testing.crash_points import CrashPoints
from kvengine.testing.memory_database import MemoryDatabase

__all__ = ["CrashPoints", "FaultyFileSystem", "ManualClock", "MemoryDatabase", "MemoryFileSystem"]
