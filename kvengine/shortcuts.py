"""Puts the compiled shortcuts in the place of the methods they stand for.

A shortcut does the usual case of a verb in C and calls the Python method for
every other, so the methods as written are what both do (kernel/module.c).
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import Any

from kvengine import kernel
from kvengine.fs.disk import DiskFile
from kvengine.objects.sessions.context import ENTERING, SessionContext
from kvengine.objects.sessions.host import Host
from kvengine.objects.sessions.session import Over, Session, SessionVerbs
from kvengine.objects.sessions.settings import USUAL
from kvengine.objects.sessions.turns import Turns
from kvengine.objects.sessions.working import Working
from kvengine.objects.verbs import ObjectVerbs
from kvengine.objects.virtual_object import VirtualObject
from kvengine.serdes import json, registry
from kvengine.serdes.codec import Codec
from kvengine.serdes.json import JSONSerde
from kvengine.serdes.raw import BytesSerde
from kvengine.serdes.registry import Serdes
from kvengine.storage.clock import EngineClock
from kvengine.storage.database import Counters, Database
from kvengine.storage.hot_committer import HotCommitter
from kvengine.storage.memtable import Memtable, State
from kvengine.storage.row import Resolved
from kvengine.storage.snapshots import Snapshots
from kvengine.storage.wal.file import WalWriter

_CLASSES: tuple[type, ...] = (
    *(ObjectVerbs, VirtualObject, SessionContext, SessionVerbs, Session, Working, Over),
    *(Host, Turns, Codec, Serdes, BytesSerde, JSONSerde, Resolved),
    *(HotCommitter, Database, Counters, WalWriter, EngineClock, Memtable, State, Snapshots),
    DiskFile,
)

_METHODS: tuple[Callable[..., Any], ...] = (
    *(ObjectVerbs.object, VirtualObject.session, SessionContext.__enter__),
    *(SessionContext.__exit__, Session.get, Session.set, HotCommitter._log_sets),
)


def install() -> None:
    """Once, before the first session. Without a kernel it does nothing.

    ImportError where the kernel was built for other sources.
    """
    if kernel.install is None:
        return
    parts: dict[str, Any] = {one.__name__: one for one in _CLASSES}
    parts["usual"], parts["entering"] = USUAL, ENTERING
    parts["time_ns"] = time.time_ns
    parts["named"], parts["encode"], parts["decode"] = registry.named, json.encode, json.decode_any
    parts["signatures"] = {one.__name__: _signature(one) for one in _METHODS}
    try:
        kernel.install(parts)
    except (KeyError, TypeError) as error:
        raise ImportError(
            f"the compiled kernel is not of this version of kvengine ({error}): install kvengine"
            " anew, or set KVENGINE_KERNEL=off"
        ) from error


def _signature(method: Callable[..., Any]) -> str:
    """Signature and documentation in the form that `inspect` finds them in for a method in C."""
    bare = inspect.signature(method)
    plain = [one.replace(annotation=inspect.Parameter.empty) for one in bare.parameters.values()]
    shown = str(inspect.Signature(plain)).replace("(self", "($self")
    return f"{method.__name__}{shown}\n--\n\n{inspect.getdoc(method) or ''}"
