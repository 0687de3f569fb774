"""Sharing a directory: one member for each directory in a process, and stores that use it."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial

from kvengine.engine import Engine
from kvengine.errors import KVEngineError, Unavailable
from kvengine.fs.disk import DiskFileSystem
from kvengine.fs.network import network_filesystem
from kvengine.options import Durability, Options
from kvengine.serdes.registry import SerdeChoice, Serdes
from kvengine.share.holdings import Reclaiming
from kvengine.share.member import Member
from kvengine.share.owner import OwnerSilent
from kvengine.share.store import SharedStore
from kvengine.share.transport import has_socket
from kvengine.share.verbs import AGREED

PATIENCE = 30.0
"""Seconds to look for an owner, and to wait for an answer."""

PATIENCE_OF_TOOLS = 120.0
"""Seconds that a tool waits for an answer."""

_lock = threading.Lock()
_shared: dict[str, _Shared] = {}


class _Shared:
    """A member, and how many stores of this process use it."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.uses = 0


def share(path: str, options: Options) -> SharedStore:
    """Return a store on a directory that other processes may use too, as owner or as client.

    Raise ValueError if the owner has other options or the directory lies on a network file system,
    and whatever opening it raises.
    """
    directory = os.path.abspath(path)
    check_local(directory)
    place = os.path.realpath(directory)
    with _lock:
        shared = _shared.get(place)
        if shared is None or shared.member.is_closed:
            opens = partial(_open, directory, options)
            shared = _shared[place] = _Shared(Member(directory, opens, PATIENCE))
        shared.uses += 1
    try:
        _check_agreed(shared.member, options)
        return SharedStore(
            shared.member,
            durability=options.durability,
            serdes=Serdes(options.serde, options.serdes),
            retention=options.retention,
            closed=partial(_leave, place, shared),
        )
    except BaseException:
        _leave(place, shared)
        raise


def join(
    path: str,
    *,
    durability: Durability,
    serde: SerdeChoice,
    serdes: Mapping[str, SerdeChoice] | None,
    retention: Mapping[str, float | timedelta] | None,
    timeout: float,
) -> SharedStore:
    """Connect to the owner of a directory as a client that never owns it.

    ``timeout``: seconds to look for an owner, and to wait for each answer. Raise Unavailable if no
    owner is found, ValueError on a network file system.
    """
    directory = os.path.abspath(path)
    check_local(directory)
    made = Serdes(serde, serdes or {})
    return _connect(Member(directory, None, timeout), durability, made, retention or {})


def reach(path: str) -> SharedStore | None:
    """Connect to the owner that a directory has now; return None if nobody serves it.

    For tools, which then look at the files. Raise OwnerSilent if the owner does not serve this
    process.
    """
    if not has_socket(path):
        return None
    try:
        return _connect(Member(path, None, PATIENCE_OF_TOOLS, 0.0), None, Serdes("json", {}), {})
    except OwnerSilent:
        raise
    except Unavailable:
        return None


def _connect(
    member: Member,
    durability: Durability | None,
    serdes: Serdes,
    retention: Mapping[str, float | timedelta],
) -> SharedStore:
    """Return the only store of a client, which closes the client with it."""
    try:
        return SharedStore(
            member, durability=durability, serdes=serdes, retention=retention, closed=member.close
        )
    except BaseException:
        member.close()
        raise


def check_local(directory: str) -> None:
    """Raise ValueError if the directory lies on a network file system."""
    found = network_filesystem(directory)
    if found is not None:
        raise ValueError(
            f"{directory} lies on {found}, a file system of another machine: neither locks nor Unix"
            " sockets reach across, so it cannot be shared. Use a local disk (a volume, in a"
            " container); for several machines, kvengine.connect() takes a PostgreSQL URL"
        )


def _open(directory: str, options: Options, reclaiming: Reclaiming | None) -> Engine:
    """Open a directory as its owner, and serve it. Raise DatabaseLocked if it has an owner."""
    # Retentions are agreed on by whoever opens a store, once: they may change later.
    served = replace(options, live_access=True, retention={})
    engine = Engine(directory, served, DiskFileSystem(), reclaiming)
    problem = engine._db.live_access
    if problem != "on":
        engine.close()
        raise KVEngineError(f"{directory} cannot be shared: its socket {problem}")
    return engine


def _check_agreed(member: Member, options: Options) -> None:
    """Raise ValueError if the owner has other options: this process may be the next owner."""
    theirs = member.owner().joined.options
    others = [name for name in AGREED if name in theirs and theirs[name] != getattr(options, name)]
    if others:
        told = ", ".join(f"{name}={theirs[name]!r}" for name in others)
        raise ValueError(
            f"process {member.owner().pid}, which owns {member.path}, has {told}:"
            " all processes that share a directory open it with the same options"
        )


def _leave(place: str, shared: _Shared) -> None:
    with _lock:
        shared.uses -= 1
        if shared.uses:
            return
        if _shared.get(place) is shared:
            del _shared[place]
    shared.member.close()


def _in_child() -> None:
    global _lock  # noqa: PLW0603 - another thread may have had it at the fork
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
