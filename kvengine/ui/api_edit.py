"""POST /api/edit: changes of one object, as one commit, if it is still what the page showed."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from kvengine.errors import VersionConflict
from kvengine.storage.batch import Batch
from kvengine.ui import audit
from kvengine.ui.edits import Edit
from kvengine.ui.limits import read_body, read_json
from kvengine.ui.refusal import Refused, answer, refused
from kvengine.ui.shown import object_page, one_entry
from kvengine.ui.source import Opened, Source

_CONFLICT = "The object has changed since this page read it; nothing was written."


async def edit(request: Request) -> Response:
    """``result``: "applied" with the new version, "unchanged" where there was nothing to do.

    409 with ``result`` "conflict", the object as it is now, and the entries that the edit names.
    """
    source: Source = request.app.state.source
    wanted = read_json(await read_body(request, request.app.state.limits), Edit)
    try:
        batch, expected = wanted.batch(), wanted.expected()
        made = await source.edit(lambda store: _carry_out(store, wanted, batch, expected))
    except Exception as error:
        no = refused(error)
        audit.refused(f"edit {audit.name(wanted.service)} {audit.name(wanted.key)}", *_why(no))
        raise no from error
    audit.done(str(wanted), _result(made))
    return answer(made, 409 if made["result"] == "conflict" else 200)


def _carry_out(store: Opened, wanted: Edit, batch: Batch, expected: int) -> dict[str, Any]:
    name = (wanted.service, wanted.key)
    if store.version(*name) == expected and wanted.changes_nothing(store):
        return {"result": "unchanged", **_now(store, wanted)}
    try:
        stamp = store.write(batch, expect=None if wanted.force else {name: expected})
    except VersionConflict:
        return {"error": _CONFLICT, "result": "conflict", **_now(store, wanted, named=True)}
    return {"result": "applied", "version": str(stamp), **_now(store, wanted)}


def _now(store: Opened, wanted: Edit, *, named: bool = False) -> dict[str, Any]:
    """The object as it is now; with ``named`` those entries too that the edit is about."""
    with store.snapshot() as at:
        made: dict[str, Any] = {"object": object_page(at, wanted.service, wanted.key)}
        if named:
            made["entries"] = {
                state_key: one_entry(at, wanted.service, wanted.key, state_key)
                for state_key in wanted.touched()
            }
    return made


def _result(made: dict[str, Any]) -> str:
    if made["result"] == "applied":
        return f"applied, version {made['version']}"
    return str(made["result"])


def _why(no: Refused) -> tuple[int, str]:
    return no.status, no.reason
