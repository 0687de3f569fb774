"""kvengine for asyncio: the same verbs, awaited.

    import kvengine.aio

    async with kvengine.aio.open("state") as db:
        async with db.object("Greeter", "alice").session() as state:
            state.set("count", await state.get("count", 0) + 1)

What is in memory is read at once, on the event loop; what is not, and what
waits for the disk, is waited for in threads. Tasks that commit at the same time
share their syncs. A database belongs to the loop that opened it.
"""

from __future__ import annotations

from .engine import Engine
from .objects import VirtualObject, Workflow
from .opening import connect, open, wrap
from .reads import Snapshot
from .session import Session, session_of
from .watch import Watch

__all__ = [
    "Engine",
    "Session",
    "Snapshot",
    "VirtualObject",
    "Watch",
    "Workflow",
    "connect",
    "open",
    "session_of",
    "wrap",
]
