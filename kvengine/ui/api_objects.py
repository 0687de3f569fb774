"""GET /api/objects: a page of the objects of a service, by prefix and key-set.

The work is that of the page: a listing seeks to where it begins, and of each object that is
shown its beginning is read.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from kvengine.store import Snapshot
from kvengine.ui.asked import asked, limit_of, name_of
from kvengine.ui.caching import with_tag
from kvengine.ui.limits import KIB
from kvengine.ui.source import Opened, Source

_MOST = 500
_READ = 16 * KIB
"""Bytes of an object that are read to tell its size."""

_COUNTED = 1000
"""Objects of a listing, and entries of a larger object, that are counted one by one."""

_STATE_KEYS = 4


async def objects(request: Request) -> Response:
    """``service``, ``prefix``, ``after`` (exclusive), ``limit``: objects in order of keys."""
    source: Source = request.app.state.source
    service = name_of(request, "service")
    prefix = name_of(request, "prefix", "")
    after = asked(request, "after")
    limit = limit_of(request, 100, _MOST)
    page = await source.read(lambda store: _page(store, service, prefix, after, limit))
    return with_tag(request, page)


def _page(
    store: Opened, service: str, prefix: str, after: str | None, limit: int
) -> dict[str, Any]:
    estimate = store.estimate(service, prefix=prefix)
    start = None if after is None else after + "\0"
    with store.snapshot() as at:
        keys = list(at.object_keys(service, prefix=prefix, start=start, limit=limit + 1))
        shown = [_object(at, service, key) for key in keys[:limit]]
        more = len(keys) > limit
        count, exact = len(shown), after is None and not more
        if not exact:
            count, exact = _count(at, service, prefix, max(estimate.objects, len(keys)))
    return {
        "service": service,
        "objects": [one for one in shown if one is not None],
        "next": keys[limit - 1] if more else None,
        "count": count,
        "exact": exact,
        "bytes": estimate.bytes,
    }


def _count(at: Snapshot, service: str, prefix: str, estimate: int) -> tuple[int, bool]:
    """How many objects there are; exact for few. An estimate may count the dead, too."""
    if estimate > 2 * _COUNTED:
        return estimate, False
    found = sum(1 for _ in at.object_keys(service, prefix=prefix, limit=_COUNTED + 1))
    return (max(found, estimate), False) if found > _COUNTED else (found, True)


def _object(at: Snapshot, service: str, key: str) -> dict[str, Any] | None:
    """An object in a line: figures are None where it is larger than what was read."""
    found = at.load(service, key, max_bytes=_READ)
    if found is None:
        return None
    names = list(found.entries)
    if found.partial:
        names = at.state_keys(service, key, limit=_COUNTED + 1)
    size = sum(len(name.encode()) + len(value) for name, value in found.entries.items())
    soonest = min((found.expiries or {}).values(), default=None)
    return {
        "key": key,
        "version": str(found.version),
        "entries": len(names) if len(names) <= _COUNTED else None,
        "bytes": size if not found.partial else None,
        "expires_at": found.expires_at,
        "entry_expires_at": soonest,
        "state_keys": names[:_STATE_KEYS],
    }
