"""POST /api/clear-service: every object of a service, by one small write.

A range has no version to expect. In its place the first objects are looked at: one that changed
behind what the page had seen stops it, and those looked at are expected to stay as they were
until the commit. That covers all of a service of up to `_CHECKED` objects.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from kvengine.errors import VersionConflict
from kvengine.storage.batch import Batch
from kvengine.storage.names import Name
from kvengine.ui import audit
from kvengine.ui.edits import ClearService
from kvengine.ui.limits import read_body, read_json
from kvengine.ui.refusal import Refused, answer, refused
from kvengine.ui.source import Opened, Source

_CHECKED = 1000


async def clear_service(request: Request) -> Response:
    """409 with ``result`` "conflict" where objects have changed; 400 for the wrong name typed."""
    source: Source = request.app.state.source
    wanted = read_json(await read_body(request, request.app.state.limits), ClearService)
    what = f"clear service {audit.name(wanted.service)}"
    try:
        if wanted.confirm != wanted.service:
            raise Refused(400, "What was typed is not the name of the service.")
        if not (wanted.seen.isascii() and wanted.seen.isdigit() and len(wanted.seen) <= 19):
            raise Refused(400, "The stamp that was seen must be a string of digits.")
        made = await source.edit(lambda store: _carry_out(store, wanted))
    except Exception as error:
        no = refused(error)
        audit.refused(what, no.status, no.reason)
        raise no from error
    audit.done(what, str(made["result"]) + (", forced" if wanted.force else ""))
    return answer(made, 409 if made["result"] == "conflict" else 200)


def _carry_out(store: Opened, wanted: ClearService) -> dict[str, Any]:
    found = _versions(store, wanted.service)
    if not found:
        return {"result": "unchanged"}
    changed = sum(version > int(wanted.seen) for version in found.values())
    if changed and not wanted.force:
        return _conflict(changed)
    batch = Batch()
    batch.clear_service(wanted.service)
    try:
        stamp = store.write(batch, expect=None if wanted.force else found)
    except VersionConflict:
        return _conflict(1)
    return {"result": "applied", "version": str(stamp)}


def _conflict(changed: int) -> dict[str, Any]:
    many = "An object has" if changed == 1 else f"{changed:,} objects have"
    return {
        "error": f"{many} changed since this page looked; nothing was cleared.",
        "result": "conflict",
        "changed": changed,
    }


def _versions(store: Opened, service: str) -> dict[Name, int]:
    """The versions of the first objects of a service."""
    found = islice(store.workflows(service), _CHECKED)  # without their entries
    return {(service, one.key): one.version for one in found}
