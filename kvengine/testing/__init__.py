"""What tests of an application need: a database in memory, time that they move, disks that fail.

    from kvengine.testing import MemoryDatabase

    with MemoryDatabase() as kv:
        kv.db.set("Cart", "alice", "token", b"t", ttl=60)
        kv.clock.advance(60)
        assert kv.db.get("Cart", "alice", "token") is None

`kvengine.testing.fixtures` has the same as a pytest fixture. `StoreContract` is for authors of back
ends. See docs/testing.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvengine.fs.faulty import FaultyFileSystem
from kvengine.fs.memory import MemoryFileSystem
from kvengine.storage.clock import ManualClock
from kvengine.testing.blocking_store import blocking
from kvengine.testing.crash_points import CrashPoints
from kvengine.testing.memory_database import MemoryDatabase

if TYPE_CHECKING:
    from kvengine.testing.contract import StoreContract

__all__ = [
    "CrashPoints",
    "FaultyFileSystem",
    "ManualClock",
    "MemoryDatabase",
    "MemoryFileSystem",
    "StoreContract",
    "blocking",
]


def __getattr__(name: str) -> object:
    """Import the contract when it is asked for: nothing else here needs pytest."""
    if name != "StoreContract":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from kvengine.testing.contract import StoreContract
    except ModuleNotFoundError as error:
        if error.name not in ("pytest", "hypothesis"):
            raise
        raise ImportError(
            f"StoreContract needs {error.name}: pip install pytest hypothesis"
        ) from error
    return StoreContract
