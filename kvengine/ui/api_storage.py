"""GET /api/storage: levels, segments, and figures; GET /api/pulse: whether anything has changed.

A database on a server has no segments, and of the figures only sizes.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from kvengine.engine import Engine
from kvengine.inspection import escape
from kvengine.share.store import SharedStore
from kvengine.store import SegmentStats
from kvengine.ui.caching import with_tag
from kvengine.ui.source import Opened, Source

_MOST = 4000
"""Segments that are drawn: of more, the first."""

_LONGEST_NAME = 120


async def pulse(request: Request) -> Response:
    """Who has the database, whether it can be edited, and the stamp of its last commit."""
    source: Source = request.app.state.source
    stamp, written = await source.read(_pulse)
    access = _access(source)
    return with_tag(request, {**access, "last_stamp": str(stamp)}, [access, written])


def _pulse(store: Opened) -> tuple[int, int]:
    """Return a stamp that none so far is above, and a number that changes when something does."""
    if isinstance(store, Engine | SharedStore):
        stamp = store.stats().last_stamp
        return stamp, stamp
    return store.pulse()


def _access(source: Source) -> dict[str, Any]:
    return {
        "path": source.path,
        "mode": source.mode,
        "pid": source.pid,
        "writable": source.writable,
        "write": source.write,
        "note": source.note,
    }


async def storage(request: Request) -> Response:
    """Everything that `stats` and `segments` tell."""
    source: Source = request.app.state.source
    figures = await source.read(_figures)
    return with_tag(request, {**_access(source), **figures})


def _figures(store: Opened) -> dict[str, Any]:
    stats = store.stats()
    figures = stats._asdict()
    figures["last_stamp"] = str(stats.last_stamp)
    figures["levels"] = [level._asdict() for level in stats.levels]
    figures["running"] = [job._asdict() for job in stats.running]
    found = store.segments() if isinstance(store, Engine | SharedStore) else ()
    drawn = [_segment(one) for one in found[:_MOST]]
    return {"stats": figures, "segments": drawn, "segments_left_out": len(found) - len(drawn)}


def _segment(one: SegmentStats) -> dict[str, Any]:
    made = one._asdict()
    made["first_stamp"], made["last_stamp"] = str(one.first_stamp), str(one.last_stamp)
    made["start"], made["stop"] = _bound(one.start), _bound(one.stop)
    return made


def _bound(encoded: bytes) -> str:
    shown = escape.bound(encoded)
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[:_LONGEST_NAME]}…"
