"""GET /api/services: a page of services with about how much they hold.

Counts are exact below `_EXACT`, else estimates from indexes. All that is read for a page is
bounded, and by time too: what comes after `_BUDGET` seconds has estimates alone.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from kvengine.real_time import monotonic, wall
from kvengine.store import Snapshot
from kvengine.ui.asked import asked, limit_of, name_of
from kvengine.ui.caching import with_tag
from kvengine.ui.source import Opened, Source

_EXACT = 1000
_SAMPLE = 8
_SAMPLE_BYTES = 4096
_BUDGET = 0.08
_SOON = 24 * 3600.0
_MOST = 200


async def services(request: Request) -> Response:
    """``prefix``, ``after`` (exclusive), ``limit``: services in order, and where to go on."""
    source: Source = request.app.state.source
    prefix = name_of(request, "prefix", "")
    after = asked(request, "after")
    limit = limit_of(request, 50, _MOST)
    return with_tag(request, await source.read(lambda store: _page(store, prefix, after, limit)))


def _page(store: Opened, prefix: str, after: str | None, limit: int) -> dict[str, Any]:
    until = monotonic() + _BUDGET
    start = prefix if after is None else after + "\0"
    with store.snapshot() as at:
        found = at.services(start=start, limit=limit + 1)
        names = [name for name in found if name.startswith(prefix)]
        shown = [_service(store, at, name, until) for name in names[:limit]]
    return {"services": shown, "next": names[limit - 1] if len(names) > limit else None}


def _service(store: Opened, at: Snapshot, name: str, until: float) -> dict[str, Any]:
    estimate = store.estimate(name)
    made: dict[str, Any] = {
        "service": name,
        "objects": estimate.objects,
        "exact": False,
        "bytes": estimate.bytes,
        "sample": 0,
        "expiring": 0,
        "soon": 0,
    }
    if monotonic() >= until:
        return made
    # Between compactions an estimate counts the dead, too: up to twice as many are counted.
    count = estimate.objects <= 2 * _EXACT
    keys = list(at.object_keys(name, limit=_EXACT if count else _SAMPLE))
    if count and len(keys) < _EXACT:
        made |= {"objects": len(keys), "exact": True}
    return made | _sample(at, name, keys, until)


def _sample(at: Snapshot, service: str, keys: list[str], until: float) -> dict[str, int]:
    """How many of the first objects state an expiry, of themselves or an entry; and a near one."""
    seen = expiring = soon = 0
    for key in islice(keys, _SAMPLE):
        if monotonic() >= until:
            break
        found = at.load(service, key, max_bytes=_SAMPLE_BYTES)
        if found is None:
            continue
        ends = [*(found.expiries or {}).values()]
        if found.expires_at is not None:
            ends.append(found.expires_at)
        seen += 1
        expiring += bool(ends)
        soon += any(end <= wall() + _SOON for end in ends)
    return {"sample": seen, "expiring": expiring, "soon": soon}
