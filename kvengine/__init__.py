"""kvengine: durable state for virtual objects and workflows, embedded.

    import kvengine

    with kvengine.open("state") as db:
        db.set("Greeter", "alice", "name", b"Alice")
        db.get("Greeter", "alice", "name")

An entry is ``(service, key, state_key) -> value``; ``(service, key)`` names an
object. See README.md and docs/.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from kvengine.compiled import choose
from kvengine.errors import (
    AccessDenied,
    BadAddress,
    CorruptionError,
    DatabaseClosed,
    DatabaseLocked,
    FieldError,
    ForkedError,
    KVEngineError,
    NotADatabase,
    OutcomeUnknown,
    OwnerLost,
    PoolExhausted,
    ReadOnly,
    SerdeError,
    SessionError,
    SessionLost,
    SessionTimeout,
    StatementTimeout,
    Unavailable,
    UnsupportedFormat,
    ValueTooLarge,
    VersionConflict,
    WriteFailed,
)
from kvengine.interpreter import refuse_untested
from kvengine.release import VERSION

if TYPE_CHECKING:
    from kvengine.engine import Engine
    from kvengine.objects.retry import retry
    from kvengine.objects.sessions.session import Session, session_of
    from kvengine.objects.state.base import State
    from kvengine.objects.state.field import field
    from kvengine.objects.store import Store
    from kvengine.objects.virtual_object import VirtualObject
    from kvengine.objects.workflow import Workflow
    from kvengine.opening import connect, open
    from kvengine.options import Options
    from kvengine.serdes import Serde
    from kvengine.snapshot import Snapshot
    from kvengine.storage.batch import Batch
    from kvengine.storage.repair.evidence import Loss, RepairReport
    from kvengine.storage.repair.repair import repair
    from kvengine.store import (
        Change,
        Estimate,
        Job,
        LevelStats,
        Limits,
        SegmentStats,
        Stats,
        StoredObject,
    )
    from kvengine.watch import Watch

__version__ = VERSION

refuse_untested()
choose()

_HOMES = {
    "Batch": "kvengine.storage.batch",
    "Change": "kvengine.store",
    "Engine": "kvengine.engine",
    "Estimate": "kvengine.store",
    "Job": "kvengine.store",
    "LevelStats": "kvengine.store",
    "Limits": "kvengine.store",
    "SegmentStats": "kvengine.store",
    "Loss": "kvengine.storage.repair.evidence",
    "Options": "kvengine.options",
    "RepairReport": "kvengine.storage.repair.evidence",
    "Serde": "kvengine.serdes",
    "Session": "kvengine.objects.sessions.session",
    "Snapshot": "kvengine.snapshot",
    "State": "kvengine.objects.state.base",
    "Stats": "kvengine.store",
    "Store": "kvengine.objects.store",
    "StoredObject": "kvengine.store",
    "StoredWorkflow": "kvengine.store",
    "VirtualObject": "kvengine.objects.virtual_object",
    "Watch": "kvengine.watch",
    "Workflow": "kvengine.objects.workflow",
    "connect": "kvengine.opening",
    "field": "kvengine.objects.state.field",
    "open": "kvengine.opening",
    "repair": "kvengine.storage.repair.repair",
    "retry": "kvengine.objects.retry",
    "session_of": "kvengine.objects.sessions.session",
}
"""Where the names live that are imported when first asked for: importing kvengine costs little."""


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "AccessDenied",
    "BadAddress",
    "Batch",
    "Change",
    "CorruptionError",
    "DatabaseClosed",
    "DatabaseLocked",
    "Engine",
    "Estimate",
    "FieldError",
    "ForkedError",
    "Job",
    "KVEngineError",
    "LevelStats",
    "Limits",
    "Loss",
    "NotADatabase",
    "Options",
    "OutcomeUnknown",
    "OwnerLost",
    "PoolExhausted",
    "ReadOnly",
    "RepairReport",
    "SegmentStats",
    "Serde",
    "SerdeError",
    "Session",
    "SessionError",
    "SessionLost",
    "SessionTimeout",
    "Snapshot",
    "State",
    "StatementTimeout",
    "Stats",
    "Store",
    "StoredObject",
    "StoredWorkflow",
    "Unavailable",
    "UnsupportedFormat",
    "ValueTooLarge",
    "VersionConflict",
    "VirtualObject",
    "Watch",
    "Workflow",
    "WriteFailed",
    "connect",
    "field",
    "open",
    "repair",
    "retry",
    "session_of",
]
